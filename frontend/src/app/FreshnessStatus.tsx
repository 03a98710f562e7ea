import { useShallow } from 'zustand/react/shallow'
import { FreshnessBadge } from '@/components/feedback/FreshnessBadge'
import { useNow } from '@/lib/clock'
import { judgeFreshness } from '@/lib/freshness'
import { pendingJobs, runningJobs } from '@/stores/jobIndex'
import { type TrainingState, useTrainingStore } from '@/stores/trainingStore'

/** How far the page may be behind the truth. Renders when the words change, not with each frame that is heard. */
export function FreshnessStatus() {
  const now = useNow(1)
  const said = useTrainingStore(
    useShallow((state) =>
      judgeFreshness({
        links: state.links.values(),
        heardAt: state.heardAt,
        isListFailing: state.jobsError !== null,
        workersHeardAt: workersHeardAt(state),
        hungSince: runningJobs(state.jobs).flatMap((job) => (job.silent_since ? [Date.parse(job.silent_since)] : [])),
        waitingSince: waitingSince(state),
        lagMs: newestLag(state, now),
        now,
      }),
    ),
  )
  return <FreshnessBadge {...said} />
}

/** While something runs, a job may well wait for its turn. */
function waitingSince({ jobs, clockAhead }: TrainingState): number[] {
  if (runningJobs(jobs).length > 0) return []
  return pendingJobs(jobs).map((job) => Date.parse(job.status_changed_at ?? job.created_at) + (clockAhead ?? 0))
}

/** Of no use once it is old: then nothing says how long the next news would take. */
const LAG_COUNTS_MS = 15_000

function newestLag({ newestEvent }: TrainingState, now: number): number | null {
  if (newestEvent === null || now - newestEvent.heardAt > LAG_COUNTS_MS) return null
  return newestEvent.heardAt - newestEvent.madeAt
}

function workersHeardAt({ jobs, jobHeardAt }: TrainingState): number[] {
  return runningJobs(jobs).flatMap((job) => {
    const heard = jobHeardAt.get(job.id) ?? Date.parse(job.worker_seen_at ?? job.started_at ?? '')
    return Number.isNaN(heard) ? [] : [heard]
  })
}
