import { Download, Ellipsis, Info, Pencil, Trash2 } from 'lucide-react'
import { RelativeTime } from '@/components/feedback/RelativeTime'
import { Button } from '@/components/ui/button'
import { Card } from '@/components/ui/card'
import {
  DropdownMenu,
  DropdownMenuContent,
  DropdownMenuItem,
  DropdownMenuSeparator,
  DropdownMenuTrigger,
} from '@/components/ui/dropdown-menu'
import { cn } from '@/lib/cn'
import { formatBytes, formatCount, formatMetres, formatNumber, formatPercent } from '@/lib/format'
import { jobsById } from '@/stores/jobIndex'
import { useTrainingStore } from '@/stores/trainingStore'
import type { TrainedModel } from '../../types'
import { VerificationSeal } from './VerificationSeal'

interface ModelCardProps {
  model: TrainedModel
  onOpen: () => void
  onExport: (model: TrainedModel) => void
  onRename: (model: TrainedModel) => void
  onDelete: (model: TrainedModel) => void
}

export function ModelCard({ model, onOpen, onExport, onRename, onDelete }: ModelCardProps) {
  return (
    <Card
      data-testid="model-card"
      data-model-id={model.id}
      className="relative flex h-full flex-col gap-3 p-4 transition-colors focus-within:border-border-strong hover:border-border-strong"
    >
      <div className="flex items-start gap-2">
        <h2 className="min-w-0 flex-1 text-base leading-snug font-semibold">
          <button
            type="button"
            title={model.name}
            className="line-clamp-2 text-left after:absolute after:inset-0 after:content-[''] hover:underline"
            onClick={onOpen}
          >
            {model.name}
          </button>
        </h2>
        <span className="rounded-full bg-subtle px-2 py-0.5 text-xs font-semibold text-muted">v{model.version}</span>
      </div>
      <p className="text-sm text-muted">
        {model.architecture} ·{' '}
        {model.parameters_count === null ? '' : `${formatCount(model.parameters_count)} parameters · `}
        {formatBytes(model.size_bytes)} · <RelativeTime at={model.created_at} />
      </p>
      <FinalMetrics model={model} />
      <ErrorBars model={model} />
      <div className="mt-auto flex flex-col gap-1 text-sm">
        <VerificationSeal verification={model.verification} />
        <Lineage model={model} />
      </div>
      <div className="relative z-10 flex items-center gap-2">
        <Button size="sm" className="max-sm:flex-1" onClick={() => onExport(model)}>
          <Download /> Export
        </Button>
        <div className="ml-auto">
          <DropdownMenu>
            <DropdownMenuTrigger asChild>
              <Button variant="ghost" size="icon" aria-label={`More for ${model.name}`}>
                <Ellipsis />
              </Button>
            </DropdownMenuTrigger>
            <DropdownMenuContent>
              <DropdownMenuItem onSelect={onOpen}>
                <Info /> Details
              </DropdownMenuItem>
              <DropdownMenuItem onSelect={() => onRename(model)}>
                <Pencil /> Rename
              </DropdownMenuItem>
              <DropdownMenuSeparator />
              <DropdownMenuItem isDestructive onSelect={() => onDelete(model)}>
                <Trash2 /> Delete
              </DropdownMenuItem>
            </DropdownMenuContent>
          </DropdownMenu>
        </div>
      </div>
    </Card>
  )
}

function FinalMetrics({ model: { final_metrics: final } }: { model: TrainedModel }) {
  const cells = [
    ['Train loss', formatNumber(final.train_loss)],
    ['Val loss', formatNumber(final.val_loss)],
    ['Train accuracy', formatPercent(final.train_accuracy)],
    ['Val accuracy', formatPercent(final.val_accuracy)],
  ] as const
  if (cells.every(([, value]) => value === formatNumber(null)))
    return <p className="text-sm text-muted">This file came without final metrics.</p>
  return (
    <dl className="grid gap-x-4 gap-y-1 text-sm min-[26rem]:grid-cols-2">
      {cells.map(([name, value]) => (
        <div key={name} className="flex justify-between gap-2">
          <dt className="text-muted">{name}</dt>
          <dd className="font-semibold whitespace-nowrap">{value}</dd>
        </div>
      ))}
    </dl>
  )
}

/** The median error as a bar, beside what the classical methods reach on the same examples: shorter is better. */
export function ErrorBars({ model }: { model: Pick<TrainedModel, 'final_metrics' | 'baselines'> }) {
  const own = model.final_metrics.val_error_median_m
  if (own === null || own === undefined) return null
  const bars = [
    { id: 'own', name: 'This model', error: own },
    ...model.baselines.flatMap((one) =>
      one.error_median_m === null ? [] : [{ id: one.id, name: one.name, error: one.error_median_m }],
    ),
  ]
  const longest = Math.max(...bars.map((bar) => bar.error))
  return (
    <dl
      className="grid grid-cols-[minmax(0,1fr)_auto] items-center gap-x-3 gap-y-1 text-sm sm:grid-flow-row-dense sm:grid-cols-[auto_minmax(3.5rem,1fr)_auto]"
      aria-label="Median error"
    >
      {bars.map((bar) => (
        <div key={bar.id} className="contents">
          <dt className={bar.id === 'own' ? 'font-medium' : 'text-muted'}>{bar.name}</dt>
          <dd className={cn('text-right whitespace-nowrap sm:col-start-3', bar.id === 'own' && 'font-semibold')}>
            {formatMetres(bar.error)}
          </dd>
          {/* On a phone the bar goes below its words, over the whole width. */}
          <div className="h-1.5 max-sm:col-span-2 max-sm:mb-1 sm:col-start-2" aria-hidden>
            <div
              className={
                bar.id === 'own' ? 'h-full rounded-full bg-accent' : 'h-full rounded-full bg-cancelled-fill/60'
              }
              style={{ width: `max(0.375rem, ${(bar.error / longest) * 100}%)` }}
            />
          </div>
        </div>
      ))}
    </dl>
  )
}

function Lineage({ model }: { model: TrainedModel }) {
  const jobName = useTrainingStore((state) => jobsById(state.jobs).get(model.training_job_id ?? '')?.name)
  const from =
    jobName ?? (model.imported_from ? 'imported file' : model.training_job_id ? 'a deleted job' : 'unknown job')
  return (
    <p className="truncate text-muted">
      from {from}
      {model.dataset_name ? ` → ${model.dataset_name}` : ''}
    </p>
  )
}
