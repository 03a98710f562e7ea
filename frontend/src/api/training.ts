/** One function per route of the engine; no state. */
import { mergeRows } from '@/lib/metric-rows'
import { http, request, requestTagged, toApiError } from './client'
import type { components } from './schema.gen'
import type {
  Architecture,
  Dataset,
  DatasetPage,
  DatasetPreview,
  EventFrame,
  ExportOptions,
  JobPage,
  ModelPage,
  TrainedModel,
  TrainedModelDetail,
  TrainingJob,
  TrainingJobCreate,
  TrainingMetric,
} from './types'

const id = encodeURIComponent

/** Jobs a page of the list; the whole list is read page by page, each with its own ETag. */
const JOBS_PER_PAGE = 200
/** Beyond this the list says that it is cut; nobody scrolls further. */
export const MAX_JOBS = 2000

export interface JobList {
  jobs: TrainingJob[]
  total: number
}

export async function listJobs(): Promise<JobList> {
  const jobs: TrainingJob[] = []
  let cursor: string | null = null
  for (;;) {
    const params: Record<string, string | number> = { limit: JOBS_PER_PAGE, ...(cursor === null ? {} : { cursor }) }
    const page: JobPage = await requestTagged<JobPage>('/training/jobs', params)
    jobs.push(...page.jobs)
    cursor = page.next_cursor ?? null
    if (cursor === null || jobs.length >= MAX_JOBS) return { jobs, total: page.total }
  }
}

/** What a person should see to though everything works; always 200, where readiness would be an error in the console. */
export const listWarnings = () =>
  request<components['schemas']['ServerWarnings']>({ url: '/health/warnings' }).then(({ warnings }) => warnings)

export const getJob = (jobId: string) => request<TrainingJob>({ url: `/training/jobs/${id(jobId)}` })

/** `idempotencyKey` makes a repeated press of the button return the first job. */
export const createJob = (config: TrainingJobCreate, idempotencyKey: string) =>
  request<TrainingJob & { job_id: string }>({
    method: 'POST',
    url: '/training/jobs',
    data: config,
    headers: { 'Idempotency-Key': idempotencyKey },
  })

/** `expect` makes the engine refuse where the job is not so: a cancel that comes too late must not delete. */
export const cancelJob = (jobId: string) =>
  request<TrainingJob>({ method: 'DELETE', url: `/training/jobs/${id(jobId)}`, params: { expect: 'active' } })

export const deleteJob = (jobId: string) =>
  request<''>({ method: 'DELETE', url: `/training/jobs/${id(jobId)}`, params: { expect: 'final' } })

export const pauseJob = (jobId: string) => request<TrainingJob>({ method: 'POST', url: `/training/pause/${id(jobId)}` })

export const resumeJob = (jobId: string) =>
  request<TrainingJob>({ method: 'POST', url: `/training/resume/${id(jobId)}` })

export const continueJob = (jobId: string, body: { epochs?: number; job_name?: string }) =>
  request<TrainingJob>({ method: 'POST', url: `/training/jobs/${id(jobId)}/continue`, data: body })

export interface MetricRange {
  since_epoch?: number
  until_epoch?: number
  max_points?: number
  /** Names with commas between; all series where none is named. */
  series?: string
}

export const getMetrics = (jobId: string, range: MetricRange = {}, signal?: AbortSignal) =>
  request<TrainingMetric[]>({
    url: `/training/jobs/${id(jobId)}/metrics`,
    params: range,
    ...(signal ? { signal } : {}),
  })

/** The series of each chart. Rows are thinned by what they carry: asked for by themselves, few series keep many extremes. */
const CHARTS = [
  ['train_loss', 'val_loss'],
  ['train_accuracy', 'val_accuracy'],
  ['val_error_median_m', 'val_error_p68_m', 'val_error_p95_m'],
  ['learning_rate', 'grad_norm'],
  ['val_coverage_68', 'samples_per_second'],
]
export const POINTS_PER_SERIES = 400

/** A run too long for every epoch of it: rows of which each carries the series that it was chosen for. */
export async function getLongRun(jobId: string, range: MetricRange, signal?: AbortSignal): Promise<TrainingMetric[]> {
  const parts = await Promise.all(
    CHARTS.map((names) =>
      getMetrics(jobId, { ...range, series: names.join(), max_points: names.length * POINTS_PER_SERIES }, signal),
    ),
  )
  return parts.reduce((rows, part) => mergeRows(rows, part))
}

export const metricsCsvPath = (jobId: string) => `/api/v1/training/jobs/${id(jobId)}/metrics.csv`

export const getEvents = (jobId: string, params: { since?: number; limit?: number; kind?: 'lifecycle' }) =>
  request<{ events: EventFrame[]; last_seq: number }>({ url: `/training/jobs/${id(jobId)}/events`, params })

export interface LogChunk {
  lines: string[]
  lastLine: number
}

export async function getLog(jobId: string, since: number): Promise<LogChunk> {
  try {
    const response = await http.get<string>(`/training/jobs/${id(jobId)}/logs`, {
      params: { since },
      responseType: 'text',
      // Without this axios would read a line that happens to be JSON as an object.
      transformResponse: (body: string) => body,
    })
    const lines = response.data.length > 0 ? response.data.replace(/\n$/, '').split('\n') : []
    return { lines, lastLine: Number(response.headers['x-last-line'] ?? since + lines.length) }
  } catch (error) {
    throw toApiError(error)
  }
}

export const listArchitectures = async () =>
  (await request<{ architectures: Architecture[] }>({ url: '/training/architectures' })).architectures

export const listDatasets = async (): Promise<Dataset[]> =>
  (await request<DatasetPage>({ url: '/training/datasets' })).datasets

/** Over terrain every path is walked through the heights: that may take a minute. */
const PREVIEW_TIMEOUT_MS = 120_000

/** What a simulated network can reach: `dataset.config` as it is stored is the question, but for the voice that was sent. */
export const previewDataset = ({ config }: Dataset, target_m: number, signal: AbortSignal) => {
  const { sources: _, ...asked } = config
  return request<DatasetPreview>({
    method: 'POST',
    url: '/training/datasets/preview',
    params: { target_m },
    data: asked,
    timeout: PREVIEW_TIMEOUT_MS,
    signal,
  })
}

export const deleteDataset = (datasetId: string) =>
  request<void>({ method: 'DELETE', url: `/training/datasets/${id(datasetId)}` })

export const listModels = async (): Promise<TrainedModel[]> =>
  (await requestTagged<ModelPage>('/training/models', {})).models

export const getModel = (modelId: string) => request<TrainedModelDetail>({ url: `/training/models/${id(modelId)}` })

export const renameModel = (modelId: string, name: string) =>
  request<TrainedModel>({ method: 'PATCH', url: `/training/models/${id(modelId)}`, data: { name } })

export const deleteModel = (modelId: string, confirmName?: string) =>
  request<''>({
    method: 'DELETE',
    url: `/training/models/${id(modelId)}`,
    params: confirmName === undefined ? {} : { confirm_name: confirmName },
  })

export function exportQuery(options: ExportOptions): URLSearchParams {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(options)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, String(value))
  }
  return query
}

export interface Bundle {
  blob: Blob
  filename: string
}

export async function exportModel(modelId: string, options: ExportOptions): Promise<Bundle> {
  try {
    const url = `/training/models/${id(modelId)}/export?${exportQuery(options)}`
    const response = await http.get<Blob>(url, { responseType: 'blob', timeout: 0 })
    const disposition = String(response.headers['content-disposition'] ?? '')
    const named = /filename=("?)([^";]+)\1/.exec(disposition)?.[2]
    return { blob: response.data, filename: named ?? 'model.heimdall' }
  } catch (error) {
    throw toApiError(await withReadableBody(error))
  }
}

/** A refused download carries its Problem as a Blob; read it so that the message can be shown. */
async function withReadableBody(error: unknown): Promise<unknown> {
  const response = (error as { response?: { data?: unknown } }).response
  if (response?.data instanceof Blob) {
    const text = await response.data.text()
    try {
      response.data = JSON.parse(text)
    } catch {
      response.data = text
    }
  }
  return error
}

export { type ImportListener, type ImportResult, importModel } from './import-model'
