import { getJob } from '@/api/training'
import { usePolling } from '@/lib/polling'
import { useTrainingStore } from '@/stores/trainingStore'

export const REFRESH_MS = 5000
/** A running job not heard of for this long is asked after directly: its heartbeat does not change the list's ETag. */
const ASK_AFTER_MS = 3000

/** The safety net under the socket: the whole list every five seconds, conditionally. */
export function useTrainingJobs(): void {
  usePolling(async () => {
    await useTrainingStore.getState().fetchJobs()
    await askAfterSilentJobs()
  }, REFRESH_MS)
}

async function askAfterSilentJobs(): Promise<void> {
  const { jobs, jobHeardAt, handleJobUpdate } = useTrainingStore.getState()
  const quiet = jobs.filter(
    (job) => job.status === 'running' && Date.now() - (jobHeardAt.get(job.id) ?? 0) > ASK_AFTER_MS,
  )
  for (const job of quiet.slice(0, 20)) {
    try {
      handleJobUpdate(await getJob(job.id))
    } catch {
      // The list's own failure is shown already; this look was only a second opinion.
      return
    }
  }
}
