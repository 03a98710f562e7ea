import type { ApiError } from '@/api/client'
import type { LinkState } from '@/api/socket-connection'
import type { ImportListener, ImportResult } from '@/api/training'
import type {
  EventFrame,
  ExportOptions,
  TrainedModel,
  TrainingJob,
  TrainingJobCreate,
  TrainingMetric,
} from '@/api/types'
import { MAX_CHART_ROWS } from '@/lib/series'

export type LoadState = 'idle' | 'loading' | 'ready' | 'failed'

/** What is known of a job's curve beside its rows. */
export interface MetricsInfo {
  state: LoadState
  error: ApiError | null
  /** Resolution that was asked for; a sparkline asks for less than a chart. */
  maxPoints: number
  /** Rows after this epoch may be missing: a live row arrived that does not join the last one. */
  missingAfter: number | null
}

/** Progress inside an epoch: short-lived, never stored by the engine. */
export interface Tick {
  attempt: number
  current_epoch: number
  progress_percent: number
  batch: number
  total_batches: number
  estimated_completion: string | null
}

export interface TrainingState {
  jobs: TrainingJob[]
  jobsTotal: number
  jobsState: LoadState
  jobsError: ApiError | null
  metrics: Map<string, TrainingMetric[]>
  metricsInfo: Map<string, MetricsInfo>
  models: TrainedModel[]
  modelsState: LoadState
  modelsError: ApiError | null
  wsConnected: boolean
  /** Connection of each watched job; a job that nobody watches has none. */
  links: Map<string, LinkState>
  ticks: Map<string, Tick>
  /** When the page last heard anything true from the engine, by the page's clock. */
  heardAt: number | null
  /** How far the page's clock is ahead of the server's, in ms; null until both were compared. */
  clockAhead: number | null
  /** The last such comparisons; the smallest is nearest to the truth, for the way here only ever adds to it. */
  clockSeen: readonly number[]
  /** When the newest event was made, by the page's clock, and when it came; null until the clocks were compared. */
  newestEvent: { madeAt: number; heardAt: number } | null
  /** When something was last heard of each job; a tick is as good as a heartbeat. */
  jobHeardAt: Map<string, number>

  fetchJobs(): Promise<void>
  /** `series`: only this one, for a card's small curve. */
  fetchMetrics(jobId: string, maxPoints?: number, series?: string): Promise<void>
  fetchModels(): Promise<void>
  createJob(config: TrainingJobCreate, idempotencyKey?: string): Promise<string>
  cancelJob(jobId: string): Promise<void>
  deleteJob(jobId: string): Promise<void>
  pauseJob(jobId: string): Promise<void>
  resumeJob(jobId: string): Promise<void>
  continueJob(jobId: string, options: { epochs?: number; job_name?: string }): Promise<TrainingJob>
  downloadModel(modelId: string, options: ExportOptions): Promise<string>
  importModel(file: File, listener?: ImportListener): Promise<ImportResult>
  renameModel(modelId: string, name: string): Promise<void>
  deleteModel(modelId: string, confirmName?: string): Promise<void>
  /** Runs `work`, whose updates then reach the page all at once: many frames of a socket, one render. */
  applyTogether(work: () => void): void
  handleJobUpdate(update: JobUpdate): void
  handleMetricUpdate(metric: TrainingMetric): void
  handleTick(jobId: string, tick: Tick): void
  handleJobGone(jobId: string): void
  setLink(jobId: string, state: LinkState | null): void
  noteHeard(frames: readonly EventFrame[]): void
}

/** A whole job, or the part that an epoch changes. */
export type JobUpdate = Partial<TrainingJob> & Pick<TrainingJob, 'id'>

export const initialState = {
  jobs: [],
  jobsTotal: 0,
  jobsState: 'idle' as LoadState,
  jobsError: null,
  models: [],
  modelsState: 'idle' as LoadState,
  modelsError: null,
  wsConnected: false,
  heardAt: null,
  clockAhead: null,
  clockSeen: [] as readonly number[],
  newestEvent: null,
}

export const emptyMaps = () => ({
  metrics: new Map<string, TrainingMetric[]>(),
  metricsInfo: new Map<string, MetricsInfo>(),
  links: new Map<string, LinkState>(),
  ticks: new Map<string, Tick>(),
  jobHeardAt: new Map<string, number>(),
})

/**
 * Takes the server's list, but never an older version of a job than the one known, nothing deleted
 * meanwhile, and keeps what was added while the list was on its way (`before` holds the ids of its start).
 */
export function keepNewer(
  known: readonly TrainingJob[],
  listed: readonly TrainingJob[],
  before: ReadonlySet<string>,
  deleted: ReadonlySet<string>,
): TrainingJob[] {
  const byId = new Map(known.map((job) => [job.id, job]))
  const merged = listed
    .filter((job) => !deleted.has(job.id))
    .map((job) => {
      const old = byId.get(job.id)
      if (!old || job.version > old.version) return job
      // Heartbeats do not raise the version, so their time is taken from whichever saw the later one.
      const seen = (job.worker_seen_at ?? '') > (old.worker_seen_at ?? '')
      return job.version === old.version && seen ? { ...old, worker_seen_at: job.worker_seen_at } : old
    })
  const listedIds = new Set(listed.map((job) => job.id))
  const addedMeanwhile = known.filter((job) => !before.has(job.id) && !listedIds.has(job.id))
  merged.unshift(...addedMeanwhile)
  const unchanged = merged.length === known.length && merged.every((job, index) => job === known[index])
  return unchanged ? (known as TrainingJob[]) : merged
}

type ValueField = Exclude<keyof TrainingMetric, 'job_id' | 'epoch' | 'timestamp' | 'attempt' | 'non_finite'>

/** The series of a metric row, each of which keeps its extremes when rows are thinned. */
export const VALUE_FIELDS = [
  'train_loss',
  'val_loss',
  'train_accuracy',
  'val_accuracy',
  'learning_rate',
  'val_error_median_m',
  'val_error_p68_m',
  'val_error_p95_m',
  'val_coverage_68',
  'grad_norm',
  'samples_per_second',
] as const satisfies ValueField[]

export const isWholeJob = (update: JobUpdate): update is TrainingJob => 'config' in update && 'created_at' in update

export const newInfo = (maxPoints: number): MetricsInfo => ({
  state: 'loading',
  error: null,
  maxPoints,
  missingAfter: null,
})

/** Why the rows of a run may lack some, or null where a chart has all that it shows: its reason, or '' while they are on their way. */
export function whyPartial(info: MetricsInfo | undefined): string | null {
  if (info?.state === 'ready' && info.maxPoints >= MAX_CHART_ROWS && info.missingAfter === null) return null
  return info?.error?.message ?? ''
}

export function withEntry<V>(map: Map<string, V>, key: string, value: V): Map<string, V> {
  return new Map(map).set(key, value)
}

export function withoutEntry<V>(map: Map<string, V>, key: string): Map<string, V> {
  if (!map.has(key)) return map
  const copy = new Map(map)
  copy.delete(key)
  return copy
}

/** Comparisons of the clocks that are kept: a clock that is set right is believed after as many. */
const MAX_CLOCKS = 16

/** Adds how far the page's clock is ahead of the server's, in ms, by the newest frame that is never a replay. */
export function noteClock(seen: readonly number[], frames: readonly EventFrame[]): readonly number[] {
  const newest = frames.findLast((frame) => frame.seq === null || frame.event === 'connected')
  const said = newest ? Date.parse(newest.timestamp) : Number.NaN
  return Number.isNaN(said) ? seen : [...seen, Date.now() - said].slice(-MAX_CLOCKS)
}

export const judgeClock = (seen: readonly number[]): number | null => (seen.length > 0 ? Math.min(...seen) : null)

/** An event older than this when it comes is a replay of what was missed: it says nothing of the way here. */
const REPLAY_AFTER_MS = 10_000

export function noteNewestEvent(
  known: TrainingState['newestEvent'],
  clockAhead: number | null,
  frames: readonly EventFrame[],
): TrainingState['newestEvent'] {
  const newest = frames.findLast((frame) => frame.seq !== null && frame.event !== 'connected')
  const heardAt = Date.now()
  if (!newest || clockAhead === null) return known
  const madeAt = Date.parse(newest.timestamp) + clockAhead
  return heardAt - madeAt < REPLAY_AFTER_MS ? { madeAt: Math.min(madeAt, heardAt), heardAt } : known
}

/**
 * A heartbeat that differs from the one known was made since the last look: when, by the page's own clock, is known
 * as soon as the two clocks have been compared. Until then the worker counts as heard now.
 */
export function noteHeartbeats(
  heard: Map<string, number>,
  known: readonly TrainingJob[],
  fresh: readonly TrainingJob[],
  clockAhead: number | null = null,
): Map<string, number> {
  const before = new Map(known.map((job) => [job.id, job.worker_seen_at]))
  const alive = fresh.filter(
    (job) => job.worker_seen_at && before.has(job.id) && before.get(job.id) !== job.worker_seen_at,
  )
  if (alive.length === 0) return heard
  const copy = new Map(heard)
  for (const job of alive) {
    const at =
      clockAhead === null ? Date.now() : Math.min(Date.now(), Date.parse(job.worker_seen_at ?? '') + clockAhead)
    copy.set(job.id, Math.max(copy.get(job.id) ?? 0, at))
  }
  return copy
}

/** Only what a worker says counts as a sign of its life; a replayed frame counts for its own time. */
export function noteFrames(heard: Map<string, number>, frames: readonly EventFrame[]): Map<string, number> {
  const copy = new Map(heard)
  const now = Date.now()
  for (const { event, job_id: jobId, timestamp } of frames) {
    if (!jobId || (event !== 'training_progress' && event !== 'training_started')) continue
    const said = Date.parse(timestamp)
    copy.set(jobId, Math.max(copy.get(jobId) ?? 0, Math.abs(now - said) < 10_000 ? now : Math.min(said, now)))
  }
  return copy
}
