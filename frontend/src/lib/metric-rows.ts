/** Rows of one job, in order of epoch: merging what REST, socket and replay bring. */

export interface MetricRow {
  epoch: number
  attempt: number
  non_finite?: Record<string, string>
}

/** Union by epoch; of two rows of one epoch the later attempt wins, of one attempt each adds what the other lacks. */
export function mergeRows<T extends MetricRow>(known: readonly T[], incoming: readonly T[]): T[] {
  const last = known.at(-1)
  const first = incoming[0]
  if (!first) return known as T[]
  if (!last || first.epoch > last.epoch) return [...known, ...incoming]
  const byEpoch = new Map(known.map((row) => [row.epoch, row]))
  for (const row of incoming) {
    const old = byEpoch.get(row.epoch)
    if (!old || row.attempt > old.attempt) byEpoch.set(row.epoch, row)
    else if (row.attempt === old.attempt)
      byEpoch.set(row.epoch, { ...old, ...row, non_finite: { ...old.non_finite, ...row.non_finite } })
  }
  return [...byEpoch.values()].sort((a, b) => a.epoch - b.epoch)
}

/**
 * From more than `above` rows at most about `limit`: the first, the last, and of each stretch of epochs the lowest and the highest
 * of every field. Rows with a value that is no number stay. Stretches are equally long in epochs, not in rows: what was thinned
 * before loses nothing more, however often newer rows are added and thinned.
 */
export function thinRows<T extends MetricRow>(
  rows: readonly T[],
  fields: readonly (keyof T & string)[],
  limit: number,
  above = limit,
): T[] {
  if (rows.length <= above) return rows as T[]
  const kept = new Set([0, rows.length - 1])
  const buckets = Math.max(1, Math.floor(limit / (2 * fields.length)))
  const [first, last] = [rows[0]?.epoch ?? 0, rows.at(-1)?.epoch ?? 0]
  const size = (last - first + 1) / buckets
  let start = 0
  for (let bucket = 1; bucket <= buckets; bucket += 1) {
    const border = first + bucket * size
    let end = start
    while (end < rows.length && (rows[end]?.epoch ?? 0) < border) end += 1
    for (const field of fields) for (const index of extremesOf(rows, field, start, end)) kept.add(index)
    start = end
  }
  return rows.filter((row, index) => kept.has(index) || Object.keys(row.non_finite ?? {}).length > 0)
}

function extremesOf<T>(rows: readonly T[], field: keyof T, start: number, end: number): number[] {
  let [low, high] = [-1, -1]
  for (let index = start; index < end; index += 1) {
    const value = rows[index]?.[field]
    if (typeof value !== 'number') continue
    if (low < 0 || value < Number(rows[low]?.[field])) low = index
    if (high < 0 || value > Number(rows[high]?.[field])) high = index
  }
  return low < 0 ? [] : [low, high]
}

/** The epoch behind which rows are missing: `end`, where known rows go on behind it but not with the next epoch; else null. */
export function findHole(rows: readonly MetricRow[], end: number): number | null {
  const next = rows[rows.findLastIndex(({ epoch }) => epoch <= end) + 1]
  return next && next.epoch > end + 1 ? end : null
}

/** Epochs where a new attempt starts (the first attempt has no mark). */
export function attemptStarts(rows: readonly MetricRow[]): { epoch: number; attempt: number }[] {
  const starts: { epoch: number; attempt: number }[] = []
  for (let index = 1; index < rows.length; index += 1) {
    const row = rows[index]
    const before = rows[index - 1]
    if (row && before && row.attempt > before.attempt) starts.push({ epoch: row.epoch, attempt: row.attempt })
  }
  return starts
}
