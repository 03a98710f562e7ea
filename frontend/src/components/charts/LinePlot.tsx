import { createContext, memo, useContext, useId, useMemo } from 'react'
import { CartesianGrid, Curve, LineChart, ReferenceDot, ReferenceLine, XAxis, YAxis } from 'recharts'
import { logTicks, type Point, paddedDomain, roundTicks, spreadLabels } from '@/lib/series'
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

const LABEL = { fontSize: 11, fill: 'var(--muted)' }
/** px from one level's label to the next. */
const LABEL_HEIGHT = 14
/** px from one mark's sign to the next. */
const SIGN_WIDTH = 12

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

/** Everything of a plot but its lines: what stands still while points arrive. */
export type PlotFrame = Pick<
  ChartModel,
  'marks' | 'references' | 'xDomain' | 'isLogY' | 'isWholeX' | 'formatX' | 'formatY'
> & {
  width: number
  height: number
  yDomain: [number, number]
  /** Without any value the vertical axis has no figures: they would be made up. */
  hasLevels: boolean
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
  const { width, height, marks, references, xDomain, yDomain, hasLevels, isLogY, isWholeX, formatX, formatY } = frame
  const xTicks = roundTicks(xDomain, Math.max(3, Math.floor(width / 110)), isWholeX)
  const levels = references.filter((level) => level.y >= yDomain[0] && level.y <= yDomain[1])
  const toPixels = placeIn(frame)
  const places = toPixels(levels.map(({ y }) => ({ x: xDomain[1], y }))).map((place) => place.y)
  const down = spreadLabels(places, LABEL_HEIGHT, height - PLOT.bottom - LABEL_HEIGHT)
  // What ends a worker and what starts the next is often one place; the signs then stand side by side, in order.
  const broken = marks.filter((mark) => mark.kind === 'broken')
  const moments = marks.filter((mark) => mark.kind !== 'broken')
  const aside = spreadLabels(
    toPixels(moments.map(({ x }) => ({ x, y: yDomain[1] }))).map((place) => place.x),
    SIGN_WIDTH,
    width,
  )
  const yTicks = isLogY ? logTicks(yDomain) : roundTicks(yDomain, Math.max(2, Math.floor(height / 48)))
  return (
    <LineChart
      width={width}
      height={height}
      margin={{ top: PLOT.top, right: PLOT.right, bottom: 0, left: 0 }}
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
        tickFormatter={formatY}
        tick={hasLevels && TICK}
        tickLine={false}
        axisLine={false}
        width={PLOT.left}
        interval={0}
      />
      {levels.map((level, index) => (
        <ReferenceLine
          key={level.label}
          y={level.y}
          stroke="var(--chart-gray)"
          strokeDasharray="2 3"
          label={{ value: level.label, position: 'insideTopRight', offset: 2, dy: down[index] ?? 0, ...LABEL }}
        />
      ))}
      {broken.map((mark) => (
        <BrokenMark key={`${mark.kind}${mark.x}${mark.color}`} mark={mark} y={yDomain[0]} />
      ))}
      {moments.map((mark, index) => (
        <Moment key={`${mark.kind}${mark.x}${mark.color}`} mark={mark} aside={aside[index] ?? 0} />
      ))}
      <Lines frame={frame} />
    </LineChart>
  )
})

function Lines({ frame }: { frame: PlotFrame }) {
  const series = useContext(SeriesContext)
  const clip = useId()
  const toPixels = useMemo(() => placeIn(frame), [frame])
  const { width, height } = frame
  return (
    <g clipPath={`url(#${clip})`}>
      <clipPath id={clip}>
        <rect x={PLOT.left} y={0} width={width - PLOT.left - PLOT.right} height={height - PLOT.bottom} />
      </clipPath>
      {series.map((one) => (
        <Line key={one.id} {...one} toPixels={toPixels} />
      ))}
    </g>
  )
}

type ToPixels = (points: readonly Point[]) => Point[]

/** Where a point lies in the drawing: the same arithmetic as the axes beside it. Values that a log axis cannot show are left out. */
function placeIn({ width, height, xDomain, yDomain, isLogY }: PlotFrame): ToPixels {
  const scale = isLogY ? Math.log : (value: number) => value
  const [left, low] = [xDomain[0], scale(yDomain[0])]
  const perX = (width - PLOT.left - PLOT.right) / (xDomain[1] - left)
  const perY = (height - PLOT.top - PLOT.bottom) / (scale(yDomain[1]) - low)
  const round = (value: number) => Math.round(value * 10) / 10
  const bottom = height - PLOT.bottom
  return (points) =>
    (isLogY ? points.filter((point) => point.y > 0) : points).map(({ x, y }) => ({
      x: round(PLOT.left + (x - left) * perX),
      y: round(bottom - (scale(y) - low) * perY),
    }))
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

function BrokenMark({ mark, y }: { mark: ChartMark; y: number }) {
  const fill = mark.color ?? MARK_COLOR.broken
  const label = { value: `${MARK_SIGN.broken} ${mark.label}`, position: 'top' as const, fontSize: 10, fill }
  return <ReferenceDot x={mark.x} y={y} r={0} label={label} />
}

/** Something that happened to the run: a line at its place, and its sign above, moved `aside` where another stands there. */
function Moment({ mark, aside }: { mark: ChartMark; aside: number }) {
  const color = mark.color ?? MARK_COLOR[mark.kind]
  return (
    <ReferenceLine
      x={mark.x}
      stroke={color}
      strokeOpacity={0.65}
      strokeDasharray={mark.kind === 'best' ? '1 3' : '4 3'}
      label={(place: { viewBox?: { x?: number; y?: number } }) => (
        <text
          x={(place.viewBox?.x ?? 0) + aside}
          y={(place.viewBox?.y ?? PLOT.top) - 4}
          textAnchor="middle"
          fontSize={10}
          fill={color}
        >
          <title>{mark.label}</title>
          {MARK_SIGN[mark.kind]}
        </text>
      )}
    />
  )
}
