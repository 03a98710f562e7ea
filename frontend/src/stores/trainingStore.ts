import { create } from 'zustand'
import { toApiError } from '@/api/client'
import * as api from '@/api/training'
import { randomKey, saveBlob } from '@/lib/download'
import { findHole, mergeRows, thinRows } from '@/lib/metric-rows'
import { MAX_CHART_ROWS } from '@/lib/series'
import {
  emptyMaps,
  initialState,
  isWholeJob,
  judgeClock,
  keepNewer,
  newInfo,
  noteClock,
  noteFrames,
  noteHeartbeats,
  noteNewestEvent,
  type TrainingState,
  VALUE_FIELDS,
  withEntry,
  withoutEntry,
} from './trainingState'

export type { JobUpdate, LoadState, MetricsInfo, Tick, TrainingState } from './trainingState'

/** Rows kept of a run that is only drawn on a card, at least: a thinner curve would look it. */
const FEWEST_ROWS = 256

/** Rows grow to this multiple before they are thinned again: the bound of a live curve's memory. */
export const ROOM_TO_GROW = 1.1

/** Rows kept of one run: for a card few, for charts as many as a long run is fetched with, so that no live epoch makes them coarser. */
export const mostRows = (maxPoints: number): number =>
  maxPoints < MAX_CHART_ROWS ? Math.max(FEWEST_ROWS, maxPoints) : VALUE_FIELDS.length * api.POINTS_PER_SERIES

/** Jobs deleted here: a list that was on its way when they went must not bring them back. */
const deletedJobs = new Set<string>()

/** What news of one animation frame have changed so far; null outside of such a batch. */
let draft: TrainingState | null = null

export const useTrainingStore = create<TrainingState>()((set, get) => ({
  ...initialState,
  ...emptyMaps(),

  async fetchJobs() {
    if (get().jobsState === 'idle') set({ jobsState: 'loading' })
    const before = new Set(get().jobs.map((job) => job.id))
    try {
      const list = await api.listJobs()
      set((state) => ({
        jobs: keepNewer(state.jobs, list.jobs, before, deletedJobs),
        jobsTotal: list.total,
        jobsState: 'ready',
        jobsError: null,
        heardAt: Date.now(),
        jobHeardAt: noteHeartbeats(state.jobHeardAt, state.jobs, list.jobs, state.clockAhead),
      }))
    } catch (error) {
      const fault = toApiError(error)
      // A list that was shown stays shown: the badge says how old it is.
      set((state) => ({ jobsError: fault, jobsState: state.jobsState === 'ready' ? 'ready' : 'failed' }))
    }
  },

  async fetchMetrics(jobId, maxPoints = MAX_CHART_ROWS, series) {
    const info = get().metricsInfo.get(jobId)
    const known = get().metrics.get(jobId) ?? []
    const isComplete = info?.state === 'ready' && info.maxPoints >= maxPoints
    const since = isComplete ? (info.missingAfter ?? known.at(-1)?.epoch ?? 0) : 0
    const resolution = Math.max(maxPoints, info?.maxPoints ?? 0)
    if (!info) set({ metricsInfo: withEntry(get().metricsInfo, jobId, newInfo(resolution)) })
    try {
      const numEpochs = get().jobs.find((job) => job.id === jobId)?.current_epoch ?? 0
      const isLong = since === 0 && numEpochs > resolution && resolution >= MAX_CHART_ROWS
      const rows = isLong
        ? await api.getLongRun(jobId, {})
        : await api.getMetrics(jobId, { since_epoch: since, max_points: resolution, ...(series ? { series } : {}) })
      set((state) => {
        const before = state.metrics.get(jobId)
        const merged = before && rows.length === 0 ? before : mergeRows(before ?? [], rows)
        const other = state.metricsInfo.get(jobId)
        return {
          metrics: merged === before ? state.metrics : withEntry(state.metrics, jobId, merged),
          metricsInfo: withEntry(state.metricsInfo, jobId, {
            state: 'ready',
            error: null,
            maxPoints: other?.state === 'ready' ? Math.max(other.maxPoints, resolution) : resolution,
            missingAfter: findHole(merged, rows.at(-1)?.epoch ?? since),
          }),
        }
      })
    } catch (error) {
      // What was known before stays: an answer that failed has filled no hole and made nothing finer.
      set((state) => {
        const before = state.metricsInfo.get(jobId) ?? newInfo(resolution)
        const loaded = before.state === 'ready' ? 'ready' : 'failed'
        return {
          metricsInfo: withEntry(state.metricsInfo, jobId, { ...before, state: loaded, error: toApiError(error) }),
        }
      })
    }
  },

  async fetchModels() {
    if (get().modelsState === 'idle') set({ modelsState: 'loading' })
    try {
      set({ models: await api.listModels(), modelsState: 'ready', modelsError: null, heardAt: Date.now() })
    } catch (error) {
      const fault = toApiError(error)
      set((state) => ({ modelsError: fault, modelsState: state.modelsState === 'ready' ? 'ready' : 'failed' }))
    }
  },

  async createJob(config, idempotencyKey = randomKey()) {
    const { job_id: jobId, ...job } = await api.createJob(config, idempotencyKey)
    get().handleJobUpdate(job)
    return jobId
  },

  async cancelJob(jobId) {
    get().handleJobUpdate(await api.cancelJob(jobId))
  },

  async deleteJob(jobId) {
    await api.deleteJob(jobId)
    get().handleJobGone(jobId)
  },

  async pauseJob(jobId) {
    get().handleJobUpdate(await api.pauseJob(jobId))
  },

  async resumeJob(jobId) {
    get().handleJobUpdate(await api.resumeJob(jobId))
  },

  async continueJob(jobId, options) {
    const job = await api.continueJob(jobId, options)
    get().handleJobUpdate(job)
    return job
  },

  async downloadModel(modelId, options) {
    const { blob, filename } = await api.exportModel(modelId, options)
    saveBlob(blob, filename)
    return filename
  },

  async importModel(file, listener) {
    const result = await api.importModel(file, listener)
    await get().fetchModels()
    return result
  },

  async renameModel(modelId, name) {
    const model = await api.renameModel(modelId, name)
    set((state) => ({ models: state.models.map((known) => (known.id === modelId ? model : known)) }))
  },

  async deleteModel(modelId, confirmName) {
    await api.deleteModel(modelId, confirmName)
    set((state) => ({ models: state.models.filter((model) => model.id !== modelId) }))
  },

  applyTogether(work) {
    const before = get()
    draft = before
    try {
      work()
    } finally {
      const after: TrainingState = draft
      draft = null
      const keys = Object.keys(after) as (keyof TrainingState)[]
      set(Object.fromEntries(keys.filter((key) => after[key] !== before[key]).map((key) => [key, after[key]])))
    }
  },

  handleJobUpdate(update) {
    change((state) => {
      const known = state.jobs.find((job) => job.id === update.id)
      if (!known) {
        if (!isWholeJob(update) || deletedJobs.has(update.id)) return state
        return { jobs: [update, ...state.jobs], jobsTotal: state.jobsTotal + 1 }
      }
      if (update.version !== undefined && update.version < known.version) return state
      return {
        jobs: state.jobs.map((job) => (job === known ? { ...known, ...update } : job)),
        jobHeardAt: noteHeartbeats(state.jobHeardAt, [known], [{ ...known, ...update }], state.clockAhead),
      }
    })
  },

  handleMetricUpdate(metric) {
    change((state) => {
      const rows = state.metrics.get(metric.job_id) ?? []
      const info = state.metricsInfo.get(metric.job_id)
      const lastEpoch = rows.at(-1)?.epoch ?? 0
      const isApart = metric.epoch > lastEpoch + 1 && info !== undefined && info.missingAfter === null
      const most = mostRows(info?.maxPoints ?? 0)
      // A page left open for days keeps what a chart can show, not every epoch that it saw.
      const merged = thinRows(mergeRows(rows, [metric]), VALUE_FIELDS, most, most * ROOM_TO_GROW)
      return {
        metrics: withEntry(state.metrics, metric.job_id, merged),
        ...(isApart
          ? { metricsInfo: withEntry(state.metricsInfo, metric.job_id, { ...info, missingAfter: lastEpoch }) }
          : {}),
      }
    })
  },

  handleTick(jobId, tick) {
    change((state) => ({ ticks: withEntry(state.ticks, jobId, tick) }))
  },

  handleJobGone(jobId) {
    deletedJobs.add(jobId)
    change((state) => ({
      jobs: state.jobs.filter((job) => job.id !== jobId),
      jobsTotal: state.jobs.some((job) => job.id === jobId) ? state.jobsTotal - 1 : state.jobsTotal,
      metrics: withoutEntry(state.metrics, jobId),
      metricsInfo: withoutEntry(state.metricsInfo, jobId),
      ticks: withoutEntry(state.ticks, jobId),
      jobHeardAt: withoutEntry(state.jobHeardAt, jobId),
    }))
  },

  setLink(jobId, link) {
    set((state) => {
      const links = link === null ? withoutEntry(state.links, jobId) : withEntry(state.links, jobId, link)
      const values = [...links.values()]
      return { links, wsConnected: values.length > 0 && values.every((value) => value === 'live' || value === 'gone') }
    })
  },

  noteHeard(frames) {
    change((state) => {
      const clockSeen = noteClock(state.clockSeen, frames)
      const clockAhead = judgeClock(clockSeen)
      return {
        heardAt: Date.now(),
        clockSeen,
        clockAhead,
        newestEvent: noteNewestEvent(state.newestEvent, clockAhead, frames),
        jobHeardAt: noteFrames(state.jobHeardAt, frames),
      }
    })
  },
}))

function change(recipe: (state: TrainingState) => Partial<TrainingState>): void {
  if (draft) draft = { ...draft, ...recipe(draft) }
  else useTrainingStore.setState(recipe)
}

/** Back to the first state; tests and the gallery start from here. */
export function resetTrainingStore(): void {
  deletedJobs.clear()
  useTrainingStore.setState({ ...initialState, ...emptyMaps() })
}
