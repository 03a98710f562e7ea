import type { TrainingJob } from '@/api/types'
import { ConfirmDialog } from '@/components/ui/alert-dialog'
import { formatBytes, plural } from '@/lib/format'

interface ConfirmJobsProps {
  jobs: TrainingJob[]
  /** Selected jobs for which the action is not valid. */
  numOthers: number
  onClose: () => void
  onConfirm: (jobs: TrainingJob[]) => Promise<void>
}

function Others({ count, why, whyOne }: { count: number; why: string; whyOne: string }) {
  if (count === 0) return null
  return (
    <p>
      {count === 1
        ? `1 other selected job ${whyOne} and stays as it is.`
        : `${count} other selected jobs ${why} and stay as they are.`}
    </p>
  )
}

export function CancelJobsDialog({ jobs, numOthers, onClose, onConfirm }: ConfirmJobsProps) {
  const [only] = jobs
  const isOne = jobs.length === 1
  const hasCheckpoint = jobs.some((job) => job.checkpoint)
  return (
    <ConfirmDialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={isOne ? `Cancel “${only?.name}”?` : `Cancel ${jobs.length} jobs?`}
      action={isOne ? 'Cancel the job' : `Cancel ${jobs.length} jobs`}
      keep={isOne ? 'Keep it' : 'Keep them'}
      onConfirm={() => onConfirm(jobs)}
    >
      <p>Training stops at the next step and no model is made. A cancelled job cannot be resumed.</p>
      <p>
        {hasCheckpoint
          ? 'Metrics, log and the last checkpoint stay, so a new job can continue from there.'
          : 'Metrics and log stay. There is no checkpoint yet to continue from.'}{' '}
        To stop for a while, pause instead.
      </p>
      <Others
        count={numOthers}
        why="already ended or are being cancelled"
        whyOne="already ended or is being cancelled"
      />
    </ConfirmDialog>
  )
}

export function DeleteJobsDialog({ jobs, numOthers, onClose, onConfirm }: ConfirmJobsProps) {
  const [only] = jobs
  const isOne = jobs.length === 1
  const epochs = jobs.reduce((sum, job) => sum + job.current_epoch, 0)
  const checkpoints = jobs.flatMap((job) => (job.checkpoint ? [job.checkpoint.size_bytes] : []))
  const size = checkpoints.reduce((sum, bytes) => sum + bytes, 0)
  const models = jobs.filter((job) => job.model_id).length
  return (
    <ConfirmDialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={isOne ? `Delete “${only?.name}”?` : `Delete ${jobs.length} jobs?`}
      action={isOne ? 'Delete the job' : `Delete ${jobs.length} jobs`}
      keep={isOne ? 'Keep it' : 'Keep them'}
      onConfirm={() => onConfirm(jobs)}
    >
      <p>
        Deleted for good: the metrics of {plural(epochs, 'epoch')}, the log
        {checkpoints.length > 0 ? `, and ${plural(checkpoints.length, 'checkpoint')} (${formatBytes(size)})` : ''}.
      </p>
      <p>
        {models > 0
          ? `${isOne ? 'Its model stays' : `The ${plural(models, 'model')} stay`} in the Models tab.`
          : 'There is no model to keep.'}
      </p>
      <Others count={numOthers} why="have not ended yet" whyOne="has not ended yet" />
    </ConfirmDialog>
  )
}
