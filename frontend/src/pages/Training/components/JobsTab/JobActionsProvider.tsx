import { lazy, type ReactNode, useCallback, useMemo, useState } from 'react'
import type { TrainingJob } from '@/api/types'
import { PartBoundary } from '@/components/feedback/PartBoundary'
import { plural } from '@/lib/format'
import { tellError, tellSuccess } from '@/lib/notify'
import { type Outcome, settleEach } from '@/lib/settle'
import { useTrainingStore } from '@/stores/trainingStore'
import { type JobActions, JobActionsContext } from '../../hooks/useJobActions'
import { useLossNotice } from '../../hooks/useLossNotice'
import { MAX_RUNS, type SetView } from '../../hooks/useViewState'
import { CancelJobsDialog, DeleteJobsDialog } from './ConfirmJobs'

// The forms and what they need (react-hook-form, zod) load with their first use.
export const loadCreateJobDialog = () => import('./CreateJobDialog')
const CreateJobDialog = lazy(loadCreateJobDialog)
const ContinueJobDialog = lazy(() => import('./ContinueJobDialog'))

type OpenDialog =
  | { kind: 'create'; from: TrainingJob | null }
  | { kind: 'continue'; job: TrainingJob }
  | { kind: 'cancel' | 'delete'; jobs: TrainingJob[]; numOthers: number }

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
    const show = (job: TrainingJob) => setView({ open: job.id, panel: 'details' })
    return {
      create: (from) => setDialog({ kind: 'create', from: from ?? null }),
      pause: async (jobs) => report(await settleEach(jobs, (job) => store.pauseJob(job.id)), 'Asked to pause', show),
      resume: async (jobs) => report(await settleEach(jobs, (job) => store.resumeJob(job.id)), 'Resumed', show),
      cancel: (jobs, numOthers = 0) => setDialog({ kind: 'cancel', jobs, numOthers }),
      remove: (jobs, numOthers = 0) => setDialog({ kind: 'delete', jobs, numOthers }),
      continueFrom: (job) => setDialog({ kind: 'continue', job }),
      showMetrics,
      showPanel: (job, panel) => setView({ open: job.id, panel }),
    }
  }, [setView])
  useLossNotice(useCallback((jobId) => setView({ open: jobId, panel: 'details' }), [setView]))

  const finish = (outcome: Outcome<TrainingJob>, verb: string, show?: (job: TrainingJob) => void) => {
    report(outcome, verb, show)
    close()
  }
  const { cancelJob, deleteJob } = useTrainingStore.getState()
  return (
    <JobActionsContext value={actions}>
      {children}
      <PartBoundary onClose={close}>
        {dialog?.kind === 'create' && <CreateJobDialog from={dialog.from} onClose={close} />}
        {dialog?.kind === 'continue' && <ContinueJobDialog job={dialog.job} onClose={close} />}
      </PartBoundary>
      {dialog?.kind === 'cancel' && (
        <CancelJobsDialog
          jobs={dialog.jobs}
          numOthers={dialog.numOthers}
          onClose={close}
          onConfirm={async (jobs) =>
            finish(await settleEach(jobs, (job) => cancelJob(job.id)), 'Asked to cancel', (job) =>
              actions.showPanel(job, 'details'),
            )
          }
        />
      )}
      {dialog?.kind === 'delete' && (
        <DeleteJobsDialog
          jobs={dialog.jobs}
          numOthers={dialog.numOthers}
          onClose={close}
          onConfirm={async (jobs) => finish(await settleEach(jobs, (job) => deleteJob(job.id)), 'Deleted')}
        />
      )}
    </JobActionsContext>
  )
}

/** One toast for one action, also where only a part of it worked; where it is about one job that is still there, it leads to it. */
function report({ done, failed }: Outcome<TrainingJob>, verb: string, show?: (job: TrainingJob) => void): void {
  const name = (jobs: TrainingJob[]) => (jobs.length === 1 ? `“${jobs[0]?.name}”` : plural(jobs.length, 'job'))
  const first = failed[0]
  const about = first?.item ?? (done.length === 1 ? done[0] : undefined)
  const options = about && show ? { link: { label: 'Show', onClick: () => show(about) } } : {}
  if (!first) tellSuccess(`${verb} ${name(done)}`, options)
  else if (done.length === 0 && failed.length === 1) tellError(`Not done: “${first.item.name}”`, first.error, options)
  else
    tellError(
      `${verb} ${done.length} of ${done.length + failed.length} jobs`,
      `“${first.item.name}”: ${first.error.message}`,
      options,
    )
}
