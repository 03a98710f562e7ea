import type { Point } from './series'

/** What a curve needs of a metric row; a value that was measured but is no number is null and named. */
export interface CurveRow {
  epoch: number
  timestamp: string
  attempt?: number
  /** s, pauses not counted. */
  epoch_duration_seconds?: number | null
  non_finite?: Record<string, string>
}

export type XAxisKind = 'epoch' | 'time'

export interface Broken {
  x: number
  kind: string
  epoch?: number | undefined
}

export interface Curve {
  points: readonly Point[]
  /** Places where the value was measured and was no finite number. */
  broken: readonly Broken[]
}

/** A moment's place on the axis. */
type Moment = Pick<CurveRow, 'epoch' | 'timestamp'>

/**
 * Position on the x axis: the epoch, or seconds of training since the first of `rows` began. The rows are the whole run, those that it
 * inherited included; a moment in between at which nothing trained lies where the training broke off.
 */
export function makeX(
  kind: XAxisKind,
  startedAt: string | null | undefined,
  rows: readonly CurveRow[],
): (moment: Moment) => number {
  if (kind === 'epoch') return (moment) => moment.epoch
  const stretches = stretchesOf(rows, Date.parse(startedAt ?? ''))
  return ({ timestamp }) => {
    const at = Date.parse(timestamp)
    const next = firstAt(stretches, at, ({ start }) => start)
    const stretch = stretches[next]?.start === at ? stretches[next] : (stretches[next - 1] ?? stretches[0])
    if (!stretch) return 0
    return (stretch.before + Math.max(0, Math.min(at, stretch.end) - stretch.start)) / 1000
  }
}

/** A time without a break in the training, in ms; `before` is the training before it. */
interface Stretch {
  start: number
  end: number
  before: number
}

const knownStretches = new WeakMap<readonly CurveRow[], { startedAt: number; stretches: Stretch[] }>()

/** Read once from the same rows, though each chart asks. */
function stretchesOf(rows: readonly CurveRow[], startedAt: number): Stretch[] {
  const known = knownStretches.get(rows)
  if (known && Object.is(known.startedAt, startedAt)) return known.stretches
  const stretches = findStretches(rows, startedAt)
  knownStretches.set(rows, { startedAt, stretches })
  return stretches
}

function findStretches(rows: readonly CurveRow[], startedAt: number): Stretch[] {
  const stretches: Stretch[] = []
  let last: (Stretch & { row: CurveRow }) | null = null
  for (const row of rows) {
    const at = Date.parse(row.timestamp)
    if (last && !isBreak(last.row, row, startedAt)) {
      last.end = Math.max(last.end, at)
      last.row = row
      continue
    }
    const trained = (row.epoch_duration_seconds ?? 0) * 1000 * (last ? row.epoch - last.row.epoch : 1)
    // It cannot have trained for longer than there was time.
    const start: number = last ? Math.max(last.end, at - trained) : at - trained
    last = { start, end: Math.max(start, at), before: last ? last.before + last.end - last.start : 0, row }
    stretches.push(last)
  }
  // What comes after the newest row is shown once it has one.
  if (last) last.end = Number.POSITIVE_INFINITY
  return stretches
}

/** Inherited rows do not tell the attempts apart: there, and where a process stood still, the time itself does. */
function isBreak(before: CurveRow, row: CurveRow, startedAt: number): boolean {
  const [from, to] = [Date.parse(before.timestamp), Date.parse(row.timestamp)]
  if (before.attempt !== row.attempt || (from < startedAt && startedAt <= to)) return true
  const [one, other] = [before.epoch_duration_seconds, row.epoch_duration_seconds]
  if (typeof one !== 'number' || typeof other !== 'number') return false
  return to - from > BREAK_FROM_MS + BREAK_TIMES * 1000 * Math.max(one, other) * (row.epoch - before.epoch)
}

const BREAK_FROM_MS = 10_000
const BREAK_TIMES = 4

export function curveOf<R extends CurveRow>(
  rows: readonly R[],
  field: keyof R & string,
  x: (row: CurveRow) => number,
  scale = 1,
): Curve {
  const points: Point[] = []
  const broken: Broken[] = []
  for (const row of rows) {
    const value = row[field] as number | null | undefined
    const kind = row.non_finite?.[field]
    if (typeof value === 'number') points.push({ x: x(row), y: value * scale, epoch: row.epoch })
    else if (kind) broken.push({ x: x(row), kind, epoch: row.epoch })
  }
  return { points, broken }
}

const known = new WeakMap<readonly CurveRow[], Map<string, Curve>>()

/** The same curve for the same rows: while only the window moves, nothing is read from the rows again. `key` names all else. */
export function keptCurve(rows: readonly CurveRow[], key: string, make: () => Curve): Curve {
  const curves = known.get(rows) ?? new Map<string, Curve>()
  const curve = curves.get(key) ?? make()
  known.set(rows, curves.set(key, curve))
  return curve
}

/** Index of the first item at `from` or beyond; the items are in order of x. */
function firstAt<T>(items: readonly T[], from: number, xOf: (item: T) => number): number {
  let [low, high] = [0, items.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const item = items[middle]
    if (item !== undefined && xOf(item) < from) low = middle + 1
    else high = middle
  }
  return low
}

/** The rows whose place lies in the window. */
export function rowsInWindow<R extends CurveRow>(
  rows: readonly R[],
  [low, high]: readonly [number, number],
  x: (row: CurveRow) => number,
): readonly R[] {
  const start = firstAt(rows, low, x)
  let end = firstAt(rows, high, x)
  while (end < rows.length && x(rows[end] as R) <= high) end += 1
  return rows.slice(start, end)
}

/** The points a window shows, with one neighbour on each side so that the line reaches the edge; none of a line that is all outside. */
export function clipToWindow(points: readonly Point[], window: readonly [number, number] | null): readonly Point[] {
  if (!window) return points
  const [first, last] = [points[0], points.at(-1)]
  if (!first || !last || last.x < window[0] || first.x > window[1]) return []
  const start = firstAt(points, window[0], (point) => point.x)
  let end = firstAt(points, window[1], (point) => point.x)
  while (end < points.length && (points[end]?.x ?? 0) <= window[1]) end += 1
  return points.slice(Math.max(0, start - 1), end + 1)
}

/**
 * The heights a line has between two places: its points there, and where it crosses the edges. A neighbour outside of the window
 * draws the line to the edge, and may itself lie far above or below everything that is seen.
 */
export function seenValues(points: readonly Point[], [low, high]: readonly [number, number], isLog: boolean): number[] {
  const values: number[] = []
  const [to, from] = isLog ? [Math.log, Math.exp] : [Number, Number]
  const cross = (before: Point, point: Point, edge: number) => {
    const share = (edge - before.x) / (point.x - before.x)
    values.push(from(to(before.y) + share * (to(point.y) - to(before.y))))
  }
  let before: Point | null = null
  for (const point of points) {
    if (isLog && point.y <= 0) continue
    if (before && before.x < low && low < point.x) cross(before, point, low)
    if (before && before.x < high && high < point.x) cross(before, point, high)
    if (point.x >= low && point.x <= high) values.push(point.y)
    before = point
  }
  return values
}

/** Epochs inside a window of the x axis, for asking the engine again. */
export function epochsOfWindow(
  rows: readonly CurveRow[],
  window: readonly [number, number],
  x: (row: CurveRow) => number,
): [number, number] | null {
  const start = firstAt(rows, window[0], x)
  const inside = rowsInWindow(rows, window, x)
  const low = (rows[start - 1] ?? inside[0])?.epoch
  const high = (rows[start + inside.length] ?? inside.at(-1))?.epoch
  return low === undefined || high === undefined ? null : [low, high]
}

/** Rows from which a run's overview is thinned at all; a shorter one with gaps lost them. */
const THINNED_FROM = 100

/** Whether `rows`, or the part of them that is asked about, are a choice of the run's epochs. */
export function isThinnedRun(rows: readonly CurveRow[], part = rows): boolean {
  return rows.length >= THINNED_FROM && countGaps(part) > 0
}

/** Epochs between the first and the last row that are not there. A thinned series says nothing about gaps. */
export function countGaps(rows: readonly CurveRow[]): number {
  const first = rows[0]
  const last = rows.at(-1)
  return first && last ? last.epoch - first.epoch + 1 - rows.length : 0
}
