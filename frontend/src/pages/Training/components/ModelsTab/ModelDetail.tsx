import { Download } from 'lucide-react'
import { Dialog as SheetParts } from 'radix-ui'
import { type ReactNode, useEffect, useState } from 'react'
import { type ApiError, toApiError } from '@/api/client'
import { getModel } from '@/api/training'
import type { TrainedModelDetail } from '@/api/types'
import { CopyButton } from '@/components/feedback/CopyButton'
import { Facts } from '@/components/feedback/Facts'
import { RelativeTime } from '@/components/feedback/RelativeTime'
import { Button } from '@/components/ui/button'
import { Sheet, SheetContent } from '@/components/ui/sheet'
import { Skeleton } from '@/components/ui/skeleton'
import {
  describeCoverage,
  formatBytes,
  formatCount,
  formatDuration,
  formatMetres,
  formatNumber,
  formatPercent,
} from '@/lib/format'
import { useTrainingStore } from '@/stores/trainingStore'
import type { TrainedModel } from '../../types'
import { ModelBreakdown } from './ModelBreakdown'
import { BaselineTable, TensorTable } from './ModelTables'
import { formatDifference, VerificationChecks, VerificationSeal } from './VerificationSeal'

interface ModelDetailProps {
  modelId: string
  onClose: () => void
  onExport: (model: TrainedModel) => void
  onShowJob: (jobId: string) => void
}

/** Everything known of one model: where it comes from, how good it is, what it takes and gives. */
export default function ModelDetail({ modelId, onClose, onExport, onShowJob }: ModelDetailProps) {
  const [model, setModel] = useState<TrainedModelDetail | null>(null)
  const [error, setError] = useState<ApiError | null>(null)
  useEffect(() => {
    getModel(modelId).then(setModel, (fault) => setError(toApiError(fault)))
  }, [modelId])
  return (
    <Sheet open onOpenChange={(open) => !open && onClose()}>
      <SheetContent aria-describedby={undefined}>
        <div className="px-5 pt-4 pr-16 sm:pr-14 pb-3">
          <SheetParts.Title className="text-lg font-semibold">
            {model ? `${model.name} v${model.version}` : 'Model'}
          </SheetParts.Title>
        </div>
        <div className="flex min-h-0 flex-1 flex-col gap-6 overflow-y-auto border-t px-5 py-4">
          {error && <p role="alert">{error.message}</p>}
          {!model && !error && <Skeleton className="h-80" />}
          {model && <Body model={model} onShowJob={onShowJob} />}
        </div>
        {model && (
          <div className="flex justify-end gap-2 border-t px-5 py-3">
            <Button variant="primary" onClick={() => onExport(model)}>
              <Download /> Export
            </Button>
          </div>
        )}
      </SheetContent>
    </Sheet>
  )
}

function Body({ model, onShowJob }: { model: TrainedModelDetail; onShowJob: (jobId: string) => void }) {
  const job = useTrainingStore((state) => state.jobs.find((one) => one.id === model.training_job_id))
  const { final_metrics: final, performance } = model
  return (
    <>
      {model.description && <p>{model.description}</p>}
      <Section title="Lineage">
        <Facts
          items={[
            [
              'Job',
              job ? (
                <LinkButton key="job" onClick={() => onShowJob(job.id)}>
                  {job.name}
                </LinkButton>
              ) : (
                (model.training_job_id ?? 'none here')
              ),
            ],
            ['Data set', model.dataset_name ?? model.dataset_id ?? 'unknown'],
            model.imported_from && ['Imported from bundle', model.imported_from],
            ['Created', <RelativeTime key="at" at={model.created_at} />],
            model.best_epoch !== null && ['Weights of epoch', model.best_epoch],
          ]}
        />
      </Section>
      <Section title="Verification">
        <VerificationSeal verification={model.verification} />
        <p className="mt-1 mb-2 text-xs text-muted">
          It shows that the file gives the same answers here. It says nothing about accuracy in the field.
        </p>
        <VerificationChecks checks={model.verification.checks} />
      </Section>
      <Section title="Quality on held-out examples">
        {isUnmeasured(final) && (
          <p className="text-sm text-muted">This file came without final metrics; only its verification is known.</p>
        )}
        <Facts
          items={[
            !isUnmeasured(final) && [
              'Loss',
              `${formatNumber(final.train_loss)} train, ${formatNumber(final.val_loss)} validation`,
            ],
            !isUnmeasured(final) && [
              'Accuracy',
              `${formatPercent(final.train_accuracy)} train, ${formatPercent(final.val_accuracy)} validation${model.accuracy_radius_m ? `, within ${formatMetres(model.accuracy_radius_m)}` : ''}`,
            ],
            final.val_coverage_68 !== null && ['Ellipse coverage', describeCoverage(final.val_coverage_68).join(': ')],
          ]}
        />
        <BaselineTable model={model} />
      </Section>
      {model.accuracy_breakdown && (
        <Section title="Where it is good and where not">
          <ModelBreakdown breakdown={model.accuracy_breakdown} />
        </Section>
      )}
      <Section title="Network">
        <Facts
          items={[
            ['Architecture', model.architecture],
            model.parameters_count !== null && ['Parameters', formatCount(model.parameters_count)],
            ['Size', formatBytes(model.size_bytes)],
            ['ONNX opset', model.onnx_opset],
            performance?.inference_latency_ms != null && [
              'Latency',
              `${formatNumber(performance.inference_latency_ms)} ms, one example`,
            ],
            performance?.onnx_speedup_factor != null && [
              'Against PyTorch',
              `${formatNumber(performance.onnx_speedup_factor, 3)} × the speed`,
            ],
            performance?.parity_position_diff_m != null && [
              'ONNX from PyTorch',
              `at most ${formatDifference(performance.parity_position_diff_m, 'm')}`,
            ],
            performance?.training_duration_seconds != null && [
              'Training took',
              formatDuration(performance.training_duration_seconds),
            ],
          ]}
        />
        <div className="mt-2 flex items-center gap-1 text-sm text-muted">
          <span className="shrink-0">sha256</span>{' '}
          <code className="min-w-0 truncate font-mono text-xs">{model.sha256}</code>
          <CopyButton text={model.sha256} label="Copy the hash" />
        </div>
        <TensorTable title="Inputs" tensors={model.inputs} />
        <TensorTable title="Outputs" tensors={model.outputs} />
      </Section>
    </>
  )
}

const isUnmeasured = ({ train_loss, val_loss, train_accuracy, val_accuracy }: TrainedModelDetail['final_metrics']) =>
  [train_loss, val_loss, train_accuracy, val_accuracy].every((value) => value === null)

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <h3 className="mb-2 font-semibold">{title}</h3>
      {children}
    </section>
  )
}

function LinkButton({ onClick, children }: { onClick: () => void; children: ReactNode }) {
  return (
    <button
      type="button"
      className="text-left font-medium text-accent underline-offset-2 max-sm:-my-3 max-sm:min-h-11 hover:underline dark:text-running"
      onClick={onClick}
    >
      {children}
    </button>
  )
}
