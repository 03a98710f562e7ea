import { Pause, Play, Plus, Trash2, X } from 'lucide-react'
import { memo } from 'react'
import type { TrainingJob } from '@/api/types'
import { Sparkline } from '@/components/charts/Sparkline'
import { StatusBadge } from '@/components/feedback/StatusBadge'
import { Button } from '@/components/ui/button'
import { Card } from '@/components/ui/card'
import { Checkbox } from '@/components/ui/checkbox'
import { cn } from '@/lib/cn'
import { formatMetres, formatNumber } from '@/lib/format'
import { inPageQuotes } from '@/lib/sentence'
import { useDatasetName } from '../../hooks/useCatalogue'
import { canCancel, canDelete, canPause, canResume, isFinal, useJobActions } from '../../hooks/useJobActions'
import { useSparkline } from '../../hooks/useSparkline'
import { isWatched, useTrainingWebSocket } from '../../hooks/useTrainingWebSocket'
import { JobMenu } from './JobMenu'
import { JobProgress } from './JobProgress'

export interface JobCardProps {
  job: TrainingJob
  isSelected: boolean
  /** While anything is selected every box shows, so that selecting goes on without searching for it. */
  isSelecting: boolean
  onSelect: (jobId: string, isSelected: boolean) => void
}

export const JobCard = memo(function JobCard({ job, isSelected, isSelecting, onSelect }: JobCardProps) {
  const { showMetrics } = useJobActions()
  const dataset = useDatasetName(job.dataset_id)
  useTrainingWebSocket(isWatched(job) ? job.id : null)
  const { config } = job
  return (
    <Card
      data-testid="job-card"
      data-job-id={job.id}
      className={cn(
        'group relative flex h-full min-h-64 flex-col gap-2 p-4 transition-colors focus-within:border-border-strong hover:border-border-strong',
        isSelected && 'border-accent bg-accent/4 hover:border-accent',
      )}
    >
      <div className="flex items-start gap-2">
        <div
          className={cn(
            'z-10 mt-0.5 w-4.5 overflow-visible transition-[width,opacity] duration-100',
            !isSelecting &&
              'sm:w-0 sm:-mr-2 sm:opacity-0 sm:group-hover:mr-0 sm:group-hover:w-4.5 sm:group-hover:opacity-100 sm:focus-within:mr-0 sm:focus-within:w-4.5 sm:focus-within:opacity-100',
          )}
        >
          <Checkbox
            checked={isSelected}
            aria-label={`Select ${job.name}`}
            onCheckedChange={(checked) => onSelect(job.id, checked === true)}
          />
        </div>
        <h2 className="min-w-0 flex-1 text-base leading-snug font-semibold">
          {/* The link covers the card, so that a click anywhere opens the metrics and the keyboard finds one stop. */}
          <button
            type="button"
            title={job.name}
            className="line-clamp-2 text-left after:absolute after:inset-0 after:content-[''] hover:underline focus-visible:outline-offset-4"
            onClick={() => showMetrics([job.id])}
          >
            {job.name}
          </button>
        </h2>
        <StatusBadge status={job.status} pending_action={job.pending_action} />
      </div>
      <JobProgress job={job} />
      {job.status === 'failed' ? <Failure job={job} /> : <Results job={job} />}
      <p className="mt-auto truncate pt-1 text-sm text-muted" title={`${dataset}, ${config.model_architecture}`}>
        {config.model_architecture} · batch {config.batch_size} · lr {formatNumber(config.learning_rate)} · {dataset}
      </p>
      <Actions job={job} />
    </Card>
  )
})

/** One height whatever is said there, so that a worker's silence or a failure moves no card of the row. */
const OUTCOME = 'flex h-18 flex-col justify-end'

function Results({ job }: { job: TrainingJob }) {
  const points = useSparkline(job)
  return (
    <div className={OUTCOME}>
      <p className="h-5 truncate text-sm">
        {job.best_val_loss !== null && (
          <>
            best epoch:{' '}
            {job.best_val_error_median_m !== null && (
              <>
                error <b className="font-semibold">{formatMetres(job.best_val_error_median_m)}</b>,{' '}
              </>
            )}
            loss <b className="font-semibold">{formatNumber(job.best_val_loss)}</b>
          </>
        )}
      </p>
      {job.notice ? (
        <Sentence job={job} className="bg-paused-fill/12">
          {inPageQuotes(job.notice)}
        </Sentence>
      ) : (
        <Sparkline points={points} label={`Validation loss over ${points.length} points`} />
      )}
    </div>
  )
}

function Failure({ job }: { job: TrainingJob }) {
  const { showPanel } = useJobActions()
  return (
    <div className={cn(OUTCOME, 'relative z-10 justify-between rounded-control bg-failed-fill/8 px-3 py-1 text-sm')}>
      <p className="line-clamp-2">{inPageQuotes(job.error_message ?? 'The job failed without a message.')}</p>
      {/* The whole box is its target. */}
      <button
        type="button"
        className="self-start font-medium text-failed underline-offset-2 print:hidden after:absolute after:inset-0 after:content-[''] hover:underline"
        onClick={() => showPanel(job, 'details')}
      >
        Details
      </button>
    </div>
  )
}

/** Two lines of what there is to say; the details have all of it. */
function Sentence({ job, className, children }: { job: TrainingJob; className: string; children: string }) {
  const { showPanel } = useJobActions()
  return (
    <button
      type="button"
      title={children}
      className={cn('relative z-10 flex h-12 items-center rounded-control px-3 text-left text-sm', className)}
      onClick={() => showPanel(job, 'details')}
    >
      <span className="line-clamp-2" role="status">
        {children}
      </span>
    </button>
  )
}

function Actions({ job }: { job: TrainingJob }) {
  const actions = useJobActions()
  return (
    <div className="relative z-10 flex items-center gap-2">
      {canPause(job) && (
        <Button size="sm" className="max-sm:flex-1" onClick={() => actions.pause([job])}>
          <Pause fill="currentColor" strokeWidth={0} /> Pause
        </Button>
      )}
      {canResume(job) && (
        <Button size="sm" className="max-sm:flex-1" onClick={() => actions.resume([job])}>
          <Play fill="currentColor" strokeWidth={0} /> Resume
        </Button>
      )}
      {canCancel(job) && (
        <Button size="sm" className="max-sm:flex-1" onClick={() => actions.cancel([job])}>
          <X /> Cancel
        </Button>
      )}
      {isFinal(job) && (
        <Button size="sm" className="max-sm:flex-1" onClick={() => actions.create(job)}>
          <Plus /> New from this
        </Button>
      )}
      {canDelete(job) && (
        <Button size="sm" className="max-sm:flex-1" onClick={() => actions.remove([job])}>
          <Trash2 /> Delete
        </Button>
      )}
      <div className="ml-auto">
        <JobMenu job={job} />
      </div>
    </div>
  )
}
