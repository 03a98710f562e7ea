import { AxiosError, AxiosHeaders, type AxiosResponse, type InternalAxiosRequestConfig } from 'axios'
import { http } from '@/api/client'
import type { SocketLike } from '@/api/socket-connection'
import { trainingSockets } from '@/api/training-sockets'
import type { EventFrame, TrainingJob, TrainingMetric } from '@/api/types'
import data from './fixtures.json'

export interface GalleryData {
  jobs: TrainingJob[]
  metrics: Record<string, TrainingMetric[]>
  models: typeof data.models
  /** `hang` never answers, `fail` answers 503. */
  mode: 'answer' | 'hang' | 'fail'
}

/** The fixtures' own present; their instants are moved so that it is now. */
const FIXTURE_NOW = Date.parse('2026-01-15T14:00:00Z')
const INSTANT = /"(\d{4}-\d\d-\d\dT[\d:.]+Z)"/g

function moveToNow(text: string): string {
  const offset = Date.now() - FIXTURE_NOW
  return text.replace(INSTANT, (_, instant: string) => `"${new Date(Date.parse(instant) + offset).toISOString()}"`)
}

export const fixtures = JSON.parse(moveToNow(JSON.stringify(data))) as {
  jobs: TrainingJob[]
  metrics: Record<string, TrainingMetric[]>
  models: typeof data.models
}

/** Answers every request from fixtures and opens no socket: the real page, without an engine. */
export function installFixtures(state: GalleryData): void {
  http.defaults.adapter = (config) => answer(config, state)
  trainingSockets.configure({ open: () => new QuietSocket() })
}

async function answer(config: InternalAxiosRequestConfig, state: GalleryData): Promise<AxiosResponse> {
  if (state.mode === 'hang') return new Promise(() => undefined)
  const reply = (status: number, body: unknown): AxiosResponse => ({
    data: body,
    status,
    statusText: '',
    headers: {},
    config: { ...config, headers: new AxiosHeaders() },
  })
  if (state.mode === 'fail') {
    const problem = {
      code: 'unavailable',
      detail: 'The database does not answer. It may come back by itself; look at “heimdall doctor”.',
    }
    throw new AxiosError('503', 'ERR_BAD_RESPONSE', config, null, reply(503, problem))
  }
  return reply(200, route(config.url ?? '', Number(config.params?.since ?? 0), state))
}

const LOG = Array.from(
  { length: 60 },
  (_, index) =>
    `2026-01-15T14:00:${String(index).padStart(2, '0')}Z epoch ${index + 1} of 60: loss ${(2 / (index + 1)).toFixed(4)}\n`,
).join('')

function route(url: string, since: number, { jobs, metrics, models }: GalleryData): unknown {
  const [, , noun, id, part] = url.split('/')
  if (noun === 'warnings') return { warnings: [] }
  if (noun === 'jobs') {
    if (part === 'metrics') return metrics[id ?? ''] ?? []
    if (part === 'events') return { events: lifecycleOf(jobs.find((job) => job.id === id)), last_seq: 0 }
    if (part === 'logs') return since > 0 ? '' : LOG
    return id ? jobs.find((job) => job.id === id) : { jobs, total: jobs.length, next_cursor: null }
  }
  if (noun === 'models') return id ? models.find((model) => model.id === id) : { models, total: models.length }
  if (noun === 'datasets' && id === 'preview') return data.preview
  if (noun === 'datasets') return { datasets: data.datasets, total: data.datasets.length }
  return { architectures: data.architectures }
}

/** One pause and one lost worker, where the fixture's attempts change. */
function lifecycleOf(job: TrainingJob | undefined): EventFrame[] {
  if (!job || job.attempt < 3) return []
  const frame = (event: EventFrame['event'], seq: number, epoch: number): EventFrame => ({
    event,
    seq,
    job_seq: seq,
    job_id: job.id,
    timestamp: job.created_at,
    data: { job: { ...job, current_epoch: epoch } },
  })
  return [frame('training_paused', 14, 12), frame('training_requeued', 23, 19)]
}

/** A connection that greets and then says nothing. */
class QuietSocket implements SocketLike {
  readyState = 1
  onopen = null
  onclose = null
  onerror = null
  private listener: ((event: MessageEvent) => void) | null = null

  set onmessage(listener: ((event: MessageEvent) => void) | null) {
    this.listener = listener
    const greeting = { event: 'connected', seq: null, job_id: null, timestamp: new Date().toISOString(), data: {} }
    setTimeout(() => this.listener?.(new MessageEvent('message', { data: JSON.stringify(greeting) })))
  }

  get onmessage() {
    return this.listener
  }

  send(): void {}

  close(): void {}
}
