/** What a simulated network can reach, as the create dialog shows it. */
import type { DatasetPreview } from '@/api/types'
import { formSchema } from './field-schema'
import { formatMetres, formatNanoseconds, formatPercent, plural } from './format'
import { PREVIEW_LIMITS } from './limits'

/** Times of arrival alone say nothing about a place below this. */
const LEAST_FOR_TIMES = 3

const schema = formSchema(PREVIEW_LIMITS)

export type Target = { value_m: number; error: null } | { value_m: null; error: string }

/** The radius as typed, within the engine's own limits. */
export function readTarget(text: string): Target {
  const result = schema.safeParse({ target_m: text.trim() })
  if (result.success) return { value_m: result.data.target_m as number, error: null }
  return { value_m: null, error: result.error.issues[0]?.message ?? 'Enter a number.' }
}

export interface ReachRow {
  numReceivers: number
  share: string
  within: string
  timing: string
}

export function reachRows({ by_receivers }: DatasetPreview): ReachRow[] {
  return by_receivers.map((row) => ({
    numReceivers: row.num_receivers,
    share: formatPercent(row.share, row.share < 0.1 ? 1 : 0),
    within: formatMetres(row.error_p68_m),
    timing: formatNanoseconds(row.timing_needed_ns),
  }))
}

const CAUSES: Record<string, string> = {
  clock: 'Clocks',
  estimate: 'Noise and bandwidth',
  excess: 'Excess delays of the paths',
  total: 'Together',
}

/** Name and size of each cause, the largest first, their total last. */
export function arrivalCauses({ arrival_sigma_ns }: DatasetPreview): [name: string, size: string][] {
  const rank = ([name, sigma_ns]: [string, number]) => (name === 'total' ? -1 : sigma_ns)
  return Object.entries(arrival_sigma_ns)
    .sort((a, b) => rank(b) - rank(a))
    .map(([name, sigma_ns]) => [CAUSES[name] ?? name, formatNanoseconds(sigma_ns)])
}

/** What the table's rows with few receivers mean; empty where there are none. */
export function explainFewReceivers({ by_receivers }: DatasetPreview, minReceivers: number | null): string {
  const fewest = Math.min(...by_receivers.map((row) => row.num_receivers))
  const notes = []
  if (fewest < LEAST_FOR_TIMES)
    notes.push('Times of arrival locate nothing with fewer than three receivers; what is left are the strengths.')
  if (minReceivers !== null && fewest < minReceivers)
    notes.push(`Examples of this data set are heard by ${plural(minReceivers, 'receiver')} or more.`)
  return notes.join(' ')
}
