/** The charts of this field of work: error in metres, honesty of the ellipse, health of the optimizer. */
import type { ChartReference } from '@/components/charts/chart-types'
import { formatCount, formatMetres, formatMetresTick, formatNumber } from '@/lib/format'
import { ChartOf, type MetricChartProps } from './ChartOf'
import type { FieldLook } from './chart-model'

const ERROR: FieldLook[] = [
  { field: 'val_error_median_m', name: 'median', color: 'var(--chart-red)' },
  { field: 'val_error_p68_m', name: '68 %', color: 'var(--chart-purple)', dash: '6 3' },
  { field: 'val_error_p95_m', name: '95 %', color: 'var(--chart-teal)', dash: '2 3' },
]

interface ErrorChartProps extends MetricChartProps {
  references: ChartReference[]
  /** Of whom the levels are, where that is not plain. */
  note: string | undefined
}

export function ErrorChart({ references, note, ...props }: ErrorChartProps) {
  return (
    <ChartOf
      {...props}
      title="Validation error (m)"
      fields={ERROR}
      references={references}
      formatY={formatMetres}
      formatTick={formatMetresTick}
      {...(note && references.length > 0 ? { note } : {})}
    />
  )
}

const COVERAGE: FieldLook[] = [{ field: 'val_coverage_68', name: 'covered', color: 'var(--chart-orange)' }]
const NOMINAL: ChartReference[] = [{ y: 68, name: 'Promised' }]
const formatShare = (percent: number): string => `${formatNumber(percent, 3)} %`

export function CoverageChart(props: MetricChartProps) {
  return (
    <ChartOf
      {...props}
      title="Truths inside the 68 % ellipse (%)"
      fields={COVERAGE}
      scale={100}
      isLogY={false}
      references={NOMINAL}
      formatY={formatShare}
    />
  )
}

const GRADIENT: FieldLook[] = [{ field: 'grad_norm', name: 'gradient norm', color: 'var(--chart-teal)' }]

export function GradientChart(props: MetricChartProps) {
  return <ChartOf {...props} title="Gradient norm before clipping" fields={GRADIENT} />
}

const THROUGHPUT: FieldLook[] = [{ field: 'samples_per_second', name: 'examples', color: 'var(--chart-blue)' }]
const formatRate = (rate: number): string => `${formatNumber(rate)}/s`

export function ThroughputChart(props: MetricChartProps) {
  return (
    <ChartOf
      {...props}
      title="Throughput (examples/s)"
      fields={THROUGHPUT}
      formatY={formatRate}
      formatTick={formatCount}
    />
  )
}
