import { useRef } from 'react'
import type { TrainingJob } from '@/api/types'
import { RelativeTime } from '@/components/feedback/RelativeTime'
import { Progress } from '@/components/ui/progress'
import { useNow } from '@/lib/clock'
import { formatCount, formatDuration, formatProgress, formatRoughly, toMs } from '@/lib/format'
import { isWorkerSilent, workerHeardAt } from '@/lib/freshness'
import { useTrainingStore } from '@/stores/trainingStore'

const FILL = {
  pending: 'bg-pending-fill',
  running: 'bg-running-fill',
  paused: 'bg-paused-fill',
  completed: 'bg-completed-fill',
  failed: 'bg-failed-fill',
  cancelled: 'bg-cancelled-fill',
}

export function JobProgress({ job }: { job: TrainingJob }) {
  const tick = useTrainingStore((state) => state.ticks.get(job.id))
  const isTickNewer = job.status === 'running' && tick !== undefined && tick.progress_percent > job.progress_percent
  const percent = useForwardOnly(isTickNewer ? tick.progress_percent : job.progress_percent, `${job.id}:${job.attempt}`)
  const epochs = `epoch ${formatCount(job.current_epoch)} of ${formatCount(job.total_epochs)}`
  // While nothing moves, every estimate is older than it says.
  const estimate = job.silent_since ? null : (tick?.estimated_completion ?? job.estimated_completion)
  return (
    <div className="flex flex-col gap-1.5">
      <div className="flex items-center gap-3">
        <Progress
          value={percent}
          indicatorClassName={FILL[job.status]}
          aria-label={`Progress of ${job.name}`}
          aria-valuetext={`${formatProgress(percent)}, ${epochs}`}
        />
        <span className="w-12 shrink-0 text-right whitespace-nowrap font-semibold">{formatProgress(percent)}</span>
      </div>
      {isTickNewer ? (
        <p className="flex min-h-5 overflow-hidden text-sm whitespace-pre text-muted">
          <span className="shrink-0">{epochs}</span>
          {/* Where the line is too short, the step goes first and what is left stays. */}
          <span className="min-w-0 truncate">{`, step ${tick.batch} of ${tick.total_batches}`}</span>
          <span className="max-w-full shrink-0">
            <Remaining job={job} estimate={estimate} />
          </span>
        </p>
      ) : (
        // One run of text, so that what is read aloud or copied has its spaces too.
        <p className="min-h-5 truncate text-sm text-muted">
          {epochs}
          <Remaining job={job} estimate={estimate} />
        </p>
      )}
    </div>
  )
}

/** A bar never runs backward within an attempt; a new attempt starts where its checkpoint is. */
function useForwardOnly(value: number, key: string): number {
  const highest = useRef({ key, value })
  if (highest.current.key !== key || value > highest.current.value) highest.current = { key, value }
  return highest.current.value
}

function Remaining({ job, estimate }: { job: TrainingJob; estimate: string | null }) {
  const now = useNow(job.status === 'running' ? 1 : 5)
  const isSilent = useTrainingStore((state) =>
    isWorkerSilent(workerHeardAt(job, state.jobHeardAt.get(job.id)), state.heardAt, now),
  )
  if (job.status === 'running' && isSilent) return ' · worker silent'
  if (job.status === 'running' && estimate) {
    const left = (toMs(estimate) - now) / 1000
    if (left > 0) return ` · ${formatRoughly(left)} left`
    // An estimate that ran out in the middle of a run, as on a full disk, is none.
    return job.current_epoch >= job.total_epochs - 1 ? ' · finishing' : null
  }
  if (job.status === 'pending') return ' · waiting for a worker'
  if (job.status === 'completed' && job.started_at && job.completed_at)
    return ` · took ${formatDuration((toMs(job.completed_at) - toMs(job.started_at)) / 1000)}`
  const since = job.status_changed_at ?? job.completed_at
  if (since && job.status !== 'running')
    return (
      <>
        {' · '}
        {job.status} <RelativeTime at={since} />
      </>
    )
  return null
}
