import { formatClock, formatDuration } from './format'

/** Heartbeats come every few seconds; this long without any sign is worth a word. */
export const SILENT_AFTER_MS = 15_000

export interface FreshnessInput {
  links: Iterable<string>
  heardAt: number | null
  isListFailing: boolean
  /** When each running job's worker last gave a sign of life. */
  workersHeardAt: Iterable<number>
  now: number
}

export interface Freshness {
  tone: 'live' | 'calm' | 'warning'
  text: string
  detail: string
}

/** What the page may claim about the age of what it shows; the worst news first. */
export function judgeFreshness({ links, heardAt, isListFailing, workersHeardAt, now }: FreshnessInput): Freshness {
  const states = [...links]
  if (isListFailing || states.includes('reconnecting')) {
    return {
      tone: 'warning',
      text: heardAt === null ? 'Reconnecting' : `Reconnecting, showing data to ${formatClock(heardAt)}`,
      detail: 'The engine does not answer. Training goes on without this page; what is missed will be caught up.',
    }
  }
  const silent = Math.max(0, ...[...workersHeardAt].map((heard) => now - heard))
  if (silent > SILENT_AFTER_MS) {
    return {
      tone: 'warning',
      text: `Worker silent ${silent < 120_000 ? `${Math.floor(silent / 1000)} s` : formatDuration(silent / 1000)}`,
      detail:
        'A worker has stopped answering. Nothing is lost; training goes on from the last checkpoint when it returns.',
    }
  }
  if (heardAt === null || states.includes('connecting')) {
    return { tone: 'calm', text: 'Connecting', detail: 'Waiting for the first answer.' }
  }
  if (states.length > 0) return { tone: 'live', text: 'Live', detail: 'Each epoch is shown as it is stored.' }
  const isRunning = [...workersHeardAt].length > 0
  const detail = isRunning
    ? 'The list is checked every 5 s. Open the jobs or a curve to follow each epoch.'
    : 'Nothing is running. The list is checked every 5 s.'
  return { tone: 'calm', text: 'Up to date', detail }
}
