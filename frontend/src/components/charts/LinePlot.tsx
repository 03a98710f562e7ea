import { memo } from 'react'
import { CartesianGrid, Line, LineChart, ReferenceDot, ReferenceLine, XAxis, YAxis } from 'recharts'
import { logTicks, paddedDomain, roundTicks } from '@/lib/series'
import { type ChartMark, type ChartModel, type ChartSeries, PLOT } from './chart-types'

const TICK = { fontSize: 11, fill: 'var(--muted)' }
const MARK_COLOR: Record<ChartMark['kind'], string> = {
  pause: 'var(--paused-fill)',
  resume: 'var(--running-fill)',
  crash: 'var(--failed-fill)',
  best: 'var(--completed-fill)',
  broken: 'var(--failed-fill)',
}
const MARK_SIGN: Record<ChartMark['kind'], string> = { pause: '❚❚', resume: '▶', crash: '✕', best: '◆', broken: '✕' }

/** A level is shown up to this multiple of the highest point. */
const REFERENCE_REACH = 1.5

/** The height of the axis comes from the lines and from the levels they stand beside. */
export function yDomainOf({
  series,
  references,
  isLogY,
}: Pick<ChartModel, 'series' | 'references' | 'isLogY'>): [number, number] {
  const values = series.flatMap((one) => one.points.map((point) => point.y))
  // A level far above the lines would press them flat; it stays outside the view and stands in the panel beside.
  const ceiling = values.reduce((high, value) => Math.max(high, value), 0) * REFERENCE_REACH
  const near = references.map((level) => level.y).filter((level) => values.length === 0 || level <= ceiling)
  return paddedDomain([...values, ...near], isLogY)
}

interface LinePlotProps extends ChartModel {
  width: number
  height: number
  yDomain: [number, number]
}

/** The drawing itself, by Recharts. Hover, zoom and cursor live in a layer above, so that moving the mouse draws nothing here again. */
export const LinePlot = memo(function LinePlot(props: LinePlotProps) {
  const { width, height, series, marks, references, xDomain, yDomain, isLogY, isWholeX, formatX, formatY } = props
  const xTicks = roundTicks(xDomain, Math.max(3, Math.floor(width / 110)), isWholeX)
  const yTicks = isLogY ? logTicks(yDomain) : roundTicks(yDomain, Math.max(2, Math.floor(height / 48)))
  return (
    <LineChart
      width={width}
      height={height}
      margin={{ top: PLOT.top, right: PLOT.right, bottom: 0, left: 0 }}
      accessibilityLayer={false}
    >
      <CartesianGrid stroke="var(--chart-grid)" vertical={false} syncWithTicks />
      <XAxis
        type="number"
        dataKey="x"
        domain={xDomain}
        allowDataOverflow
        ticks={xTicks}
        tickFormatter={formatX}
        tick={TICK}
        tickLine={false}
        axisLine={{ stroke: 'var(--border)' }}
        height={PLOT.bottom}
        interval="preserveStartEnd"
      />
      <YAxis
        type="number"
        domain={yDomain}
        allowDataOverflow
        scale={isLogY ? 'log' : 'linear'}
        ticks={yTicks}
        tickFormatter={formatY}
        tick={TICK}
        tickLine={false}
        axisLine={false}
        width={PLOT.left}
      />
      {references.map((level) => (
        <ReferenceLine
          key={level.label}
          y={level.y}
          stroke="var(--chart-gray)"
          strokeDasharray="2 3"
          label={{ value: level.label, position: 'insideTopRight', fontSize: 11, fill: 'var(--muted)' }}
        />
      ))}
      {marks.map((mark) => (
        <Mark key={`${mark.kind}${mark.x}`} mark={mark} y={yDomain[0]} />
      ))}
      {series.map((one) => (
        <Curve key={one.id} series={one} isLogY={isLogY} />
      ))}
    </LineChart>
  )
})

function Curve({ series, isLogY }: { series: ChartSeries; isLogY: boolean }) {
  const points = isLogY ? series.points.filter((point) => point.y > 0) : series.points
  return (
    <Line
      data={points as unknown as Record<string, number>[]}
      dataKey="y"
      name={series.name}
      type="linear"
      stroke={series.color}
      strokeWidth={series.faint ? 1 : 1.75}
      strokeOpacity={series.faint ? 0.3 : 1}
      {...(series.dash ? { strokeDasharray: series.dash } : {})}
      // A lone point has no line; without its dot the first epoch would be invisible.
      dot={points.length === 1 ? { r: 3, fill: series.color, strokeWidth: 0 } : false}
      activeDot={false}
      isAnimationActive={false}
      connectNulls
    />
  )
}

function Mark({ mark, y }: { mark: ChartMark; y: number }) {
  const color = MARK_COLOR[mark.kind]
  const label = { value: MARK_SIGN[mark.kind], fontSize: 10, fill: color }
  if (mark.kind === 'broken')
    return (
      <ReferenceDot x={mark.x} y={y} r={0} label={{ ...label, value: `✕ ${mark.label}`, position: 'top' as const }} />
    )
  return (
    <ReferenceLine
      x={mark.x}
      stroke={color}
      strokeOpacity={0.65}
      strokeDasharray={mark.kind === 'best' ? '1 3' : '4 3'}
      label={{ ...label, position: 'top' as const }}
    />
  )
}
