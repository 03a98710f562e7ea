import { lazy, type ReactNode, Suspense, useMemo, useState } from 'react'
import type { TrainingJob } from '@/api/types'
import { plural } from '@/lib/format'
import { tellError, tellSuccess } from '@/lib/notify'
import { type Outcome, settleEach } from '@/lib/settle'
import { useTrainingStore } from '@/stores/trainingStore'
import { type JobActions, JobActionsContext } from '../../hooks/useJobActions'
import { MAX_RUNS, type SetView } from '../../hooks/useViewState'
import { CancelJobsDialog, DeleteJobsDialog } from './ConfirmJobs'

// The forms and what they need (react-hook-form, zod) load with their first use.
const CreateJobDialog = lazy(() => import('./CreateJobDialog'))
const ContinueJobDialog = lazy(() => import('./ContinueJobDialog'))

type OpenDialog =
  | { kind: 'create'; from: TrainingJob | null }
  | { kind: 'continue'; job: TrainingJob }
  | { kind: 'cancel' | 'delete'; jobs: TrainingJob[] }

interface ProviderProps {
  setView: SetView
  children: ReactNode
}

export function JobActionsProvider({ setView, children }: ProviderProps) {
  const [dialog, setDialog] = useState<OpenDialog | null>(null)
  const close = () => setDialog(null)
  const actions = useMemo<JobActions>(() => {
    const showMetrics = (jobIds: string[]) =>
      setView({ tab: 'metrics', runs: jobIds.slice(0, MAX_RUNS), zoom: null, open: null })
    const store = useTrainingStore.getState()
    return {
      create: (from) => setDialog({ kind: 'create', from: from ?? null }),
      pause: async (jobs) => report(await settleEach(jobs, (job) => store.pauseJob(job.id)), 'Asked to pause'),
      resume: async (jobs) => report(await settleEach(jobs, (job) => store.resumeJob(job.id)), 'Resumed'),
      cancel: (jobs) => setDialog({ kind: 'cancel', jobs }),
      remove: (jobs) => setDialog({ kind: 'delete', jobs }),
      continueFrom: (job) => setDialog({ kind: 'continue', job }),
      showMetrics,
      showPanel: (job, panel) => setView({ open: job.id, panel }),
    }
  }, [setView])

  const finish = (outcome: Outcome<TrainingJob>, verb: string) => {
    report(outcome, verb)
    close()
  }
  const { cancelJob, deleteJob } = useTrainingStore.getState()
  return (
    <JobActionsContext value={actions}>
      {children}
      <Suspense>
        {dialog?.kind === 'create' && <CreateJobDialog from={dialog.from} onClose={close} />}
        {dialog?.kind === 'continue' && <ContinueJobDialog job={dialog.job} onClose={close} />}
      </Suspense>
      {dialog?.kind === 'cancel' && (
        <CancelJobsDialog
          jobs={dialog.jobs}
          onClose={close}
          onConfirm={async (jobs) => finish(await settleEach(jobs, (job) => cancelJob(job.id)), 'Asked to cancel')}
        />
      )}
      {dialog?.kind === 'delete' && (
        <DeleteJobsDialog
          jobs={dialog.jobs}
          onClose={close}
          onConfirm={async (jobs) => finish(await settleEach(jobs, (job) => deleteJob(job.id)), 'Deleted')}
        />
      )}
    </JobActionsContext>
  )
}

/** One toast for one action, also where only a part of it worked. */
function report({ done, failed }: Outcome<TrainingJob>, verb: string): void {
  const name = (jobs: TrainingJob[]) => (jobs.length === 1 ? `“${jobs[0]?.name}”` : plural(jobs.length, 'job'))
  const first = failed[0]
  if (!first) tellSuccess(`${verb} ${name(done)}`)
  else if (done.length === 0 && failed.length === 1) tellError(`Not done: “${first.item.name}”`, first.error)
  else
    tellError(
      `${verb} ${done.length} of ${done.length + failed.length} jobs`,
      `“${first.item.name}”: ${first.error.message}`,
    )
}
