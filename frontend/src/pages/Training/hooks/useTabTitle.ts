import { useEffect } from 'react'
import { statusWord } from '@/components/feedback/StatusBadge'
import { formatProgress } from '@/lib/format'
import { useTrainingStore } from '@/stores/trainingStore'

/** The tab says how far the running job is: the selected one, else the newest that runs. */
export function useTabTitle(selectedId: string | undefined): void {
  const title = useTrainingStore((state) => {
    const selected = state.jobs.find((job) => job.id === selectedId)
    const shown = selected ?? state.jobs.find((job) => job.status === 'running')
    if (!shown) return 'Training · Heimdall'
    const percent = Math.max(shown.progress_percent, state.ticks.get(shown.id)?.progress_percent ?? 0)
    const progress = shown.status === 'running' ? formatProgress(percent) : statusWord(shown.status)
    return `${progress} · ${shown.name} · Heimdall`
  })
  useEffect(() => {
    document.title = title
  }, [title])
}
