import type { TrainingJob } from '@/api/types'
import { formatClock, formatDuration } from './format'

/** Heartbeats come every two seconds and a lease ends after ten: this long without any sign is worth a word, while the job still runs. */
const SILENT_AFTER_MS = 7_000
/** A free worker takes a job at once, and one that comes back needs some seconds. */
const WAITING_AFTER_MS = 8_000
/** The list is asked for every five seconds. */
const SERVER_SILENT_AFTER_MS = 10_000
const HEARD_LATELY_MS = 4_000
const AWAY = 'The engine does not answer. Training goes on without this page; what is missed will be caught up.'

export interface FreshnessInput {
  links: Iterable<string>
  heardAt: number | null
  isListFailing: boolean
  /** When each running job's worker last gave a sign of life. */
  workersHeardAt: Iterable<number>
  /** Since when training processes hang whose workers live; their workers say so. */
  hungSince: Iterable<number>
  /** Since when jobs wait for a worker though none runs that could keep it busy. */
  waitingSince?: Iterable<number>
  /** How long the newest event was under way to this page, in ms; null where that is not known. */
  lagMs?: number | null
  now: number
}

export interface Freshness {
  tone: 'live' | 'calm' | 'warning'
  text: string
  /** For how long it has been so; as the note, it changes often: shown, never announced. */
  span?: string
  note?: string
  detail: string
}

/** What the page may claim about the age of what it shows; the worst news first. */
export function judgeFreshness({
  links,
  heardAt,
  isListFailing,
  workersHeardAt,
  hungSince,
  waitingSince = [],
  lagMs = null,
  now,
}: FreshnessInput): Freshness {
  const states = [...links]
  if (isListFailing || states.includes('reconnecting')) {
    return {
      tone: 'warning',
      text: heardAt === null ? 'Reconnecting' : `Reconnecting, showing data to ${formatClock(heardAt)}`,
      detail: AWAY,
    }
  }
  if (heardAt !== null && now - heardAt > SERVER_SILENT_AFTER_MS) {
    return {
      tone: 'warning',
      text: `Server silent, showing data to ${formatClock(heardAt)}`,
      detail: AWAY,
    }
  }
  const asOf = knownUntil(heardAt, now)
  const silent = Math.max(0, ...[...workersHeardAt].map((heard) => asOf - heard))
  if (silent > SILENT_AFTER_MS) {
    return {
      tone: 'warning',
      text: 'Worker silent',
      span: describeSpan(silent),
      detail:
        'A worker has stopped answering. Nothing is lost; training goes on from the last checkpoint when it returns.',
    }
  }
  const hung = [...hungSince].map((since) => now - since)
  if (hung.length > 0) {
    return {
      tone: 'warning',
      text: 'Worker silent',
      span: describeSpan(Math.max(0, ...hung)),
      detail:
        'A training process makes no step. Its worker ends that attempt in time and goes on from the last checkpoint; the job’s card says when.',
    }
  }
  const waiting = Math.max(0, ...[...waitingSince].map((since) => asOf - since))
  if (waiting > WAITING_AFTER_MS) {
    return {
      tone: 'warning',
      text: 'Waiting for a worker',
      span: describeSpan(waiting),
      detail: 'No worker has taken the waiting job. Nothing is lost; it starts, or goes on, when one answers.',
    }
  }
  if (heardAt === null || states.includes('connecting')) {
    return { tone: 'calm', text: 'Connecting', detail: 'Waiting for the first answer.' }
  }
  if (states.length > 0)
    return {
      tone: 'live',
      text: 'Live',
      ...(lagMs === null ? {} : { note: describeLag(lagMs) }),
      detail:
        lagMs === null
          ? 'Each epoch is shown as it is stored.'
          : 'Each epoch is shown as it is stored; behind is how long the newest news took from the engine to this page.',
    }
  const isRunning = [...workersHeardAt].length > 0
  const detail = isRunning
    ? 'The list is checked every 5 s. Open the jobs or a curve to follow each epoch.'
    : 'Nothing is running. The list is checked every 5 s.'
  return { tone: 'calm', text: 'Up to date', detail }
}

/** Who has not heard of the engine for some seconds knows nothing of its workers. */
const knownUntil = (heardAt: number | null, now: number) =>
  heardAt === null ? now : Math.min(now, heardAt + HEARD_LATELY_MS)

type Turn = Pick<TrainingJob, 'status' | 'status_changed_at' | 'created_at' | 'started_at'>

/**
 * Since when each pending job waits though no worker is busy, in ms by the engine's clock. While something runs, a job may well wait for
 * its turn; that time does not count once the last one stopped running.
 */
export function waitingSince(jobs: readonly Turn[]): number[] {
  const pending = jobs.filter((job) => job.status === 'pending')
  if (pending.length === 0 || jobs.some((job) => job.status === 'running')) return []
  const changedAt = (job: Turn) => Date.parse(job.status_changed_at ?? job.created_at)
  // What never started kept no worker busy.
  const lastBusy = jobs.reduce((latest, job) => (job.started_at ? Math.max(latest, changedAt(job)) : latest), 0)
  return pending.map((job) => Math.max(lastBusy, changedAt(job)))
}

/** When a job's worker last gave a sign of life, as far as this page knows; null where that is not known. */
export function workerHeardAt(
  job: Pick<TrainingJob, 'worker_seen_at' | 'started_at'>,
  heardAt: number | undefined,
): number | null {
  const heard = heardAt ?? Date.parse(job.worker_seen_at ?? job.started_at ?? '')
  return Number.isNaN(heard) ? null : heard
}

/** Whether a running job's worker is silent, by the same measure as the page's badge. */
export const isWorkerSilent = (workerHeard: number | null, heardAt: number | null, now: number): boolean =>
  workerHeard !== null && knownUntil(heardAt, now) - workerHeard > SILENT_AFTER_MS

/** Of no use once it is old: then nothing says how long the next news would take. */
const LAG_COUNTS_MS = 3_000

/** How long the newest event was under way, in ms; null once there was no news for some seconds. */
export function newestLag(newest: { madeAt: number; heardAt: number } | null, now: number): number | null {
  if (newest === null || now - newest.heardAt > LAG_COUNTS_MS) return null
  return newest.heardAt - newest.madeAt
}

/** In tenths of a second, and never less than was measured. */
const describeLag = (lagMs: number) => `${(Math.ceil(Math.max(lagMs, 1) / 100) / 10).toFixed(1)} s behind`

const describeSpan = (spanMs: number) =>
  spanMs < 120_000 ? `${Math.floor(spanMs / 1000)} s` : formatDuration(spanMs / 1000)
