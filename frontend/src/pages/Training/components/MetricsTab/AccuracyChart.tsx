import { formatNumber } from '@/lib/format'
import { ChartOf, type MetricChartProps } from './ChartOf'
import { type FieldLook, VALIDATION_DASH } from './chart-model'

const FIELDS: FieldLook[] = [
  { field: 'train_accuracy', name: 'train', color: 'var(--chart-green)' },
  { field: 'val_accuracy', name: 'validation', color: 'var(--chart-orange)', dash: VALIDATION_DASH },
]

const formatShare = (percent: number): string => `${formatNumber(percent, 3)} %`

/** Accuracy is the share of examples located within a radius; without the radius the number says nothing. */
export function AccuracyChart({ radius_m, ...props }: MetricChartProps & { radius_m: number | null }) {
  const title = radius_m === null ? 'Accuracy (%)' : `Accuracy within ${formatNumber(radius_m)} m (%)`
  return <ChartOf {...props} title={title} fields={FIELDS} scale={100} isLogY={false} formatY={formatShare} />
}
