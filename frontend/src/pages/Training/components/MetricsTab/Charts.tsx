import { useMemo } from 'react'
import type { Zoom } from '@/components/charts/HoverLayer'
import { Card } from '@/components/ui/card'
import { Skeleton } from '@/components/ui/skeleton'
import { shortName } from '@/lib/format'
import { isWatched } from '../../hooks/useTrainingWebSocket'
import { splitOf, useYardsticks } from '../../hooks/useYardsticks'
import type { TrainingJob } from '../../types'
import { AccuracyChart } from './AccuracyChart'
import type { ChartView, RunView } from './chart-model'
import { CoverageChart, ErrorChart, GradientChart, ThroughputChart } from './FieldCharts'
import { LearningRateChart } from './LearningRateChart'
import { LossChart } from './LossChart'
import { describePoints } from './point-count'
import { RunLine, RunPanel } from './RunPanel'
import { ZoomStrip } from './ZoomStrip'

interface ChartsProps {
  whole: ChartView
  shown: ChartView
  onZoom: (zoom: Zoom) => void
  onHide: (hidden: ReadonlySet<string>) => void
}

export function Charts({ whole, shown, onZoom, onHide }: ChartsProps) {
  const first = whole.runs[0]
  const { baselines, limit, isLoading } = useYardsticks(first?.job)
  const references = useMemo(
    () =>
      [{ name: 'Physical limit', error_median_m: limit?.error_median_m ?? null }, ...baselines].flatMap((one) =>
        one.error_median_m === null ? [] : [{ y: one.error_median_m, name: one.name }],
      ),
    [baselines, limit],
  )
  const panelOf = (run: RunView, index: number) => ({
    run,
    baselines: index === 0 ? baselines : [],
    limit: index === 0 ? limit : null,
    marks: whole.marks.filter((mark) => mark.source === run.job.id),
  })
  const chart = { view: shown, onZoom, onHide }
  const zoom = shown.zoom
  const newest = whole.xDomain[1]
  const isGrowing = first !== undefined && isWatched(first.job)
  const numNewer =
    zoom && isGrowing
      ? (first?.rows.filter((row) => whole.xKind === 'epoch' && row.epoch > zoom[1] && newest > zoom[1]).length ?? 0)
      : 0
  return (
    <div className="grid grid-cols-1 items-start gap-4 xl:grid-cols-[minmax(0,1fr)_20rem] print:grid-cols-1">
      <div className="flex min-w-0 flex-col gap-4">
        <LossChart {...chart} />
        <AccuracyChart {...chart} />
        <LearningRateChart {...chart} />
        <ErrorChart {...chart} references={references} note={noteOfLevels(whole.runs.map((run) => run.job))} />
        <div className="grid grid-cols-1 gap-4 lg:grid-cols-2 print:grid-cols-1 lg:not-print:[&>:last-child:nth-child(odd)]:col-span-2">
          <CoverageChart {...chart} />
          <GradientChart {...chart} />
          <ThroughputChart {...chart} />
        </div>
        <ZoomStrip view={whole} zoom={zoom} onZoom={onZoom} numNewer={numNewer}>
          <PointCount view={whole} />
        </ZoomStrip>
      </div>
      <div className="flex flex-col gap-4 print:order-first xl:sticky xl:top-14 max-xl:grid max-xl:grid-cols-1 max-xl:items-start max-xl:md:grid-cols-2 print:grid-cols-1">
        {isLoading ? (
          <Skeleton className="h-80 rounded-card" />
        ) : first && whole.runs.length === 1 ? (
          <RunPanel {...panelOf(first, 0)} />
        ) : (
          <Card className="max-xl:col-span-full print:break-inside-auto">
            <ul aria-label="Compared runs">
              {whole.runs.map((run, index) => (
                <RunLine key={run.job.id} {...panelOf(run, index)} />
              ))}
            </ul>
          </Card>
        )}
      </div>
    </div>
  )
}

/** Levels are measured on one run's validation examples, and stand beside curves that may come from others. */
function noteOfLevels([first, ...others]: readonly TrainingJob[]): string | undefined {
  if (!first || others.every((job) => splitOf(job) === splitOf(first))) return undefined
  return `The levels are those of ${shortName(first.name)}; other runs here were validated on other examples.`
}

function PointCount({ view }: { view: ChartView }) {
  const { text, perRun } = describePoints(
    view.runs.map(({ job, rows, partial }) => ({ name: job.name, rows, partial })),
  )
  return (
    <p className="text-sm text-muted" data-testid="point-count" title={perRun ?? undefined}>
      {text}
      {view.smoothing > 0 && ' · smoothed; the faint lines are the measured values'}
    </p>
  )
}
