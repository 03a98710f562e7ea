import { zodResolver } from '@hookform/resolvers/zod'
import { useMemo } from 'react'
import { type Resolver, useForm } from 'react-hook-form'
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
import { formSchema } from '@/lib/field-schema'
import { proposeEpochs } from '@/lib/job-form'
import { JOB_LIMITS } from '@/lib/limits'
import { tellSuccess } from '@/lib/notify'
import { useTrainingStore } from '@/stores/trainingStore'
import { jobCardSelector, useJobActions } from '../../hooks/useJobActions'

interface ContinueValues {
  job_name: string
  epochs: string
}

/** The engine's limits of a job, of which as many epochs are left out as are done. */
function useContinueForm(job: TrainingJob, done: number) {
  const schema = useMemo(
    () =>
      formSchema({
        job_name: JOB_LIMITS.job_name,
        epochs: { ...JOB_LIMITS.epochs, minimum: done + 1 },
      }),
    [done],
  )
  return useForm<ContinueValues>({
    defaultValues: {
      job_name: `${job.name}, continued`.slice(0, JOB_LIMITS.job_name.maxLength ?? undefined),
      epochs: String(proposeEpochs(done, job.total_epochs)),
    },
    resolver: zodResolver(schema) as unknown as Resolver<ContinueValues>,
    mode: 'onTouched',
  })
}

export default function ContinueJobDialog({ job, onClose }: { job: TrainingJob; onClose: () => void }) {
  const continueJob = useTrainingStore((state) => state.continueJob)
  const { showMetrics } = useJobActions()
  const done = job.checkpoint?.epoch ?? job.current_epoch
  const { register, handleSubmit, setError, formState } = useContinueForm(job, done)
  const { errors, isSubmitting } = formState
  const start = handleSubmit(async ({ epochs, job_name }) => {
    try {
      const created = await continueJob(job.id, { epochs: Number(epochs), job_name })
      sendFocusTo(jobCardSelector(created.id))
      onClose()
      tellSuccess('Continued as a new job', { link: { label: 'Watch', onClick: () => showMetrics([created.id]) } })
    } catch (error) {
      const { field, message } = toApiError(error)
      const name = field?.split('.').at(-1)
      if (name === 'job_name' || name === 'epochs') setError(name, { message }, { shouldFocus: true })
      else setError('root', { message })
    }
  })
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()}>
      <DialogContent>
        <form noValidate onSubmit={start}>
          <DialogHeader>
            <DialogTitle>{`Continue “${job.name}”`}</DialogTitle>
            <DialogDescription>
              A new job starts from the checkpoint after epoch {done}; this one keeps its history.
            </DialogDescription>
          </DialogHeader>
          <DialogBody className="flex flex-col gap-4">
            <Field label="Name of the new job" error={errors.job_name?.message}>
              <Input {...register('job_name')} autoComplete="off" required />
            </Field>
            <Field label="Epochs in all" help={`${done} of them are done.`} error={errors.epochs?.message}>
              <Input {...register('epochs')} inputMode="numeric" autoComplete="off" required />
            </Field>
            {errors.root && (
              <p role="alert" className="text-failed">
                {errors.root.message}
              </p>
            )}
          </DialogBody>
          <DialogFooter>
            <Button onClick={onClose}>Close</Button>
            <Button variant="primary" type="submit" disabled={isSubmitting}>
              Start the new job
            </Button>
          </DialogFooter>
        </form>
      </DialogContent>
    </Dialog>
  )
}
