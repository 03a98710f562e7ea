import { ChartOf, type MetricChartProps } from './ChartOf'
import { type FieldLook, VALIDATION_DASH } from './chart-model'

const FIELDS: FieldLook[] = [
  { field: 'train_loss', name: 'train', color: 'var(--chart-blue)' },
  { field: 'val_loss', name: 'validation', color: 'var(--chart-red)', dash: VALIDATION_DASH },
]

export function LossChart(props: MetricChartProps) {
  return <ChartOf {...props} title="Loss" fields={FIELDS} />
}
