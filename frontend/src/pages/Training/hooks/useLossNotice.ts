import { useEffect } from 'react'
import type { EventFrame, TrainingJob } from '@/api/types'
import { formatCount } from '@/lib/format'
import { tellNotice } from '@/lib/notify'
import { useTrainingStore } from '@/stores/trainingStore'

/** What a page that was away catches up on is history, not news. */
const NEWS_FOR_MS = 60_000

type Cause = NonNullable<EventFrame['data']['cause']>

/** A worker that stops in good order gives its job back: no news. */
const LOSSES: Record<Cause, ((name: string) => string) | null> = {
  worker_stopped: null,
  worker_ended: (name) => `The worker of “${name}” was lost`,
  worker_silent: (name) => `The worker of “${name}” was lost`,
  process_lost: (name) => `The training process of “${name}” was lost`,
  process_stuck: (name) => `The training process of “${name}” hung and was ended`,
}

/** An older engine names no cause. */
const unexplained = (name: string) => `“${name}” is back in the queue`

/** With what the job's newest checkpoint holds; null where it has none, undefined where the event does not say. */
function goesOn(checkpoint: TrainingJob['checkpoint'] | undefined): string {
  if (checkpoint === null) return 'it starts again when a worker is free.'
  // Of a checkpoint inside the first epoch no epoch is done.
  const from = checkpoint?.epoch ? `after epoch ${formatCount(checkpoint.epoch)}` : 'from its checkpoint'
  return `it goes on ${from} when a worker is free.`
}

let showJob: ((jobId: string) => void) | null = null

/** Lets the notice of a lost worker lead to its job. */
export function useLossNotice(show: (jobId: string) => void): void {
  useEffect(() => {
    showJob = show
    return () => {
      showJob = null
    }
  }, [show])
}

/** Where a worker is free, a lost job goes on so soon that its card hardly shows it. Only what the list does not hold already is told. */
export function tellOfLoss({ job_id: jobId, data, timestamp }: EventFrame): void {
  const { jobs, clockAhead } = useTrainingStore.getState()
  const job = jobs.find((one) => one.id === jobId)
  if (!jobId || !job || Number(data.version) <= job.version) return
  if (Date.now() - (Date.parse(timestamp) + (clockAhead ?? 0)) > NEWS_FOR_MS) return
  const say = data.cause ? LOSSES[data.cause] : unexplained
  if (!say) return
  const told = data.job as TrainingJob | undefined
  tellNotice(`worker-lost:${jobId}`, `${say(job.name)}; ${goesOn(told?.checkpoint)}`, {
    label: 'Show',
    onClick: () => showJob?.(jobId),
  })
}
