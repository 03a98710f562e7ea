import { useEffect } from 'react'
import { statusWord } from '@/components/feedback/StatusBadge'
import { formatProgress } from '@/lib/format'
import { jobsById, runningJobs } from '@/stores/jobIndex'
import { useTrainingStore } from '@/stores/trainingStore'

/** The tab says how far the running job is: the selected one, else the newest that runs. */
export function useTabTitle(selectedId: string | undefined): void {
  const title = useTrainingStore((state) => {
    const selected = selectedId && jobsById(state.jobs).get(selectedId)
    const shown = selected || runningJobs(state.jobs)[0]
    if (!shown) return 'Training · Heimdall'
    const percent = Math.max(shown.progress_percent, state.ticks.get(shown.id)?.progress_percent ?? 0)
    const progress = shown.status === 'running' ? formatProgress(percent) : statusWord(shown.status)
    return `${progress} · ${shown.name} · Heimdall`
  })
  useEffect(() => {
    document.title = title
  }, [title])
}
