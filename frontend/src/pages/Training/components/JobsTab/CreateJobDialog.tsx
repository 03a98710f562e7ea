import { LoaderCircle, TriangleAlert } from 'lucide-react'
import { useState } from 'react'
import { useShallow } from 'zustand/react/shallow'
import type { Dataset, TrainingJob } from '@/api/types'
import { CopyButton } from '@/components/feedback/CopyButton'
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
import { sendFocusTo } from '@/components/ui/focus-return'
import { cn } from '@/lib/cn'
import { formatCount, formatRoughly, plural } from '@/lib/format'
import { estimateRun, type JobField, type JobFormValues, PRESETS, toCli, toCurl } from '@/lib/job-form'
import { tellSuccess } from '@/lib/notify'
import { inWords } from '@/lib/sentence'
import { useTrainingStore } from '@/stores/trainingStore'
import { useCatalogue } from '../../hooks/useCatalogue'
import { toConfig, useCreateForm } from '../../hooks/useCreateForm'
import { jobCardSelector, useJobActions } from '../../hooks/useJobActions'
import { FailedDatasets } from './FailedDatasets'
import { AdvancedFields, ChoiceField, InputField } from './JobFields'
import { ReachableFold } from './ReachableFold'

interface CreateJobDialogProps {
  /** The job whose configuration is taken over ("New from this"). */
  from: TrainingJob | null
  onClose: () => void
}

export default function CreateJobDialog({ from, onClose }: CreateJobDialogProps) {
  const catalogue = useCatalogue()
  const { form, values, submit } = useCreateForm(from, catalogue.datasets, catalogue.architectures)
  const { showMetrics } = useJobActions()
  const [isBusy, setBusy] = useState(false)
  const dataset = catalogue.datasets.find((one) => one.id === values.dataset_id)
  const start = form.handleSubmit(async () => {
    setBusy(true)
    const jobId = await submit()
    setBusy(false)
    if (jobId === null) return
    sendFocusTo(jobCardSelector(jobId))
    onClose()
    tellSuccess('Training job created', { link: { label: 'Watch', onClick: () => showMetrics([jobId]) } })
  })
  const { errors } = form.formState
  const field = (name: JobField) => ({ name, form, error: errors[name]?.message })
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()}>
      <DialogContent size="wide" onInteractOutside={(event) => event.preventDefault()}>
        <form noValidate onSubmit={start} className="flex min-h-0 flex-1 flex-col">
          <DialogHeader>
            <DialogTitle>{from ? `New job from “${from.name}”` : 'New training job'}</DialogTitle>
            <DialogDescription>One network, trained on one data set.</DialogDescription>
          </DialogHeader>
          <DialogBody className="flex flex-col gap-4">
            {catalogue.error && (
              <p role="alert" className="rounded-control bg-failed-fill/10 px-3 py-2 text-failed">
                The data sets could not be loaded. {catalogue.error.message}
              </p>
            )}
            <Presets values={values} onPick={(patch) => setAll(form.setValue, patch)} />
            <InputField {...field('job_name')} label="Name" autoFocus />
            <div className="grid gap-4 sm:grid-cols-2">
              <ChoiceField
                {...field('dataset_id')}
                label="Data set"
                placeholder="Choose a data set"
                choices={catalogue.datasets.map(datasetChoice)}
              />
              <ChoiceField
                {...field('model_architecture')}
                label="Architecture"
                choices={catalogue.architectures.map(({ id, name, good_for }) => ({
                  value: id,
                  label: name,
                  note: good_for,
                }))}
              />
            </div>
            {dataset && <SplitWarning dataset={dataset} />}
            {dataset?.kind === 'synthetic' && <ReachableFold dataset={dataset} />}
            <FailedDatasets datasets={catalogue.datasets} />
            <div className="grid grid-cols-2 gap-4 sm:grid-cols-3">
              <InputField {...field('epochs')} label="Epochs" />
              <InputField {...field('batch_size')} label="Batch size" />
              <InputField {...field('learning_rate')} label="Learning rate" />
              <InputField {...field('validation_split')} label="Validation split" />
              <InputField {...field('early_stopping_patience')} label="Early stopping patience" />
              <InputField {...field('checkpoint_every_n_epochs')} label="Checkpoint every n epochs" />
            </div>
            <AdvancedFields form={form} errors={errors} dataset={dataset} />
          </DialogBody>
          <DialogFooter className="sm:justify-between">
            <EstimateLine values={values} dataset={dataset} />
            <div className="flex flex-wrap items-center justify-end gap-2">
              <CopyButtons values={values} />
              <Button variant="primary" type="submit" disabled={isBusy} className="max-sm:w-full">
                {isBusy && <LoaderCircle className="animate-spin" />} Start training
              </Button>
            </div>
          </DialogFooter>
          {errors.root && (
            <p role="alert" className="border-t bg-failed-fill/10 px-5 py-2.5 text-failed">
              {errors.root.message}
            </p>
          )}
        </form>
      </DialogContent>
    </Dialog>
  )
}

type SetValue = (name: JobField, value: string, options: { shouldValidate: boolean }) => void

function setAll(setValue: SetValue, patch: Partial<JobFormValues>): void {
  for (const [name, value] of Object.entries(patch)) setValue(name as JobField, value, { shouldValidate: true })
}

function datasetChoice(dataset: Dataset) {
  const size = dataset.status === 'ready' ? plural(dataset.num_examples, 'example') : dataset.status
  return {
    value: dataset.id,
    label: dataset.name,
    note: inWords(`${dataset.kind}, ${size}`),
    isDisabled: dataset.status !== 'ready',
  }
}

function Presets({ values, onPick }: { values: JobFormValues; onPick: (patch: Partial<JobFormValues>) => void }) {
  return (
    <fieldset className="grid grid-cols-3 gap-2">
      <legend className="mb-1 text-sm font-medium">Start from</legend>
      {PRESETS.map((preset) => {
        const isOn = Object.entries(preset.values).every(
          ([name, value]) => Number(values[name as JobField]) === Number(value) || values[name as JobField] === value,
        )
        return (
          <button
            key={preset.id}
            type="button"
            aria-pressed={isOn}
            onClick={() => onPick(preset.values)}
            className={cn(
              'rounded-control border px-3 py-2 text-left hover:bg-subtle max-sm:min-h-11',
              isOn && 'border-accent bg-accent/6 hover:bg-accent/10',
            )}
          >
            <span className="block font-medium">{preset.name}</span>
            <span className="block text-xs text-muted max-sm:hidden">{preset.help}</span>
          </button>
        )
      })}
    </fieldset>
  )
}

function SplitWarning({ dataset }: { dataset: Dataset }) {
  const { split } = dataset
  if (!split?.is_leaky) return null
  return (
    <p role="note" className="flex gap-2 rounded-control bg-pending-fill/14 px-3 py-2 text-sm text-pending">
      <TriangleAlert className="mt-0.5 size-4 shrink-0" aria-hidden />
      {split.column === 'row'
        ? 'This data set can only be split row by row.'
        : `Hardly two examples of this data set share a ${split.column}, so holding out by ${split.column} does little more than single rows. More examples help.`}{' '}
      Neighbouring examples may land on both sides, so the validation error will look better than the truth.
    </p>
  )
}

function EstimateLine({ values, dataset }: { values: JobFormValues; dataset: Dataset | undefined }) {
  const finished = useTrainingStore(useShallow((state) => state.jobs.filter((job) => job.status === 'completed')))
  const estimate = dataset ? estimateRun(values, dataset.num_examples, finished) : null
  if (!estimate) return <span />
  return (
    <p className="text-sm text-muted" aria-live="polite">
      {formatCount(estimate.steps)} steps ({formatCount(estimate.stepsPerEpoch)} an epoch)
      {estimate.duration_s === null
        ? ', time unknown: no finished run of this pair yet'
        : `, ${formatRoughly(estimate.duration_s)} judging by your earlier runs`}
    </p>
  )
}

function CopyButtons({ values }: { values: JobFormValues }) {
  const config = toConfig(values)
  if (!config) return null
  return (
    <>
      <CopyButton text={toCurl(location.origin, config)} label="Copy as curl">
        Copy as curl
      </CopyButton>
      <CopyButton text={toCli(location.origin, config)} label="Copy as CLI">
        Copy as CLI
      </CopyButton>
    </>
  )
}
