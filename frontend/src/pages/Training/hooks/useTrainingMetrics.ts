import { useEffect, useMemo, useState } from 'react'
import { getLongRun } from '@/api/training'
import type { TrainingMetric } from '@/api/types'
import { mergeRows } from '@/lib/metric-rows'
import { usePolling } from '@/lib/polling'
import { jobsById } from '@/stores/jobIndex'
import { type MetricsInfo, useTrainingStore } from '@/stores/trainingStore'
import { isWatched, useTrainingWebSocket } from './useTrainingWebSocket'

const REFRESH_MS = 5000
const NO_ROWS: TrainingMetric[] = []
/** A window that moves with every repeat of a held key is asked for once it rests. */
const REST_MS = 120

export interface JobMetrics {
  rows: TrainingMetric[]
  info: MetricsInfo | undefined
}

/** The rows of one job: the whole run thinned, then every new epoch as it comes. */
export function useTrainingMetrics(jobId: string | null): JobMetrics {
  const rows = useTrainingStore((state) => (jobId ? state.metrics.get(jobId) : undefined)) ?? NO_ROWS
  const info = useTrainingStore((state) => (jobId ? state.metricsInfo.get(jobId) : undefined))
  const isActive = useTrainingStore((state) => {
    const job = jobId ? jobsById(state.jobs).get(jobId) : undefined
    return job ? isWatched(job) : false
  })
  const fetchMetrics = useTrainingStore((state) => state.fetchMetrics)
  const missingAfter = info?.missingAfter ?? null
  // A run that ended while its rows could not be had is asked about until they are there.
  const isOwed = info !== undefined && (info.error !== null || missingAfter !== null)

  useTrainingWebSocket(isActive ? jobId : null)
  useEffect(() => {
    if (jobId) void fetchMetrics(jobId)
  }, [jobId, fetchMetrics])
  // A live row that does not join the last one: fill the hole now instead of at the next refresh.
  useEffect(() => {
    if (jobId && missingAfter !== null) void fetchMetrics(jobId)
  }, [jobId, missingAfter, fetchMetrics])
  usePolling(() => (jobId ? fetchMetrics(jobId) : undefined), REFRESH_MS, jobId !== null && (isActive || isOwed))
  return { rows, info }
}

interface Run {
  id: string
  rows: TrainingMetric[]
}

/**
 * Rows for a zoomed view. Where the overview is thinned, the window is asked for again at its own resolution;
 * while that is on its way (and where nothing was thinned) the overview's rows stand in.
 */
export function useZoomedRows(runs: readonly Run[], windows: readonly ([number, number] | null)[]): TrainingMetric[][] {
  const [fetched, setFetched] = useState<ReadonlyMap<string, { key: string; rows: TrainingMetric[] }>>(new Map())
  const wanted = runs.flatMap(({ id, rows }, index) => {
    const window = windows[index]
    if (!window || !isThinned(rows, window)) return []
    return [{ id, low: Math.max(0, window[0] - 1), high: window[1], key: window.join() }]
  })
  const signature = JSON.stringify(wanted)
  useEffect(() => {
    const stopped = new AbortController()
    const ask = () => {
      for (const { id, low, high, key } of JSON.parse(signature) as typeof wanted) {
        getLongRun(id, { since_epoch: low, until_epoch: high }, stopped.signal).then(
          (rows) => stopped.signal.aborted || setFetched((old) => new Map(old).set(id, { key, rows })),
          // The thinned overview stays; the next change of the window asks again.
          () => undefined,
        )
      }
    }
    const timer = setTimeout(ask, REST_MS)
    return () => {
      clearTimeout(timer)
      stopped.abort()
    }
  }, [signature])
  return useMemo(
    () =>
      runs.map(({ id, rows }, index) => {
        const window = fetched.get(id)
        return window && window.key === windows[index]?.join() ? mergeRows(rows, window.rows) : rows
      }),
    [runs, windows, fetched],
  )
}

function isThinned(rows: readonly TrainingMetric[], [low, high]: [number, number]): boolean {
  const last = Math.min(high, rows.at(-1)?.epoch ?? 0)
  const inside = rows.filter((row) => row.epoch >= low && row.epoch <= last).length
  return inside > 0 && inside < last - low + 1
}
