import type { JobStatus, TrainingJob } from '@/api/types'
import { useTrainingStore } from './trainingStore'

type Jobs = readonly TrainingJob[]

/** Computed once for each state of the list, however many components ask. */
function oncePerList<T>(compute: (jobs: Jobs) => T): (jobs: Jobs) => T {
  const known = new WeakMap<Jobs, T>()
  return (jobs) => {
    const old = known.get(jobs)
    if (old !== undefined) return old
    const fresh = compute(jobs)
    known.set(jobs, fresh)
    return fresh
  }
}

export const jobsById = oncePerList(
  (jobs): ReadonlyMap<string, TrainingJob> => new Map(jobs.map((job) => [job.id, job])),
)

export const runningJobs = oncePerList((jobs): Jobs => jobs.filter((job) => job.status === 'running'))

export const countStatuses = oncePerList((jobs): Partial<Record<JobStatus, number>> => {
  const counts: Partial<Record<JobStatus, number>> = {}
  for (const { status } of jobs) counts[status] = (counts[status] ?? 0) + 1
  return counts
})

/** One job by its id; the component renders when this job changes and not when another one does. */
export function useJob(jobId: string | null | undefined): TrainingJob | undefined {
  return useTrainingStore((state) => (jobId ? jobsById(state.jobs).get(jobId) : undefined))
}
