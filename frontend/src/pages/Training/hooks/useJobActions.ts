import { createContext, useContext } from 'react'
import type { TrainingJob } from '@/api/types'
import type { Panel } from './useViewState'

/** What a person can do with jobs; the page provides it together with the dialogs that some of it needs. */
export interface JobActions {
  create(from?: TrainingJob): void
  pause(jobs: TrainingJob[]): Promise<void>
  resume(jobs: TrainingJob[]): Promise<void>
  /** `numOthers`: selected jobs that are not among them; the question says that they stay as they are. */
  cancel(jobs: TrainingJob[], numOthers?: number): void
  remove(jobs: TrainingJob[], numOthers?: number): void
  continueFrom(job: TrainingJob): void
  showMetrics(jobIds: string[]): void
  showPanel(job: Pick<TrainingJob, 'id'>, panel: Panel): void
}

export const JobActionsContext = createContext<JobActions | null>(null)

export function useJobActions(): JobActions {
  const actions = useContext(JobActionsContext)
  if (!actions) throw new Error('useJobActions needs the Training page around it')
  return actions
}

/** What carries a job's name on its card. */
export const jobCardSelector = (jobId: string): string => `[data-job-id="${jobId}"] h2 button`

export const canPause = (job: TrainingJob): boolean => job.status === 'running' && job.pending_action === null
export const canResume = (job: TrainingJob): boolean => job.status === 'paused' && job.pending_action === null
export const canCancel = (job: TrainingJob): boolean => !isFinal(job) && job.pending_action !== 'cancel'
export const canDelete = (job: TrainingJob): boolean => isFinal(job)
export const canContinue = (job: TrainingJob): boolean => isFinal(job) && job.checkpoint !== null

export function isFinal(job: TrainingJob): boolean {
  return job.status === 'completed' || job.status === 'failed' || job.status === 'cancelled'
}
