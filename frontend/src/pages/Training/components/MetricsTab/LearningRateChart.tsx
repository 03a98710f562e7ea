import { formatDecadeTick } from '@/lib/format'
import { ChartOf, type MetricChartProps } from './ChartOf'
import type { FieldLook } from './chart-model'

const FIELDS: FieldLook[] = [{ field: 'learning_rate', name: 'learning rate', color: 'var(--chart-purple)' }]

export function LearningRateChart(props: MetricChartProps) {
  return <ChartOf {...props} title="Learning rate (log)" fields={FIELDS} isLogY isExact formatTick={formatDecadeTick} />
}
