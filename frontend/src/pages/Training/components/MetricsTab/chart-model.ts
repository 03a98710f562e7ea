import {
  type ChartMark,
  type ChartModel,
  type ChartReference,
  type ChartSeries,
  rawIdOf,
} from '@/components/charts/chart-types'
import {
  type Curve,
  clipToWindow,
  curveOf,
  isThinnedRun,
  keptCurve,
  makeX,
  rowsInWindow,
  type XAxisKind,
} from '@/lib/curves'
import { formatCount, formatDuration, formatNumber, formatSeconds, plural } from '@/lib/format'
import { MAX_CHART_POINTS, type Point, smooth, thin } from '@/lib/series'
import { seriesId } from '../../hooks/useViewState'
import type { TrainingJob, TrainingMetric } from '../../types'

/** One run on the charts. */
export interface RunView {
  job: TrainingJob
  rows: TrainingMetric[]
  /** Where `rows` are only a window: the run's, which the time axis counts from. */
  whole?: TrainingMetric[]
  color: string
  /** Why rows may be missing, '' while they are on their way; null where all are there. */
  partial?: string | null
}

/** What all charts of the tab share. */
export interface ChartView {
  runs: RunView[]
  xKind: XAxisKind
  xDomain: [number, number]
  /** The window as asked for; null shows the whole run. */
  zoom: [number, number] | null
  smoothing: number
  isLogY: boolean
  marks: ChartMark[]
  /** Ids of series that are not drawn. */
  hidden: ReadonlySet<string>
  /** A run of them still trains, and its newest points are in the view. */
  isLive: boolean
}

export type MetricField = Exclude<keyof TrainingMetric, 'job_id' | 'epoch' | 'timestamp' | 'attempt' | 'non_finite'>

export interface FieldLook {
  field: MetricField
  name: string
  color: string
  dash?: string
}

/** Marks of values that are no number, at most; the note under the chart counts all of them. */
const MAX_BROKEN_MARKS = 40

export const RUN_COLORS = [
  'var(--chart-blue)',
  'var(--chart-orange)',
  'var(--chart-teal)',
  'var(--chart-purple)',
  'var(--chart-pink)',
  'var(--chart-green)',
]
export const VALIDATION_DASH = '6 3'

interface BuildOptions {
  title: string
  fields: readonly FieldLook[]
  scale?: number
  isLogY?: boolean
  references?: ChartReference[]
  formatY?: (y: number) => string
  formatTick?: (y: number) => string
  /** Set by a schedule and not measured: an average would show what never was. */
  isExact?: boolean
  /** By job: what must stand beside the run's name, where the runs were not measured alike. */
  qualifiers?: Readonly<Record<string, string>>
}

export interface BuiltChart {
  model: ChartModel
  note: string | undefined
  /** Some run has a value, finite or not, be it outside the window. */
  isMeasured: boolean
}

export function buildChart(view: ChartView, options: BuildOptions): BuiltChart {
  const {
    title,
    fields,
    scale = 1,
    isLogY = view.isLogY,
    references = [],
    formatY = formatPlain,
    formatTick,
    isExact = false,
    qualifiers = {},
  } = options
  const series: ChartSeries[] = []
  const marksOfBroken = new Map<string, ChartMark>()
  let numBroken = 0
  let numHidden = 0
  let isMeasured = false
  let isThinned = false
  for (const run of view.runs) {
    const x = makeX(view.xKind, run.job.started_at, run.whole ?? run.rows)
    const { zoom } = view
    isThinned ||= isThinnedRun(run.rows, zoom ? rowsInWindow(run.rows, zoom, x) : run.rows)
    for (const look of fields) {
      const key = [look.field, view.xKind, run.job.started_at, scale].join()
      const curve = keptCurve(run.rows, key, () => curveOf(run.rows, look.field, x, scale))
      const seen = clipToWindow(curve.points, view.zoom)
      // The average goes on from before the window, else zooming would change the line.
      const smoothed =
        view.smoothing > 0 && !isExact ? clipToWindow(smooth(curve.points, view.smoothing), view.zoom) : null
      if (isLogY) numHidden += seen.filter((point) => point.y <= 0).length
      const broken = curve.broken.filter(({ x: at }) => at >= view.xDomain[0] && at <= view.xDomain[1])
      const lines = linesOf(run, look, { seen, smoothed, broken }, view, qualifiers[run.job.id])
      series.push(...lines)
      isThinned ||= lines.some((line) => line.points.length < seen.length)
      isMeasured ||= curve.points.length + curve.broken.length > 0
      numBroken += broken.length
      // One mark for what several lines have at one place.
      for (const { x: at, kind } of broken) marksOfBroken.set(`${at} ${kind}`, { x: at, kind: 'broken', label: kind })
    }
  }
  const notes = [
    numBroken > 0 && `${plural(numBroken, 'value')} not finite, marked ✕`,
    numHidden > 0 && `${plural(numHidden, 'value')} of 0 or less cannot be shown on a log axis`,
  ].filter(Boolean)
  const marks = view.marks.filter((mark) => mark.x >= view.xDomain[0] && mark.x <= view.xDomain[1])
  const model: ChartModel = {
    title,
    series,
    marks: [...marks, ...[...marksOfBroken.values()].slice(0, MAX_BROKEN_MARKS)],
    references,
    xDomain: view.xDomain,
    isLogY,
    isWholeX: view.xKind === 'epoch',
    isLive: view.isLive,
    xLabel: view.xKind === 'epoch' ? 'epoch' : 'trained for',
    formatX: view.xKind === 'epoch' ? formatEpoch : formatDuration,
    formatRowX: view.xKind === 'epoch' ? formatEpoch : formatSeconds,
    isThinned,
    formatY,
    ...(formatTick ? { formatTick } : {}),
  }
  return { model, note: notes.length > 0 ? `${notes.join('; ')}.` : undefined, isMeasured }
}

const formatPlain = (y: number): string => formatNumber(y)
const formatEpoch = (x: number): string => formatCount(Math.round(x))

interface SeenCurve extends Pick<Curve, 'broken'> {
  seen: readonly Point[]
  /** null where nothing is smoothed. */
  smoothed: readonly Point[] | null
}

function linesOf(
  run: RunView,
  look: FieldLook,
  { seen, smoothed, broken }: SeenCurve,
  view: ChartView,
  qualifier: string | undefined,
): ChartSeries[] {
  const isSingle = view.runs.length === 1
  const base = {
    id: seriesId(run.job.id, look.field),
    source: run.job.id,
    name: look.name,
    ...(isSingle ? {} : { run: run.job.name }),
    color: isSingle ? look.color : run.color,
    ...(look.dash ? { dash: look.dash } : {}),
    ...(qualifier ? { qualifier } : {}),
  }
  if (smoothed === null) return [{ ...base, broken, points: thin(seen) }]
  // Both lines together stay within the budget of one chart.
  return [
    { ...base, id: rawIdOf(base.id), faint: true, points: thin(seen, MAX_CHART_POINTS / 2) },
    { ...base, broken, points: thin(smoothed, MAX_CHART_POINTS / 2) },
  ]
}

/** The x extent of all runs; one lone epoch still gets some width. */
export function fullDomain(runs: readonly RunView[], xKind: XAxisKind): [number, number] {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (const run of runs) {
    const x = makeX(xKind, run.job.started_at, run.rows)
    const first = run.rows[0]
    const last = run.rows.at(-1)
    if (first && last) {
      low = Math.min(low, x(first))
      high = Math.max(high, x(last))
    }
  }
  if (low > high) return [0, 1]
  return high > low ? [low, high] : [low - 1, high + 1]
}

/**
 * The part of a window that lies on the runs, at least `least` wide; null for one that shows all of them. Rounded to what the eye
 * can tell, for the address.
 */
export function fitWindow(
  [low, high]: readonly [number, number],
  [first, last]: readonly [number, number],
  least: number,
): [number, number] | null {
  if ((low <= first && high >= last) || high <= first || low >= last || last - first <= least) return null
  const half = Math.max(least, Math.min(high, last) - Math.max(low, first)) / 2
  const middle = Math.min(last - half, Math.max(first + half, (Math.max(low, first) + Math.min(high, last)) / 2))
  const step = 10 ** Math.floor(Math.log10(half / 500))
  const round = (x: number) => Number((Math.round(x / step) * step).toPrecision(12))
  return [round(middle - half), round(middle + half)]
}
