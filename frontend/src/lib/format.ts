/** Every number of the page goes through here: four significant digits, a unit, one form everywhere. */

const NONE = '–'

export function formatNumber(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined) return NONE
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '−∞'
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e6 || size < 1e-3)
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, 'e')
      .replace('e+', 'e')
  if (size >= 10_000) return inThousands(Math.round(value))
  // Whole numbers are not rounded to fewer digits than they have: 1852 stays 1852.
  return size >= 10 ** digits ? String(Math.round(value)) : String(Number(value.toPrecision(digits)))
}

export function formatCount(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE
  return value < 10_000 ? String(value) : inThousands(value)
}

export function formatMetres(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE
  return Math.abs(value) >= 10_000 ? `${formatNumber(value / 1000, 3)} km` : `${formatNumber(value, 3)} m`
}

/** Round numbers, of which neighbours must not look alike. */
const TICK_DIGITS = 6

/** At an axis, whose figures stand below one another: of one unit from a kilometre on. */
export function formatMetresTick(value: number): string {
  return Math.abs(value) >= 1000
    ? `${formatNumber(value / 1000, TICK_DIGITS)} km`
    : `${formatNumber(value, TICK_DIGITS)} m`
}

/** At a logarithmic axis: decades in one form. */
export function formatDecadeTick(value: number): string {
  return value < 0.01 ? Number(value.toPrecision(TICK_DIGITS)).toExponential() : formatNumber(value)
}

/** 257 -> "257 ns", 2100 -> "2.1 µs". */
export function formatNanoseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE
  const rounded = Number(value.toPrecision(3))
  if (rounded < 1e3) return `${formatNumber(rounded, 3)} ns`
  return rounded < 1e6 ? `${formatNumber(rounded / 1e3, 3)} µs` : `${formatNumber(rounded / 1e6, 3)} ms`
}

export function formatPercent(share: number | null | undefined, digits = 1): string {
  if (share === null || share === undefined) return NONE
  return `${(share * 100).toFixed(digits)} %`
}

/** How many true positions lie inside the ellipses that promise 68 %, and what that says of their size. */
export function describeCoverage(share: number): readonly [held: string, verdict: string] {
  const verdict = share > 0.73 ? 'drawn too large' : share < 0.63 ? 'drawn too small' : 'as promised'
  return [`hold ${formatPercent(share)} of the true positions`, verdict]
}

/** 62.4 -> "62 %", 3.27 -> "3.2 %": never 100 before it is done, never 0 once it has begun. */
export function formatProgress(percent: number): string {
  if (percent <= 0) return '0 %'
  if (percent < 0.1) return '<0.1 %'
  return percent < 10 ? `${(Math.floor(percent * 10) / 10).toFixed(1)} %` : `${Math.floor(percent)} %`
}

export function formatBytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let size = value
  let unit = 0
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000
    unit += 1
  }
  return `${unit === 0 ? size : size.toPrecision(3)} ${units[unit]}`
}

/** 3840 s -> "1 h 04 m". */
export function formatDuration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE
  const total = Math.max(0, seconds)
  if (total < 10) return `${Number(total.toPrecision(2))} s`
  if (total < 59.5) return `${Math.round(total)} s`
  const minutes = Math.round(total / 60)
  if (total < 3570) return total < 600 ? `${Math.floor(total / 60)} m ${pad(total % 60)} s` : `${minutes} m`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours} h ${pad(minutes % 60)} m`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** 3849 s -> "1 h 04 m 09 s": to the second, where rows of a table must be told apart. */
export function formatSeconds(seconds: number): string {
  const total = Math.max(0, seconds)
  if (total < 60) return `${(Math.floor(total * 10) / 10).toFixed(1)} s`
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60)]
  return `${hours > 0 ? `${hours} h ${pad(minutes)} m` : `${minutes} m`} ${pad(total % 60)} s`
}

/** For an estimate: no false precision. */
export function formatRoughly(seconds: number): string {
  if (seconds < 10) return 'a few seconds'
  if (seconds < 55) return `about ${Math.round(seconds / 10) * 10} s`
  if (seconds < 3570) return `about ${Math.max(1, Math.round(seconds / 60))} min`
  if (seconds < 36 * 3600) return `about ${Number((seconds / 3600).toFixed(1))} h`
  return `about ${Math.round(seconds / 86_400)} days`
}

export function formatAgo(then: string | number, now: number): string {
  const seconds = Math.max(0, (now - toMs(then)) / 1000)
  if (seconds < 5) return 'just now'
  if (seconds < 60) return `${Math.floor(seconds)} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`
  if (seconds < 86_400 * 60) return plural(Math.floor(seconds / 86_400), 'day', 'days ago')
  return new Date(then).toISOString().slice(0, 10)
}

// Made once: to make one takes a hundred times as long as to use it, and every card shows an instant.
const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const INSTANT = new Intl.DateTimeFormat('en-GB', {
  year: 'numeric',
  month: 'short',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short',
})

export function formatClock(then: string | number): string {
  return CLOCK.format(new Date(then))
}

/** The exact instant, for a tooltip, with its zone named. */
export function formatInstant(then: string | number): string {
  return INSTANT.format(new Date(then))
}

export function toMs(instant: string | number): number {
  return typeof instant === 'number' ? instant : Date.parse(instant)
}

export function plural(count: number, one: string, many = `${one}s`): string {
  if (many.endsWith(' ago')) return `${count} ${count === 1 ? `${one} ago` : many}`
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

/** By hand: `toLocaleString` takes a hundred times as long, and a live page writes many numbers. */
const inThousands = (value: number): string => String(value).replace(/\B(?=(\d{3})+$)/g, '\u202f')

/** In full, as it may be typed: a limit is no measurement. */
export const groupDigits = (value: number): string =>
  Number.isInteger(value) && Math.abs(value) >= 10_000 ? inThousands(value) : String(value)

const pad = (value: number): string => String(Math.floor(value)).padStart(2, '0')

/** A name that gives way in its middle where it stands in a sentence: runs are told apart by how their names begin, or how they end. */
export function shortName(name: string): string {
  return name.length > 48 ? `${name.slice(0, 30).trimEnd()}…${name.slice(-14).trimStart()}` : name
}
