import type { EventFrame, TrainingJob, TrainingMetric } from '@/api/types'
import data from '@/gallery/fixtures.json'

/** Payloads as the engine writes them; tests change only what they are about. */
const jobs = data.jobs as unknown as TrainingJob[]
const metrics = data.metrics as unknown as Record<string, TrainingMetric[]>

export function makeJob(changes: Partial<TrainingJob> = {}): TrainingJob {
  const [job] = jobs
  if (!job) throw new Error('the fixtures hold no job')
  return { ...job, ...changes }
}

export function makeMetric(epoch: number, changes: Partial<TrainingMetric> = {}): TrainingMetric {
  const job = makeJob()
  const row = metrics[job.id]?.[0]
  if (!row) throw new Error('the fixtures hold no metric')
  return { ...row, epoch, attempt: 1, ...changes }
}

export function makeFrame(seq: number | null, changes: Partial<EventFrame> = {}): EventFrame {
  const jobId = makeJob().id
  return {
    event: 'training_progress',
    seq,
    job_seq: seq,
    job_id: jobId,
    timestamp: new Date().toISOString(),
    data: {
      ...makeMetric(seq ?? 1),
      status: 'running',
      version: 100 + (seq ?? 0),
      pending_action: null,
      progress_percent: 1,
    },
    ...changes,
  }
}
