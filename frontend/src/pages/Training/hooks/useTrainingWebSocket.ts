import { useEffect } from 'react'
import { trainingSockets } from '@/api/training-sockets'
import type { EventFrame, TrainingJob, TrainingMetric } from '@/api/types'
import { type JobUpdate, type Tick, useTrainingStore } from '@/stores/trainingStore'
import { tellOfLoss } from './useLossNotice'

trainingSockets.attach({
  onFrames(frames) {
    const { applyTogether, noteHeard } = useTrainingStore.getState()
    applyTogether(() => {
      noteHeard(frames)
      for (const frame of frames) applyFrame(frame)
    })
  },
  onState(jobId, state) {
    useTrainingStore.getState().setLink(jobId, state === 'closed' ? null : state)
  },
})

/** Keeps a job's socket open while the component is mounted. Any number of components share one connection. */
export function useTrainingWebSocket(jobId: string | null): void {
  useEffect(() => {
    if (jobId === null) return
    const known = useTrainingStore.getState().jobs.find((job) => job.id === jobId)
    return trainingSockets.retain(jobId, known?.last_seq ?? 0)
  }, [jobId])
}

/** True where something may happen soon; also a pending job, so that its first point needs no refresh. */
export function isWatched(job: Pick<TrainingJob, 'status' | 'pending_action'>): boolean {
  return job.status === 'running' || job.status === 'pending' || job.pending_action !== null
}

/** Brings one frame into the store. Frames come in order, each once. */
export function applyFrame(frame: EventFrame): void {
  const { handleJobUpdate, handleMetricUpdate, handleTick, handleJobGone, fetchModels } = useTrainingStore.getState()
  const jobId = frame.job_id
  if (!jobId) return
  const { data } = frame
  switch (frame.event) {
    case 'training_progress':
      if (typeof data.epoch !== 'number') {
        handleTick(jobId, data as unknown as Tick)
        return
      }
      handleMetricUpdate(readMetric(data))
      handleJobUpdate(readProgress(jobId, frame))
      return
    case 'training_deleted':
      handleJobGone(jobId)
      return
    case 'training_completed':
      // The new model is in the list from now on.
      void fetchModels()
      break
    case 'training_requeued':
      tellOfLoss(frame)
      break
    default:
  }
  if (data.job) handleJobUpdate(data.job as TrainingJob)
}

const JOB_FIELDS: ReadonlySet<string> = new Set([
  'status',
  'version',
  'pending_action',
  'current_epoch',
  'progress_percent',
  'total_epochs',
  'estimated_completion',
  'best_epoch',
  'best_val_loss',
  'device',
])

/**
 * The row inside a progress frame, without what belongs to the job. Built anew: after a `delete` each row would keep a hash
 * table of its own, 800 bytes of it, and a page left open holds thousands of rows.
 */
function readMetric(data: EventFrame['data']): TrainingMetric {
  const fields = Object.entries(data).filter(([field]) => !JOB_FIELDS.has(field))
  return Object.fromEntries(fields) as unknown as TrainingMetric
}

function readProgress(jobId: string, frame: EventFrame): JobUpdate {
  const update: Record<string, unknown> = { id: jobId, current_epoch: frame.data.epoch }
  const seq = frame.job_seq ?? frame.seq
  if (typeof seq === 'number') update.last_seq = seq
  // The frame has no error of the best epoch, but where this epoch is the best, its own error is it.
  if (frame.data.best_epoch === frame.data.epoch) update.best_val_error_median_m = frame.data.val_error_median_m
  for (const field of JOB_FIELDS) if (field in frame.data) update[field] = frame.data[field]
  return update as unknown as JobUpdate
}
