import { ReferenceLine } from 'recharts'
import { spreadLabels } from '@/lib/series'
import { type ChartReference, PLOT } from './chart-types'
import { type PlotFrame, placeIn } from './place'

/** px from one level's label to the next. */
const LABEL_HEIGHT = 14
/** px of a character at most, on average, and of the stroke that leads from a level to its label. */
const CHARACTER_WIDTH = 6.5
const LEADER_WIDTH = 12
/** Share of the chart that whole names beside the lines may take at most: the other charts of a view keep that room too. */
const NAMED_SHARE = 1 / 8

type FormatY = PlotFrame['formatY']

const labelOf = (level: ChartReference, formatY: FormatY): string => `${level.name} ${formatY(level.y)}`

const roomFor = (texts: readonly string[]): number =>
  Math.ceil(LEADER_WIDTH + 8 + CHARACTER_WIDTH * Math.max(0, ...texts.map((text) => text.length)))

/** How levels are labelled, in view or not, so that nothing moves with the window: by name beside the lines; where that takes too much, by value, and by name in a list below. */
export function layLevels(
  levels: readonly ChartReference[],
  formatY: FormatY,
  width: number,
): Pick<PlotFrame, 'right' | 'isListed'> {
  if (levels.length === 0) return { right: PLOT.right, isListed: false }
  const whole = roomFor(levels.map((level) => labelOf(level, formatY)))
  const isListed = whole > width * NAMED_SHARE
  const right = isListed ? roomFor(levels.map((level) => formatY(level.y))) : whole
  return { right: Math.max(PLOT.right, right), isListed }
}

/** The levels inside the view, from the highest to the lowest, as the eye meets them. */
export const levelsInView = (levels: readonly ChartReference[], [low, high]: readonly [number, number]) =>
  levels.filter(({ y }) => y >= low && y <= high).sort((a, b) => b.y - a.y)

/** Lines across the plot. Their labels stand beside it, where no curve goes, apart from one another, each led to from its level. */
export function Levels({ frame }: { frame: PlotFrame }) {
  const { width, height, right, levels, isListed, formatY } = frame
  const places = placeIn(frame)(levels.map(({ y }) => ({ x: frame.xDomain[1], y }))).map((place) => place.y)
  const down = spreadLabels(places, LABEL_HEIGHT, height - PLOT.bottom)
  const edge = width - right
  return levels.map((level, index) => {
    const place = places[index] ?? 0
    const labelled = place + (down[index] ?? 0)
    return (
      <g key={level.name} data-testid="level">
        <ReferenceLine y={level.y} stroke="var(--chart-gray)" strokeDasharray="2 3" />
        <path
          d={`M${edge} ${place}L${edge + LEADER_WIDTH} ${labelled}`}
          fill="none"
          stroke="var(--chart-gray)"
          strokeWidth={1}
        />
        <text x={edge + LEADER_WIDTH + 3} y={labelled} dy="0.35em" fontSize={11} fill="var(--muted)">
          {isListed ? formatY(level.y) : labelOf(level, formatY)}
        </text>
      </g>
    )
  })
}

/** Names of the levels, where there is no room for them beside the lines. */
export function LevelList({ levels, formatY }: Pick<PlotFrame, 'levels' | 'formatY'>) {
  return (
    <ul className="flex flex-wrap gap-x-4 gap-y-0.5 px-4 pt-1 text-xs text-muted" data-testid="levels">
      {levels.map((level) => (
        <li key={level.name} className="inline-flex items-center gap-1.5">
          <svg width="18" height="8" aria-hidden className="shrink-0">
            <line x1="0" x2="18" y1="4" y2="4" stroke="var(--chart-gray)" strokeWidth="1.5" strokeDasharray="2 3" />
          </svg>
          <span>
            {level.name} <span className="whitespace-nowrap text-text">{formatY(level.y)}</span>
          </span>
        </li>
      ))}
    </ul>
  )
}
