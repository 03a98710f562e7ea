import { nearestIndex } from '@/lib/series'
import type { ChartSeries } from './chart-types'

interface Stops {
  first: number | null
  last: number | null
  nearest: (x: number) => number | null
  /** So many places further along, or back; the first or the last where there are fewer. */
  after: (x: number | null, steps: number) => number | null
}

type Place = { x: number }
const xOf = (place: Place): number => place.x

/**
 * Where the cursor comes to rest: at the places of every line that is shown, for compared runs have not the same epochs.
 * Where no value is finite, it goes along the marks.
 */
export function stopsOf(series: readonly ChartSeries[], [low, high]: readonly [number, number]): Stops {
  const lines = series.filter((one) => !one.faint)
  const hasPoints = lines.some((one) => one.points.length > 0)
  const rows: (readonly Place[])[] = lines.map((one) => (hasPoints ? one.points : (one.broken ?? [])))
  const pick = (of: (row: readonly Place[]) => number | undefined, isBetter: (a: number, b: number) => boolean) => {
    let best: number | null = null
    for (const row of rows) {
      const x = of(row)
      if (x !== undefined && x >= low && x <= high && (best === null || isBetter(x, best))) best = x
    }
    return best
  }
  const first = pick(
    (row) => row[firstFrom(row, low)]?.x,
    (a, b) => a < b,
  )
  const last = pick(
    (row) => row[firstFrom(row, high, true) - 1]?.x,
    (a, b) => a > b,
  )
  const next = (x: number) =>
    pick(
      (row) => row[firstFrom(row, x, true)]?.x,
      (a, b) => a < b,
    )
  const before = (x: number) =>
    pick(
      (row) => row[firstFrom(row, x) - 1]?.x,
      (a, b) => a > b,
    )
  return {
    first,
    last,
    nearest: (x) => {
      if (first === null || last === null) return null
      const inside = Math.min(last, Math.max(first, x))
      return pick(
        (row) => row[nearestIndex(row, inside, xOf)]?.x,
        (a, b) => Math.abs(a - inside) < Math.abs(b - inside),
      )
    },
    after: (x, steps) => {
      let at = x
      for (let step = 0; step < Math.abs(steps) && at !== null; step += 1) {
        const found = steps > 0 ? next(at) : before(at)
        if (found === null) break
        at = found
      }
      return at
    },
  }
}

/** Index of the first place at x or beyond; with `isAfter` of the first beyond. */
function firstFrom(row: readonly Place[], x: number, isAfter = false): number {
  let [low, high] = [0, row.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const place = row[middle]?.x ?? 0
    if (place < x || (isAfter && place === x)) low = middle + 1
    else high = middle
  }
  return low
}
