import { useMemo } from 'react'
import { useShallow } from 'zustand/react/shallow'
import { FreshnessBadge } from '@/components/feedback/FreshnessBadge'
import { useNow } from '@/lib/clock'
import { judgeFreshness } from '@/lib/freshness'
import { useTrainingStore } from '@/stores/trainingStore'

/** How far the page may be behind the truth. */
export function FreshnessStatus() {
  const now = useNow(1)
  const { links, heardAt, jobsError, jobs, jobHeardAt } = useTrainingStore(
    useShallow(({ links, heardAt, jobsError, jobs, jobHeardAt }) => ({ links, heardAt, jobsError, jobs, jobHeardAt })),
  )
  const workersHeardAt = useMemo(
    () =>
      jobs.flatMap((job) => {
        if (job.status !== 'running') return []
        const heard = jobHeardAt.get(job.id) ?? Date.parse(job.worker_seen_at ?? job.started_at ?? '')
        return Number.isNaN(heard) ? [] : [heard]
      }),
    [jobs, jobHeardAt],
  )
  return (
    <FreshnessBadge
      {...judgeFreshness({ links: links.values(), heardAt, isListFailing: jobsError !== null, workersHeardAt, now })}
    />
  )
}
