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
import { formSchema } from '@/lib/field-schema'
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

const NUM_SAMPLES = EXPORT_LIMITS.num_samples
const schema = formSchema({ num_samples: NUM_SAMPLES })

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
    num_samples: Number(NUM_SAMPLES.default),
    description: null,
  })
  const [isBusy, setBusy] = useState(false)
  const [fault, setFault] = useState<{ field: string | null; message: string } | null>(null)
  const set = (patch: Partial<ExportOptions>) => setOptions((old) => ({ ...old, ...patch }))
  const download = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const wrong = options.include_samples ? schema.safeParse(options).error?.issues[0] : undefined
    if (wrong) {
      setFault({ field: 'num_samples', message: wrong.message })
      const input = event.currentTarget.elements.namedItem('num_samples')
      if (input instanceof HTMLElement) input.focus()
      return
    }
    setBusy(true)
    setFault(null)
    try {
      const filename = await downloadModel(
        model.id,
        // A number that nobody asks about is not checked and must not be refused either.
        options.include_samples ? options : { ...options, num_samples: Number(NUM_SAMPLES.default) },
      )
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
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()}>
      <DialogContent>
        <form noValidate onSubmit={download} className="flex min-h-0 flex-1 flex-col">
          <DialogHeader>
            <DialogTitle>{`Export “${model.name}” v${model.version}`}</DialogTitle>
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
              help={describeRange(NUM_SAMPLES)}
              error={options.include_samples ? errorOf('num_samples') : undefined}
              className="w-44"
            >
              <Input
                type="number"
                name="num_samples"
                min={NUM_SAMPLES.minimum ?? undefined}
                max={NUM_SAMPLES.maximum ?? undefined}
                required
                disabled={!options.include_samples}
                value={Number.isNaN(options.num_samples) ? '' : options.num_samples}
                onChange={(event) => {
                  set({ num_samples: event.target.valueAsNumber })
                  if (errorOf('num_samples')) setFault(null)
                }}
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
