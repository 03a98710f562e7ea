import type { MouseEvent } from 'react'
import { cn } from '@/lib/cn'
import { nearestIndex, type Point } from '@/lib/series'
import { type ChartModel, type ChartSeries, nameOf } from './chart-types'
import { useHoverX } from './hover'

/** Thinned series keep different points: within this share of the view a neighbour stands for the place asked for. */
const NEAR = 0.01

/** The point of a series at x; null where it has none near there. */
export function pointAt(series: ChartSeries, x: number, [low, high]: readonly [number, number]): Point | null {
  const point = series.points[nearestIndex(series.points, x, (candidate) => candidate.x)]
  return point && Math.abs(point.x - x) <= (high - low) * NEAR ? point : null
}

function valueAt(series: ChartSeries, x: number | null, domain: readonly [number, number]): number | null {
  return x === null ? (series.points.at(-1)?.y ?? null) : (pointAt(series, x, domain)?.y ?? null)
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
  /** `isSolo`: show this one alone. */
  onToggle: (id: string, isSolo: boolean) => void
}

/** One fixed row of names and values: at the cursor, else at the end. Click hides, Alt-click leaves one alone. */
export function LegendRow({ model, hidden, onToggle }: LegendRowProps) {
  const x = useHoverX()
  return (
    <div className="flex min-h-7 flex-wrap items-center gap-x-4 gap-y-0.5 px-4 text-sm">
      {model.series
        .filter((one) => !one.faint)
        .map((one) => {
          const isHidden = hidden.has(one.id)
          return (
            <button
              key={one.id}
              type="button"
              aria-pressed={!isHidden}
              title="Click hides or shows, Alt-click shows only this"
              className={cn(
                'inline-flex min-w-0 items-center gap-1.5 rounded max-sm:min-h-11',
                isHidden && 'opacity-60',
              )}
              onClick={(event: MouseEvent) => onToggle(one.id, event.altKey)}
            >
              <svg width="18" height="8" aria-hidden className="shrink-0">
                <line x1="0" x2="18" y1="4" y2="4" stroke={one.color} strokeWidth="2.5" strokeDasharray={one.dash} />
              </svg>
              <span className={cn('max-w-56 truncate text-muted', isHidden && 'line-through')}>{one.name}</span>{' '}
              {one.qualifier && <span className={cn('text-muted', isHidden && 'line-through')}>{one.qualifier}</span>}{' '}
              <span className="min-w-14 text-left font-semibold">{isHidden ? '' : textAt(one, x, model)}</span>
            </button>
          )
        })}
      <span className="ml-auto text-muted">{x === null ? '' : `${model.xLabel} ${model.formatX(x)}`}</span>
    </div>
  )
}
