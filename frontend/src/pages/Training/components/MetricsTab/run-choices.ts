import { statusWord } from '@/components/feedback/StatusBadge'
import { formatProgress } from '@/lib/format'
import { isFinal } from '../../hooks/useJobActions'
import type { TrainingJob } from '../../types'

const NUM_NEWEST = 3

/** Those that run now, then the newest; not those that ended without a curve. */
export function newestRuns(jobs: readonly TrainingJob[]): TrainingJob[] {
  const withCurve = jobs.filter((job) => job.current_epoch > 0 || !isFinal(job))
  const [running, others] = [true, false].map((isRunning) =>
    withCurve.filter((job) => (job.status === 'running') === isRunning),
  )
  return [...(running ?? []), ...(others ?? [])].slice(0, NUM_NEWEST)
}

/** Said where a curve would be expected and is not there; null where it is. */
export function sayNoEpoch(job: TrainingJob): string | null {
  if (job.current_epoch > 0) return null
  return isFinal(job) ? 'no epoch' : 'no epoch yet'
}

export const describeChoice = (job: TrainingJob): string =>
  `${statusWord(job.status)}, ${sayNoEpoch(job) ?? formatProgress(job.progress_percent)}`
