import type { MouseEvent } from 'react'
import { LongName } from '@/components/ui/long-name'
import { cn } from '@/lib/cn'
import { nearestIndex, type Point } from '@/lib/series'
import { type ChartModel, type ChartSeries, nameOf } from './chart-types'
import { useHoverX } from './hover'

/** Thinned series keep different points: within this share of the view a neighbour stands for the place asked for. */
const NEAR = 0.01

/** Of so many runs a phone's legend still leaves room for the curves. */
const MANY_RUNS = 2

/** The point of a series at x; null where it has none near there. */
export function pointAt(series: ChartSeries, x: number, [low, high]: readonly [number, number]): Point | null {
  const point = series.points[nearestIndex(series.points, x, (candidate) => candidate.x)]
  return point && Math.abs(point.x - x) <= (high - low) * NEAR ? point : null
}

/** At x, or where x is null the last one that is seen. */
function valueAt(series: ChartSeries, x: number | null, domain: readonly [number, number]): number | null {
  if (x !== null) return pointAt(series, x, domain)?.y ?? null
  return series.points.findLast((point) => point.x >= domain[0] && point.x <= domain[1])?.y ?? null
}

/** What a series says at x, or at its end: a value, or by name one that is no finite number; null for neither. */
function textAt(series: ChartSeries, x: number | null, { xDomain, formatY }: ChartModel): string | null {
  const value = valueAt(series, x, xDomain)
  if (value !== null) return formatY(value)
  return brokenAt(series, x, xDomain)?.kind ?? null
}

function brokenAt({ broken = [] }: ChartSeries, x: number | null, [low, high]: readonly [number, number]) {
  if (x === null) return broken.at(-1)
  const mark = broken[nearestIndex(broken, x, (candidate) => candidate.x)]
  return mark && Math.abs(mark.x - x) <= (high - low) * NEAR ? mark : undefined
}

export function describePoint(model: ChartModel, x: number): string {
  const values = model.series
    .filter((one) => !one.faint)
    .map((one) => `${nameOf(one)} ${textAt(one, x, model) ?? 'none'}`)
  return `${model.xLabel} ${model.formatX(x)}: ${values.join(', ')}`
}

interface LegendRowProps {
  model: ChartModel
  hidden: ReadonlySet<string>
  onHide?: (hidden: ReadonlySet<string>) => void
}

/**
 * Names and values in fixed places: at the cursor, else at the end. Of compared runs each has its name once, which gives way in
 * its middle, and its lines after it, which never do. Click hides, double or Alt-click leaves one alone.
 */
export function LegendRow({ model, hidden, onHide }: LegendRowProps) {
  const x = useHoverX()
  const lines = model.series.filter((one) => !one.faint)
  const toggle = (id: string, isSolo: boolean) => {
    const own = lines.map((one) => one.id)
    onHide?.(isSolo ? leaveAlone(hidden, id, own) : hidden.has(id) ? without(hidden, [id]) : new Set([...hidden, id]))
  }
  const groups = byRun(lines)
  return (
    <div
      className={cn(
        'flex min-h-7 flex-wrap items-center gap-x-4 gap-y-0.5 px-4 text-sm max-sm:gap-x-2',
        // On a phone the names of many runs would push the curves out of sight; a row that is cut shows that there are more.
        groups.length > MANY_RUNS && 'max-sm:max-h-52 max-sm:overflow-y-auto print:max-h-none print:overflow-visible',
      )}
    >
      {groups.map(({ run, lines: own }) => {
        const entries = own.map((one) => (
          <LegendEntry
            key={one.id}
            series={one}
            isHidden={hidden.has(one.id)}
            text={textAt(one, x, model)}
            isAlone={run !== undefined && own.length === 1}
            onToggle={toggle}
          />
        ))
        if (run === undefined) return entries
        return (
          <div
            key={own[0]?.id}
            className={cn(
              'flex min-w-0 max-w-full items-center gap-x-3 max-sm:w-full max-sm:gap-x-2',
              own.length > 1 && 'flex-wrap',
            )}
          >
            <LongName
              aria-hidden
              className={cn('max-w-64 text-muted', own.length > 1 ? 'max-sm:max-w-full max-sm:basis-full' : 'grow')}
              name={run}
            />
            {entries}
          </div>
        )
      })}
    </div>
  )
}

const without = (hidden: ReadonlySet<string>, ids: readonly string[]): Set<string> =>
  new Set([...hidden].filter((id) => !ids.includes(id)))

/** All of a chart's lines hidden but one; where it is alone already, all shown again. What other charts hide stays. */
function leaveAlone(hidden: ReadonlySet<string>, id: string, own: readonly string[]): Set<string> {
  const others = own.filter((other) => other !== id)
  const isAlone = !hidden.has(id) && others.every((other) => hidden.has(other))
  return new Set([...without(hidden, own), ...(isAlone ? [] : others)])
}

/** Lines of one run stand together in the model already. */
function byRun(lines: readonly ChartSeries[]): { run: string | undefined; lines: ChartSeries[] }[] {
  const groups: { run: string | undefined; source: string; lines: ChartSeries[] }[] = []
  for (const one of lines) {
    const source = one.source ?? ''
    const last = groups.at(-1)
    if (last && last.source === source) last.lines.push(one)
    else groups.push({ run: one.run, source, lines: [one] })
  }
  return groups
}

interface LegendEntryProps {
  series: ChartSeries
  isHidden: boolean
  text: string | null
  /** The only line of its run: on a phone the chart's title names it, and the run's name gets the room. */
  isAlone: boolean
  onToggle: (id: string, isSolo: boolean) => void
}

function LegendEntry({ series: one, isHidden, text, isAlone, onToggle }: LegendEntryProps) {
  const struck = cn('text-muted', isHidden && 'line-through')
  return (
    <button
      type="button"
      aria-pressed={!isHidden}
      title={`${nameOf(one)}. Click hides or shows, double click shows only this.`}
      className={cn(
        'inline-flex items-center min-h-6 gap-1.5 rounded whitespace-nowrap max-sm:min-h-11 max-sm:gap-1',
        isHidden && 'opacity-60',
      )}
      onClick={(event: MouseEvent) => onToggle(one.id, event.altKey)}
      onDoubleClick={() => onToggle(one.id, true)}
    >
      <svg width="18" height="8" aria-hidden className="shrink-0">
        <line x1="0" x2="18" y1="4" y2="4" stroke={one.color} strokeWidth="2.5" strokeDasharray={one.dash} />
      </svg>
      {one.run !== undefined && <span className="sr-only">{one.run}</span>}{' '}
      <span className={cn(struck, isAlone && 'max-sm:sr-only')}>{one.name}</span>{' '}
      {one.qualifier && <span className={struck}>{one.qualifier}</span>}{' '}
      {/* Room for the longest value, or a shorter one would let the row break elsewhere and move the plot. */}
      <span className="min-w-17 text-left font-semibold whitespace-nowrap">{isHidden ? '' : text}</span>
    </button>
  )
}
