import { useShallow } from 'zustand/react/shallow'
import { FreshnessBadge } from '@/components/feedback/FreshnessBadge'
import { useNow } from '@/lib/clock'
import { judgeFreshness, newestLag, waitingSince, workerHeardAt } from '@/lib/freshness'
import { runningJobs } from '@/stores/jobIndex'
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
        waitingSince: waitingSince(state.jobs).map((since) => since + (state.clockAhead ?? 0)),
        lagMs: newestLag(state.newestEvent, now),
        now,
      }),
    ),
  )
  return <FreshnessBadge {...said} />
}

function workersHeardAt({ jobs, jobHeardAt }: TrainingState): number[] {
  return runningJobs(jobs).flatMap((job) => workerHeardAt(job, jobHeardAt.get(job.id)) ?? [])
}
