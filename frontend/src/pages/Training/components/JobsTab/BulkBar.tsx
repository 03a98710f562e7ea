import { ChartLine, Pause, Play, Trash2, X } from 'lucide-react'
import { useShallow } from 'zustand/react/shallow'
import type { TrainingJob } from '@/api/types'
import { Button } from '@/components/ui/button'
import { plural } from '@/lib/format'
import { useTrainingStore } from '@/stores/trainingStore'
import { canCancel, canDelete, canPause, canResume, useJobActions } from '../../hooks/useJobActions'
import { MAX_RUNS } from '../../hooks/useViewState'

interface BulkBarProps {
  jobIds: ReadonlySet<string>
  numShown: number
  onSelectAll: () => void
  onClear: () => void
}

/** Sticks to the lower edge; offers only what is valid for every selected job. */
export function BulkBar({ jobIds, numShown, onSelectAll, onClear }: BulkBarProps) {
  const actions = useJobActions()
  const selected = useTrainingStore(useShallow((state) => state.jobs.filter((job) => jobIds.has(job.id))))
  const isValid = (test: (job: TrainingJob) => boolean) => selected.every(test)
  return (
    <section
      aria-label="Selected jobs"
      className="sticky bottom-3 z-20 mx-auto mt-4 flex w-fit max-w-full animate-in flex-wrap items-center gap-2 rounded-card border bg-raised p-2 pl-3 shadow-float"
    >
      <span className="font-medium" role="status">
        {plural(selected.length, 'job')} selected
      </span>
      {selected.length < numShown && (
        <Button size="sm" variant="ghost" onClick={onSelectAll}>
          Select all {numShown}
        </Button>
      )}
      {isValid(canPause) && (
        <Button size="sm" onClick={() => actions.pause(selected)}>
          <Pause /> Pause
        </Button>
      )}
      {isValid(canResume) && (
        <Button size="sm" onClick={() => actions.resume(selected)}>
          <Play /> Resume
        </Button>
      )}
      {isValid(canCancel) && (
        <Button size="sm" onClick={() => actions.cancel(selected)}>
          <X /> Cancel
        </Button>
      )}
      {isValid(canDelete) && (
        <Button size="sm" onClick={() => actions.remove(selected)}>
          <Trash2 /> Delete
        </Button>
      )}
      {selected.length <= MAX_RUNS && selected.length > 1 && (
        <Button size="sm" onClick={() => actions.showMetrics(selected.map((job) => job.id))}>
          <ChartLine /> Compare
        </Button>
      )}
      <Button size="sm" variant="ghost" onClick={onClear}>
        Clear
      </Button>
    </section>
  )
}
