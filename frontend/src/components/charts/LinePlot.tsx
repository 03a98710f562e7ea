import { createContext, memo, useContext, useId, useMemo } from 'react'
import { CartesianGrid, Curve, LineChart, XAxis, YAxis } from 'recharts'
import { seenValues } from '@/lib/curves'
import { logTicks, paddedDomain, roundTicks } from '@/lib/series'
import { type ChartModel, type ChartSeries, PLOT } from './chart-types'
import { Levels } from './Levels'
import { Marks } from './Marks'
import { type PlotFrame, placeIn, type ToPixels } from './place'

const TICK = { fontSize: 11, fill: 'var(--muted)' }

/** A level is shown up to this multiple of the highest point. */
const REFERENCE_REACH = 1.5

/** The height of the axis comes from what is seen of the lines and from the levels they stand beside. */
export function yDomainOf({
  series,
  references,
  xDomain,
  isLogY,
}: Pick<ChartModel, 'series' | 'references' | 'xDomain' | 'isLogY'>): [number, number] {
  const values = series.flatMap((one) => seenValues(one.points, xDomain, isLogY))
  // A level far above the lines would press them flat; it stays outside the view and stands in the panel beside.
  const ceiling = values.reduce((high, value) => Math.max(high, value), 0) * REFERENCE_REACH
  const near = references.map((level) => level.y).filter((level) => values.length === 0 || level <= ceiling)
  return paddedDomain([...values, ...near], isLogY)
}

interface LinePlotProps {
  frame: PlotFrame
  series: readonly ChartSeries[]
}

const SeriesContext = createContext<readonly ChartSeries[]>([])

/**
 * The drawing itself, by Recharts. Laying out axes takes it 10 ms and more, a new point of a line far less: so the lines reach
 * the drawing past the frame, which is drawn again only when something of it changes. Hover, zoom and cursor live in a layer
 * above, so that moving the mouse draws nothing here again.
 */
export function LinePlot({ frame, series }: LinePlotProps) {
  return (
    <SeriesContext value={series}>
      <Frame {...frame} />
    </SeriesContext>
  )
}

const Frame = memo(function Frame(frame: PlotFrame) {
  const { width, height, right, xDomain, yDomain, hasLevels, isLogY, isWholeX, formatX, formatY, formatTick } = frame
  const xTicks = roundTicks(xDomain, Math.max(3, Math.floor(width / 110)), isWholeX)
  const yTicks = isLogY ? logTicks(yDomain) : roundTicks(yDomain, Math.max(2, Math.floor(height / 48)))
  return (
    <LineChart
      width={width}
      height={height}
      margin={{ top: PLOT.top, right, bottom: 0, left: 0 }}
      accessibilityLayer={false}
    >
      <CartesianGrid horizontal={hasLevels} stroke="var(--chart-grid)" vertical={false} syncWithTicks />
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
        interval={0}
      />
      <YAxis
        type="number"
        domain={yDomain}
        allowDataOverflow
        scale={isLogY ? 'log' : 'linear'}
        ticks={yTicks}
        tickFormatter={formatTick ?? formatY}
        tick={hasLevels && TICK}
        tickLine={false}
        axisLine={false}
        width={PLOT.left}
        interval={0}
      />
      <Levels frame={frame} />
      <Marks frame={frame} />
      <Lines frame={frame} />
    </LineChart>
  )
})

function Lines({ frame }: { frame: PlotFrame }) {
  const series = useContext(SeriesContext)
  const clip = useId()
  const toPixels = useMemo(() => placeIn(frame), [frame])
  const { width, height, right } = frame
  return (
    <g clipPath={`url(#${clip})`}>
      <clipPath id={clip}>
        <rect x={PLOT.left} y={0} width={width - PLOT.left - right} height={height - PLOT.bottom} />
      </clipPath>
      {series.map((one) => (
        <Line key={one.id} {...one} toPixels={toPixels} />
      ))}
    </g>
  )
}

const Line = memo(function Line({ points, color, dash, faint, toPixels }: ChartSeries & { toPixels: ToPixels }) {
  const places = useMemo(() => toPixels(points), [points, toPixels])
  const [only] = places
  return (
    <g className="recharts-layer recharts-line">
      <Curve
        className="recharts-line-curve"
        type="linear"
        points={places}
        fill="none"
        stroke={color}
        strokeWidth={faint ? 1 : 1.75}
        strokeOpacity={faint ? 0.3 : 1}
        {...(dash ? { strokeDasharray: dash } : {})}
      />
      {/* A lone point has no line; without its dot the first epoch would be invisible. */}
      {places.length === 1 && only && (
        <circle className="recharts-line-dot" cx={only.x} cy={only.y} r={3} fill={color} />
      )}
    </g>
  )
})
