import { ChevronRight } from 'lucide-react'
import { memo, useState } from 'react'
import type { Baseline, PhysicalLimit, TrainingMetric } from '@/api/types'
import type { ChartMark } from '@/components/charts/chart-types'
import { MARK_COLOR, MARK_SIGN } from '@/components/charts/mark-look'
import { Facts } from '@/components/feedback/Facts'
import { StatusBadge } from '@/components/feedback/StatusBadge'
import { Button } from '@/components/ui/button'
import { Card } from '@/components/ui/card'
import { LongName } from '@/components/ui/long-name'
import { Tooltip } from '@/components/ui/tooltip'
import { cn } from '@/lib/cn'
import { describeCoverage, formatCount, formatDuration, formatMetres, formatNumber, formatPercent } from '@/lib/format'
import { useIsPrinting } from '@/lib/printing'
import { inPageQuotes } from '@/lib/sentence'
import { useJobActions } from '../../hooks/useJobActions'
import type { RunView } from './chart-model'

interface RunPanelProps {
  run: RunView
  baselines: readonly Baseline[]
  limit: PhysicalLimit | null
  /** What happened to it along the way. */
  marks: readonly ChartMark[]
}

/** One run in words and figures, beside its curves. */
export function RunPanel(props: RunPanelProps) {
  const { job } = props.run
  return (
    <Card className="flex flex-col gap-3 p-4" data-testid="run-panel">
      <div className="flex items-start gap-2">
        <h2 className="mr-auto line-clamp-6 min-w-0 font-semibold" title={job.name}>
          {job.name}
        </h2>
        <StatusBadge status={job.status} pending_action={job.pending_action} />
      </div>
      <RunFacts {...props} />
    </Card>
  )
}

/** A compared run on one line, with what is asked first; the rest folds out below it. */
export function RunLine(props: RunPanelProps) {
  const { job, rows, color } = props.run
  const [isUnfolded, setUnfolded] = useState(false)
  // Paper cannot be folded out.
  const isOpen = useIsPrinting() || isUnfolded
  const best = job.best_val_error_median_m
  const now = rows.at(-1)?.val_error_median_m
  const error = best ?? now
  return (
    <li className="break-inside-avoid border-t first:border-t-0" data-testid="run-panel">
      <h2>
        <button
          type="button"
          aria-expanded={isOpen}
          className="flex min-h-9 w-full items-center gap-2 px-3 text-left max-sm:min-h-11"
          onClick={() => setUnfolded(!isOpen)}
        >
          <ChevronRight
            className={cn('size-4 shrink-0 text-muted transition-transform print:hidden', isOpen && 'rotate-90')}
            aria-hidden
          />
          <span className="size-2.5 shrink-0 rounded-full" style={{ background: color }} aria-hidden />
          <span className="flex min-w-0 flex-1 flex-wrap items-center gap-x-3 gap-y-0.5 py-1.5">
            <LongName name={job.name} className="max-w-full flex-1 basis-44 font-semibold" />
            <span className="flex items-center gap-3 whitespace-nowrap">
              {error != null && `${formatMetres(error)} ${best == null ? 'now' : 'at best'}`}
              <StatusBadge status={job.status} pending_action={job.pending_action} />
            </span>
          </span>
        </button>
      </h2>
      {isOpen && (
        <div className="flex flex-col gap-3 px-4 pt-1 pb-4">
          <RunFacts {...props} />
        </div>
      )}
    </li>
  )
}

function RunFacts({ run, baselines, limit, marks }: RunPanelProps) {
  const { job, rows } = run
  const last = rows.at(-1)
  const trained = rows.reduce((sum, row) => sum + (row.epoch_duration_seconds ?? 0), 0)
  const isWhole = last !== undefined && rows.length === last.epoch
  return (
    <>
      {job.notice && (
        <p role="status" className="rounded-control bg-paused-fill/12 p-3 text-sm font-medium">
          {inPageQuotes(job.notice)}
        </p>
      )}
      <Story run={run} baselines={baselines} />
      <Facts
        items={[
          last?.val_error_median_m != null && ['Error now', `${formatMetres(last.val_error_median_m)} median`],
          last?.val_coverage_68 != null && ['68 % ellipses', <Coverage key="coverage" share={last.val_coverage_68} />],
          last?.train_accuracy != null &&
            last.val_accuracy != null && ['Accuracy', <Accuracy key="accuracy" row={last} />],
          limit && ['Physical limit', <Limit key="limit" limit={limit} error_m={last?.val_error_median_m ?? null} />],
          ...baselines.map(
            (one) =>
              [
                one.name,
                one.error_median_m === null ? (one.reason ?? 'not run') : formatMetres(one.error_median_m),
              ] as const,
          ),
          last?.samples_per_second != null && ['Speed', `${formatNumber(last.samples_per_second)} examples/s`],
          isWhole && trained > 0 && ['Time in epochs', formatDuration(trained)],
          ['Epochs', `${job.current_epoch} of ${job.total_epochs}`],
          ['Attempts', job.attempt],
          marks.length > 0 && ['Marks', <Marks key="marks" marks={marks} />],
          ['Architecture', job.config.model_architecture],
          ['Seed', job.config.seed],
          job.device && ['Device', job.device.name],
        ]}
      />
      <PanelButtons jobId={job.id} />
    </>
  )
}

/** Marks listed, at most: the newest ones. */
const MAX_MARKS = 8

/** The signs above the charts in words, for whom no mouse hovers. */
function Marks({ marks }: { marks: readonly ChartMark[] }) {
  const numEarlier = marks.length - MAX_MARKS
  return (
    <ul data-testid="marks">
      {numEarlier > 0 && <li className="text-muted">{formatCount(numEarlier)} earlier</li>}
      {marks.slice(-MAX_MARKS).map((mark) => (
        <li key={`${mark.kind}${mark.x}${mark.label}`} className="flex gap-1.5">
          <span aria-hidden className="w-4 shrink-0 text-center" style={{ color: mark.color ?? MARK_COLOR[mark.kind] }}>
            {MARK_SIGN[mark.kind]}
          </span>
          {mark.label}
        </li>
      ))}
    </ul>
  )
}

// What an epoch says stands in lines of its own: no value may take a line more than the one before, or all below it moves.

function Coverage({ share }: { share: number }) {
  const [held, verdict] = describeCoverage(share)
  return (
    <>
      {`${held}: `}
      <span className="block">{verdict}</span>
    </>
  )
}

/** Validation above training looks like a mistake, and here is none. */
function Accuracy({ row }: { row: TrainingMetric }) {
  return (
    <Tooltip text="Training figures are often the lower ones: they are taken during the epoch, while the network still learns and units (in most networks receivers too) are switched off at random. Validation is measured after it, with everything on.">
      <button type="button" className="text-left underline max-sm:min-h-11 decoration-dotted underline-offset-4">
        <span className="block">{`validation ${formatPercent(row.val_accuracy)},`}</span>{' '}
        <span className="block">{`training ${formatPercent(row.train_accuracy)}`}</span>
      </button>
    </Tooltip>
  )
}

/** The best that any estimator could do, and how far the run is from it; what was assumed is in the tooltip. */
function Limit({ limit, error_m }: { limit: PhysicalLimit; error_m: number | null }) {
  const times = error_m === null ? null : formatNumber(error_m / limit.error_median_m, 3)
  return (
    <Tooltip text={limit.assumptions}>
      <button type="button" className="text-left underline max-sm:min-h-11 decoration-dotted underline-offset-4">
        {`${formatMetres(limit.error_median_m)} median${times ? `; now ${times} × the limit` : ''}`}
      </button>
    </Tooltip>
  )
}

const PanelButtons = memo(function PanelButtons({ jobId }: { jobId: string }) {
  const { showPanel } = useJobActions()
  return (
    <div className="flex gap-2 print:hidden">
      <Button size="sm" onClick={() => showPanel({ id: jobId }, 'details')}>
        Details
      </Button>
      <Button size="sm" onClick={() => showPanel({ id: jobId }, 'log')}>
        Log
      </Button>
    </div>
  )
})

function Story({ run: { job }, baselines }: { run: RunView; baselines: readonly Baseline[] }) {
  if (job.status === 'failed')
    return <p className="rounded-control bg-failed-fill/8 p-2 text-sm">{job.error_message}</p>
  if (job.best_epoch === null) return null
  const error = job.best_val_error_median_m
  const rival = baselines
    .flatMap((one) => (one.error_median_m === null ? [] : [{ name: one.name, error: one.error_median_m }]))
    .sort((a, b) => a.error - b.error)[0]
  const gain = rival && error !== null ? rival.error / error : null
  const best =
    error === null ? `Validation loss ${formatNumber(job.best_val_loss)}` : `Median error ${formatMetres(error)}`
  const beside =
    gain === null || !rival
      ? ''
      : gain < 1
        ? `, ${formatNumber(1 / gain, 3)} × the error of ${rival.name}`
        : `; ${rival.name} has ${formatNumber(gain, 3)} × that error`
  return (
    <p className={cn('text-sm', beside && 'min-h-[3lh]')}>
      {`${best} at epoch ${job.best_epoch}, the best by validation loss${beside}.`}
    </p>
  )
}
