import { useEffect } from 'react'
import type { EventFrame } from '@/api/types'
import { tellNotice } from '@/lib/notify'
import { useTrainingStore } from '@/stores/trainingStore'

/** What a page that was away catches up on is history, not news. */
const NEWS_FOR_MS = 60_000

type Cause = NonNullable<EventFrame['data']['cause']>

const workerLost = (name: string) => `The worker of “${name}” was lost; it goes on from its checkpoint.`

/** A worker that stops in good order gives its job back: no news. */
const NOTICES: Record<Cause, ((name: string) => string) | null> = {
  worker_stopped: null,
  worker_ended: workerLost,
  worker_silent: workerLost,
  process_lost: (name) => `The training process of “${name}” was lost; it goes on from its checkpoint.`,
  process_stuck: (name) => `The training process of “${name}” hung and was ended; it goes on from its checkpoint.`,
}

/** An older engine names no cause. */
const unexplained = (name: string) => `“${name}” is back in the queue; it goes on from its checkpoint.`

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

/** A lost job goes on so soon that its card hardly shows it. Only what the list does not hold already is told. */
export function tellOfLoss({ job_id: jobId, data, timestamp }: EventFrame): void {
  const { jobs, clockAhead } = useTrainingStore.getState()
  const job = jobs.find((one) => one.id === jobId)
  if (!jobId || !job || Number(data.version) <= job.version) return
  if (Date.now() - (Date.parse(timestamp) + (clockAhead ?? 0)) > NEWS_FOR_MS) return
  const say = data.cause ? NOTICES[data.cause] : unexplained
  if (!say) return
  tellNotice(`worker-lost:${jobId}`, say(job.name), { label: 'Show', onClick: () => showJob?.(jobId) })
}
