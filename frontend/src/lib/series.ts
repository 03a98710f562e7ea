/** Pure arithmetic of curves: thinning, smoothing, lookup. Works on any row with an x. */

export interface Point {
  x: number
  y: number
  /** Where x is something else. */
  epoch?: number | undefined
}

/** Points of one line, at most: more than the plot has pixels to tell apart, and each costs time in every frame. */
export const MAX_CHART_POINTS = 800
/** Rows asked for a run. They are shared by all series, each of which has its own extremes in them. */
export const MAX_CHART_ROWS = 1600

/**
 * At most `limit` points; first, last, minimum and maximum of each bucket stay, so no spike is hidden.
 * Points are in order of x.
 */
export function thin(points: readonly Point[], limit = MAX_CHART_POINTS): readonly Point[] {
  if (points.length <= limit) return points
  const buckets = Math.max(1, Math.floor(limit / 4))
  const size = points.length / buckets
  const kept: Point[] = []
  for (let bucket = 0; bucket < buckets; bucket += 1) {
    const start = Math.floor(bucket * size)
    const end = Math.min(points.length, Math.floor((bucket + 1) * size))
    for (const index of pickOfBucket(points, start, end)) {
      const point = points[index]
      if (point) kept.push(point)
    }
  }
  return kept
}

function pickOfBucket(points: readonly Point[], start: number, end: number): number[] {
  let low = start
  let high = start
  for (let index = start; index < end; index += 1) {
    const y = points[index]?.y ?? 0
    if (y < (points[low]?.y ?? 0)) low = index
    if (y > (points[high]?.y ?? 0)) high = index
  }
  return [...new Set([start, low, high, end - 1])].sort((a, b) => a - b)
}

/** Exponential moving average, debiased, so that the start is not pulled to zero. `weight` 0 changes nothing. */
export function smooth(points: readonly Point[], weight: number): Point[] {
  let average = 0
  let norm = 0
  return points.map(({ x, y, epoch }) => {
    average = weight * average + (1 - weight) * y
    norm = weight * norm + (1 - weight)
    return { x, y: average / norm, epoch }
  })
}

/** Index of the element whose key is nearest to `target`; keys ascend. -1 for an empty list. */
export function nearestIndex<T>(items: readonly T[], target: number, key: (item: T) => number): number {
  if (items.length === 0) return -1
  let low = 0
  let high = items.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    const item = items[middle]
    if (item !== undefined && key(item) <= target) low = middle
    else high = middle
  }
  const a = items[low]
  const b = items[high]
  if (a === undefined || b === undefined) return low
  return Math.abs(key(a) - target) <= Math.abs(key(b) - target) ? low : high
}

/** A domain with air around the data; on a log axis the air is a factor. */
export function paddedDomain(values: readonly number[], isLog: boolean): [number, number] {
  let low = Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (const value of values) {
    if (isLog && value <= 0) continue
    if (value < low) low = value
    if (value > high) high = value
  }
  if (low > high) return isLog ? [0.1, 1] : [0, 1]
  if (isLog) return [low / 1.15, high * 1.15]
  if (low === 0 && high === 0) return [0, 1]
  const air = (high - low || Math.abs(high) || 1) * 0.06
  const floor = low >= 0 ? Math.max(0, low - air) : low - air
  return [floor, high + air]
}

/** About `count` round numbers inside the domain. */
export function roundTicks([low, high]: readonly [number, number], count: number, isWhole = false): number[] {
  const span = high - low
  if (!(span > 0)) return [low]
  const rough = span / Math.max(1, count)
  const power = 10 ** Math.floor(Math.log10(rough))
  const share = rough / power
  const factor = share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10
  const step = isWhole ? Math.max(1, Math.round(factor * power)) : factor * power
  const ticks: number[] = []
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) {
    ticks.push(Number(tick.toPrecision(12)))
  }
  return ticks
}

/** Round steps of a decade, from the widest apart to the closest. */
const DECADE_STEPS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]
const FEWEST_LOG_TICKS = 4

/** Round steps of each decade inside the domain, as wide apart as leaves four of them; in a domain too narrow for that, round numbers. */
export function logTicks([low, high]: readonly [number, number]): number[] {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))]
  const stride = Math.max(1, Math.ceil(Math.log10(high / low) / 8))
  for (const steps of DECADE_STEPS) {
    const ticks: number[] = []
    for (let power = first; power <= last; power += stride)
      ticks.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(6))))
    const inside = ticks.filter((tick) => tick >= low && tick <= high)
    if (inside.length >= FEWEST_LOG_TICKS) return inside
  }
  return roundTicks([low, high], FEWEST_LOG_TICKS)
}

/** How far down, in px, the label of each level goes, so that no two stand closer than `gap` and none beyond `bottom`. */
export function spreadLabels(places: readonly number[], gap: number, bottom: number): number[] {
  const order = places.map((_, index) => index).sort((a, b) => (places[a] ?? 0) - (places[b] ?? 0))
  const at = [...places]
  let above = Number.NEGATIVE_INFINITY
  for (const index of order) {
    above = Math.max(at[index] ?? 0, above + gap)
    at[index] = above
  }
  let below = bottom
  for (const index of order.reverse()) {
    below = Math.min(at[index] ?? 0, below)
    at[index] = below
    below -= gap
  }
  return at.map((place, index) => place - (places[index] ?? 0))
}
