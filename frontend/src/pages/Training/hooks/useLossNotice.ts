import { useEffect } from 'react'
import type { EventFrame } from '@/api/types'
import { tellNotice } from '@/lib/notify'
import { useTrainingStore } from '@/stores/trainingStore'

/** What a page that was away catches up on is history, not news. */
const NEWS_FOR_MS = 60_000
/** A worker that stops in good order gives its job back and says so. */
const GIVEN_BACK = 'The worker was stopped'

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
  if (String(data.reason ?? '').startsWith(GIVEN_BACK)) return
  tellNotice(`worker-lost:${jobId}`, `The worker of “${job.name}” was lost; it goes on from its checkpoint.`, {
    label: 'Show',
    onClick: () => showJob?.(jobId),
  })
}
