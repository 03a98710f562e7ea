import type { TrainingJob, TrainingMetric } from '@/api/types'
import { fixtures, type GalleryData } from './transport'

export interface GalleryState {
  id: string
  name: string
  query: string
  data: () => GalleryData
}

const idOf = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
const whole = (changes: Partial<GalleryData> = {}): GalleryData => ({ ...fixtures, mode: 'answer', ...changes })

/** The same job many times, each with its own id and name. */
function manyJobs(count: number): TrainingJob[] {
  return Array.from({ length: count }, (_, index) => {
    const job = fixtures.jobs[index % fixtures.jobs.length]
    if (!job) throw new Error('the fixtures hold no job')
    return { ...job, id: idOf(1000 + index), name: `${job.name} ${index + 1}` }
  })
}

/** A long run by formula, with one spike that no thinning may hide. */
function longRun(epochs: number): TrainingMetric[] {
  const [template] = fixtures.metrics[idOf(1)] ?? []
  if (!template) throw new Error('the fixtures hold no metric')
  return Array.from({ length: epochs }, (_, index) => {
    const epoch = index + 1
    const fade = Math.exp(-epoch / (epochs / 6))
    const wave = 0.03 * Math.sin(epoch * 0.9) + 0.02 * Math.sin(epoch * 0.013)
    const spike = epoch === Math.round(epochs * 0.62) ? 4 : 0
    return {
      ...template,
      epoch,
      attempt: 1,
      train_loss: 0.4 + 2 * fade + wave,
      val_loss: 0.5 + 2 * fade + wave + spike,
    }
  })
}

const metricsOf = (number: number) => `tab=metrics&runs=${idOf(number)}`

export const STATES: GalleryState[] = [
  { id: 'jobs', name: 'Jobs in every status', query: '', data: whole },
  { id: 'jobs-empty', name: 'No jobs yet', query: '', data: () => whole({ jobs: [] }) },
  { id: 'jobs-filtered', name: 'Filtered to nothing', query: 'q=nothing-like-this', data: whole },
  { id: 'jobs-loading', name: 'Loading', query: '', data: () => whole({ mode: 'hang' }) },
  { id: 'jobs-failed', name: 'Failed to load', query: '', data: () => whole({ mode: 'fail' }) },
  { id: 'jobs-500', name: '500 jobs', query: '', data: () => whole({ jobs: manyJobs(500) }) },
  { id: 'job-failed', name: 'Details of a failed job', query: `open=${idOf(5)}`, data: whole },
  { id: 'job-log', name: 'Log', query: `open=${idOf(1)}&panel=log`, data: whole },
  { id: 'metrics', name: 'Running, three attempts', query: metricsOf(1), data: whole },
  { id: 'metrics-nan', name: 'Completed, one epoch not finite', query: metricsOf(6), data: whole },
  { id: 'metrics-one', name: 'One point', query: metricsOf(7), data: whole },
  { id: 'metrics-none', name: 'Before the first point', query: metricsOf(3), data: whole },
  { id: 'metrics-choose', name: 'No job selected', query: 'tab=metrics', data: whole },
  { id: 'metrics-zoom', name: 'Zoomed and smoothed', query: `${metricsOf(6)}&zoom=10..30&smooth=0.6`, data: whole },
  {
    id: 'metrics-compare',
    name: 'Three runs compared',
    query: `tab=metrics&runs=${[6, 1, 8].map(idOf).join(',')}`,
    data: whole,
  },
  {
    id: 'metrics-10000',
    name: '10 000 points',
    query: metricsOf(6),
    data: () => whole({ metrics: { ...fixtures.metrics, [idOf(6)]: longRun(10_000) } }),
  },
  { id: 'models', name: 'Models', query: 'tab=models', data: whole },
  { id: 'models-empty', name: 'No models yet', query: 'tab=models', data: () => whole({ models: [] }) },
  { id: 'model', name: 'Model detail', query: 'tab=models&model=model-1', data: whole },
]
