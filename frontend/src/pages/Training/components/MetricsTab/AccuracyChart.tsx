import { useSame } from '@/components/charts/steady'
import { formatNumber } from '@/lib/format'
import { useRadii } from '../../hooks/useYardsticks'
import { ChartOf, type MetricChartProps } from './ChartOf'
import { type FieldLook, VALIDATION_DASH } from './chart-model'

const FIELDS: FieldLook[] = [
  { field: 'train_accuracy', name: 'train', color: 'var(--chart-green)' },
  { field: 'val_accuracy', name: 'validation', color: 'var(--chart-orange)', dash: VALIDATION_DASH },
]

const formatShare = (percent: number): string => `${formatNumber(percent, 3)} %`

/**
 * Accuracy is the share of examples located within a radius; without the radius the number says nothing. Runs of one radius
 * share it in the title; where they differ, each carries its own.
 */
export function AccuracyChart(props: MetricChartProps) {
  const jobs = props.view.runs.map((run) => run.job)
  const radii = useRadii(jobs)
  const isShared = new Set(radii).size <= 1
  const shared = radii[0] ?? null
  const qualifiers = useSame(
    isShared ? {} : Object.fromEntries(jobs.map((job, index) => [job.id, describeRadius(radii[index] ?? null)])),
  )
  const title = !isShared
    ? 'Accuracy (%), radius by run'
    : shared === null
      ? 'Accuracy (%)'
      : `Accuracy within ${formatNumber(shared)} m (%)`
  return (
    <ChartOf
      {...props}
      title={title}
      fields={FIELDS}
      scale={100}
      isLogY={false}
      formatY={formatShare}
      qualifiers={qualifiers}
    />
  )
}

function describeRadius(radius_m: number | null): string {
  return radius_m === null ? 'radius unknown' : `within ${formatNumber(radius_m)} m`
}
