import { Download, LoaderCircle } from 'lucide-react'
import { type FormEvent, useState } from 'react'
import { toApiError } from '@/api/client'
import { Button } from '@/components/ui/button'
import { Checkbox } from '@/components/ui/checkbox'
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
import { Input } from '@/components/ui/input'
import { describeRange, EXPORT_LIMITS } from '@/lib/limits'
import { tellSuccess } from '@/lib/notify'
import { useTrainingStore } from '@/stores/trainingStore'
import type { ExportOptions, TrainedModel } from '../../types'

const BLOCKS = [
  ['include_config', 'Training configuration', 'What was trained, and how.'],
  ['include_metrics', 'Metrics', 'Final losses and accuracies, measured times.'],
  ['include_normalization', 'Normalization', 'Means and deviations of the features.'],
  [
    'include_samples',
    'Samples',
    'Held-out examples with their outputs: the importer runs the model on them and compares.',
  ],
] as const

interface ExportDialogProps {
  model: TrainedModel
  onClose: () => void
  onShow: () => void
}

export default function ExportDialog({ model, onClose, onShow }: ExportDialogProps) {
  const downloadModel = useTrainingStore((state) => state.downloadModel)
  const [options, setOptions] = useState<ExportOptions>({
    include_config: EXPORT_LIMITS.include_config.default === true,
    include_metrics: EXPORT_LIMITS.include_metrics.default === true,
    include_normalization: EXPORT_LIMITS.include_normalization.default === true,
    include_samples: EXPORT_LIMITS.include_samples.default === true,
    num_samples: Number(EXPORT_LIMITS.num_samples.default),
    description: null,
  })
  const [isBusy, setBusy] = useState(false)
  const [fault, setFault] = useState<{ field: string | null; message: string } | null>(null)
  const set = (patch: Partial<ExportOptions>) => setOptions((old) => ({ ...old, ...patch }))
  const download = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setFault(null)
    try {
      const filename = await downloadModel(model.id, options)
      onClose()
      tellSuccess('Model exported', { description: filename, link: { label: 'Show', onClick: onShow } })
    } catch (error) {
      const { field, message } = toApiError(error)
      setFault({ field, message })
    } finally {
      setBusy(false)
    }
  }
  const errorOf = (name: string) => (fault?.field?.endsWith(name) ? fault.message : undefined)
  const limits = EXPORT_LIMITS.num_samples
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()}>
      <DialogContent>
        <form onSubmit={download} className="flex min-h-0 flex-1 flex-col">
          <DialogHeader>
            <DialogTitle>
              Export “{model.name}” v{model.version}
            </DialogTitle>
            <DialogDescription>One .heimdall file with the network; choose what goes with it.</DialogDescription>
          </DialogHeader>
          <DialogBody className="flex flex-col gap-4">
            <fieldset className="flex flex-col gap-2.5">
              <legend className="sr-only">Contents</legend>
              {BLOCKS.map(([name, label, help]) => (
                <div key={name} className="flex gap-2.5">
                  <Checkbox
                    id={name}
                    className="mt-0.5"
                    checked={options[name]}
                    aria-describedby={`${name}-help`}
                    onCheckedChange={(checked) => set({ [name]: checked === true })}
                  />
                  <div>
                    <label htmlFor={name} className="font-medium">
                      {label}
                    </label>
                    <p id={`${name}-help`} className="text-xs text-muted">
                      {help}
                    </p>
                  </div>
                </div>
              ))}
            </fieldset>
            <Field
              label="Number of samples"
              help={describeRange(limits)}
              error={errorOf('num_samples')}
              className="w-44"
            >
              <Input
                type="number"
                min={limits.minimum ?? undefined}
                max={limits.maximum ?? undefined}
                required
                disabled={!options.include_samples}
                value={Number.isNaN(options.num_samples) ? '' : options.num_samples}
                onChange={(event) => set({ num_samples: event.target.valueAsNumber })}
              />
            </Field>
            <Field label="Description (optional)" error={errorOf('description')}>
              <Input
                type="text"
                maxLength={EXPORT_LIMITS.description.maxLength ?? undefined}
                value={options.description ?? ''}
                onChange={(event) => set({ description: event.target.value || null })}
              />
            </Field>
            {fault && errorOf('num_samples') === undefined && errorOf('description') === undefined && (
              <p role="alert" className="rounded-control bg-failed-fill/10 px-3 py-2 text-failed">
                {fault.message}
              </p>
            )}
          </DialogBody>
          <DialogFooter>
            <Button onClick={onClose}>Close</Button>
            <Button variant="primary" type="submit" disabled={isBusy}>
              {isBusy ? <LoaderCircle className="animate-spin" /> : <Download />} Download
            </Button>
          </DialogFooter>
        </form>
      </DialogContent>
    </Dialog>
  )
}
