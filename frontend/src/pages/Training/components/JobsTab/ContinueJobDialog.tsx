import { type FormEvent, useState } from 'react'
import { toApiError } from '@/api/client'
import type { TrainingJob } from '@/api/types'
import { Button } from '@/components/ui/button'
import {
  Dialog,
  DialogBody,
  DialogContent,
  DialogDescription,
  DialogFooter,
  DialogHeader,
  DialogTitle,
} from '@/components/ui/dialog'
import { Field } from '@/components/ui/field'
import { sendFocusTo } from '@/components/ui/focus-return'
import { Input } from '@/components/ui/input'
import { JOB_LIMITS } from '@/lib/limits'
import { tellSuccess } from '@/lib/notify'
import { useTrainingStore } from '@/stores/trainingStore'
import { jobCardSelector, useJobActions } from '../../hooks/useJobActions'

export default function ContinueJobDialog({ job, onClose }: { job: TrainingJob; onClose: () => void }) {
  const continueJob = useTrainingStore((state) => state.continueJob)
  const { showMetrics } = useJobActions()
  const [name, setName] = useState(`${job.name}, continued`.slice(0, JOB_LIMITS.job_name.maxLength ?? undefined))
  const done = job.checkpoint?.epoch ?? job.current_epoch
  const [epochs, setEpochs] = useState(String(Math.max(job.total_epochs, done + 1)))
  const [fault, setFault] = useState<{ field: string | null; message: string } | null>(null)
  const [isBusy, setBusy] = useState(false)
  const start = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    try {
      const created = await continueJob(job.id, { epochs: Number(epochs), job_name: name })
      sendFocusTo(jobCardSelector(created.id))
      onClose()
      tellSuccess('Continued as a new job', { link: { label: 'Watch', onClick: () => showMetrics([created.id]) } })
    } catch (error) {
      const { field, message } = toApiError(error)
      setFault({ field: field?.split('.').at(-1) ?? null, message })
    } finally {
      setBusy(false)
    }
  }
  const errorOf = (field: string) => (fault?.field === field ? fault.message : undefined)
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()}>
      <DialogContent>
        <form onSubmit={start}>
          <DialogHeader>
            <DialogTitle>{`Continue “${job.name}”`}</DialogTitle>
            <DialogDescription>
              A new job starts from the checkpoint after epoch {done}; this one keeps its history.
            </DialogDescription>
          </DialogHeader>
          <DialogBody className="flex flex-col gap-4">
            <Field label="Name of the new job" error={errorOf('job_name')}>
              <Input value={name} onChange={(event) => setName(event.target.value)} required />
            </Field>
            <Field label="Epochs in all" help={`${done} of them are done.`} error={errorOf('epochs')}>
              <Input
                type="number"
                min={done + 1}
                value={epochs}
                onChange={(event) => setEpochs(event.target.value)}
                required
              />
            </Field>
            {fault && fault.field !== 'job_name' && fault.field !== 'epochs' && (
              <p role="alert" className="text-failed">
                {fault.message}
              </p>
            )}
          </DialogBody>
          <DialogFooter>
            <Button onClick={onClose}>Close</Button>
            <Button variant="primary" type="submit" disabled={isBusy}>
              Start the new job
            </Button>
          </DialogFooter>
        </form>
      </DialogContent>
    </Dialog>
  )
}
