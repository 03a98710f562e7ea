/** Rows of one job, in order of epoch: merging what REST, socket and replay bring. */

export interface MetricRow {
  epoch: number
  attempt: number
}

/** Union by epoch; of two rows of one epoch the later attempt wins, of one attempt the incoming. */
export function mergeRows<T extends MetricRow>(known: readonly T[], incoming: readonly T[]): T[] {
  const last = known.at(-1)
  const first = incoming[0]
  if (!first) return known as T[]
  if (!last || first.epoch > last.epoch) return [...known, ...incoming]
  const byEpoch = new Map(known.map((row) => [row.epoch, row]))
  for (const row of incoming) {
    const old = byEpoch.get(row.epoch)
    if (!old || row.attempt >= old.attempt) byEpoch.set(row.epoch, row)
  }
  return [...byEpoch.values()].sort((a, b) => a.epoch - b.epoch)
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
