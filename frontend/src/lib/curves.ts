import type { Point } from './series'

/** What a curve needs of a metric row; a value that was measured but is no number is null and named. */
export interface CurveRow {
  epoch: number
  timestamp: string
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

/** Position of a row on the x axis: its epoch, or seconds since the run's first row began. */
export function makeX(
  kind: XAxisKind,
  startedAt: string | null | undefined,
  rows: readonly CurveRow[],
): (row: CurveRow) => number {
  if (kind === 'epoch') return (row) => row.epoch
  const first = rows[0]
  const start = Date.parse(startedAt ?? first?.timestamp ?? '')
  return (row) => (Date.parse(row.timestamp) - start) / 1000
}

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
