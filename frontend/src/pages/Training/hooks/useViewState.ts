import { useCallback, useMemo } from 'react'
import { useSearchParams } from 'react-router'
import type { JobStatus } from '@/api/types'
import { JOB_SORTS, type JobSort } from '@/lib/job-query'

export type TabName = 'jobs' | 'metrics' | 'models'
export type Panel = 'details' | 'log'

/** All that changes what is seen lives in the URL, so that reload, back and a sent link show the same view. */
export interface ViewState {
  tab: TabName
  q: string
  status: JobStatus | null
  sort: JobSort
  /** Runs on the charts: the selected job first, then those it is compared with. */
  runs: string[]
  /** Those of the address beyond the most that are compared: named, not drawn. */
  surplus: string[]
  x: 'epoch' | 'time'
  smooth: number
  log: boolean
  zoom: [number, number] | null
  /** Series that are not drawn, by `seriesId`. */
  hide: string[]
  open: string | null
  panel: Panel
  model: string | null
}

export const MAX_RUNS = 6

/** A line in few characters, for the address: the end of its job's id, and its field. */
export const seriesId = (jobId: string, field: string): string => `${jobId.slice(-8)}.${field}`
const TABS: readonly string[] = ['jobs', 'metrics', 'models']
const STATUSES: readonly string[] = ['pending', 'running', 'paused', 'completed', 'failed', 'cancelled']

export function parseView(query: URLSearchParams): ViewState {
  const tab = query.get('tab') ?? ''
  const status = query.get('status') ?? ''
  const sort = query.get('sort') ?? ''
  const runs = [...new Set(listOf(query.get('runs')))]
  return {
    tab: TABS.includes(tab) ? (tab as TabName) : 'jobs',
    q: query.get('q') ?? '',
    status: STATUSES.includes(status) ? (status as JobStatus) : null,
    sort: sort in JOB_SORTS ? (sort as JobSort) : 'newest',
    runs: runs.slice(0, MAX_RUNS),
    surplus: runs.slice(MAX_RUNS),
    x: query.get('x') === 'time' ? 'time' : 'epoch',
    smooth: clampShare(Number(query.get('smooth'))),
    log: query.get('log') === '1',
    zoom: parseZoom(query.get('zoom')),
    hide: listOf(query.get('hide')),
    open: query.get('open'),
    panel: query.get('panel') === 'log' ? 'log' : 'details',
    model: query.get('model'),
  }
}

/** Defaults are left out, so that a plain view has a plain address. */
export function formatView(view: ViewState): Record<string, string> {
  // A run that is no longer shown leaves nothing behind.
  const hide = view.hide.filter((series) => view.runs.some((jobId) => series.startsWith(seriesId(jobId, ''))))
  const entries: [string, string | null][] = [
    ['tab', view.tab === 'jobs' ? null : view.tab],
    ['q', view.q || null],
    ['status', view.status],
    ['sort', view.sort === 'newest' ? null : view.sort],
    ['runs', [...view.runs, ...view.surplus].join(',') || null],
    ['x', view.x === 'epoch' ? null : view.x],
    ['smooth', view.smooth ? String(view.smooth) : null],
    ['log', view.log ? '1' : null],
    ['zoom', view.zoom ? view.zoom.join('..') : null],
    ['hide', hide.join(',') || null],
    ['open', view.open],
    ['panel', view.open && view.panel !== 'details' ? view.panel : null],
    ['model', view.model],
  ]
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== null))
}

const listOf = (text: string | null): string[] => (text ?? '').split(',').filter(Boolean)

function clampShare(value: number): number {
  return Number.isFinite(value) ? Math.min(0.99, Math.max(0, value)) : 0
}

function parseZoom(text: string | null): [number, number] | null {
  const [low, high] = (text ?? '').split('..').map(Number)
  return low !== undefined && high !== undefined && low < high ? [low, high] : null
}

export type SetView = (patch: Partial<ViewState>, options?: { replace?: boolean }) => void

/** `replace` keeps typing and dragging out of the history; changes of place go into it. */
export function useViewState(): [ViewState, SetView] {
  const [query, setQuery] = useSearchParams()
  const view = useMemo(() => parseView(query), [query])
  const setView = useCallback<SetView>(
    (patch, { replace = false } = {}) => {
      // Whoever chooses runs has seen which of the address were too many.
      const surplus = patch.runs ? { surplus: [] } : {}
      setQuery((now) => formatView({ ...parseView(now), ...surplus, ...patch }), { replace, preventScrollReset: true })
    },
    [setQuery],
  )
  return [view, setView]
}
