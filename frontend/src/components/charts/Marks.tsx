import { ReferenceDot, ReferenceLine } from 'recharts'
import { spreadLabels } from '@/lib/series'
import { type ChartMark, PLOT } from './chart-types'
import { MARK_COLOR, MARK_SIGN } from './mark-look'
import { type PlotFrame, placeIn } from './place'

/** px from one mark's sign to the next. */
const SIGN_WIDTH = 12

/** What happened along the way. Signs of one place stand side by side, in order, and none beyond the edge. */
export function Marks({ frame }: { frame: PlotFrame }) {
  const { width, marks, yDomain } = frame
  const broken = marks.filter((mark) => mark.kind === 'broken')
  const moments = marks.filter((mark) => mark.kind !== 'broken')
  const places = placeIn(frame)(moments.map(({ x }) => ({ x, y: yDomain[1] }))).map((place) => place.x)
  const aside = spreadLabels(places, SIGN_WIDTH, width - SIGN_WIDTH / 2 - 1)
  return (
    <>
      {broken.map((mark) => (
        <BrokenMark key={`${mark.kind}${mark.x}${mark.color}`} mark={mark} y={yDomain[0]} />
      ))}
      {moments.map((mark, index) => (
        <Moment key={`${mark.source} ${mark.kind} ${mark.label}`} mark={mark} aside={aside[index] ?? 0} />
      ))}
    </>
  )
}

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
          data-mark={mark.kind}
        >
          <title>{mark.run ? `${mark.run}: ${mark.label}` : mark.label}</title>
          {MARK_SIGN[mark.kind]}
        </text>
      )}
    />
  )
}
