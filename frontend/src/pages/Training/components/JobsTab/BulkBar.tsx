import { ChartLine, Pause, Play, Trash2, X } from 'lucide-react'
import { useRef } from 'react'
import { useShallow } from 'zustand/react/shallow'
import type { TrainingJob } from '@/api/types'
import { Button } from '@/components/ui/button'
import { useDock } from '@/lib/dock'
import { plural } from '@/lib/format'
import { useTrainingStore } from '@/stores/trainingStore'
import { canCancel, canDelete, canPause, canResume, type JobActions, useJobActions } from '../../hooks/useJobActions'
import { MAX_RUNS } from '../../hooks/useViewState'

interface BulkBarProps {
  jobIds: ReadonlySet<string>
  numShown: number
  onSelectAll: () => void
  onClear: () => void
}

interface BulkAction {
  verb: string
  icon: typeof Pause
  isValid: (job: TrainingJob) => boolean
  act: (actions: JobActions, jobs: TrainingJob[], numSelected: number) => void
}

const ACTIONS: BulkAction[] = [
  { verb: 'Pause', icon: Pause, isValid: canPause, act: (actions, jobs) => actions.pause(jobs) },
  { verb: 'Resume', icon: Play, isValid: canResume, act: (actions, jobs) => actions.resume(jobs) },
  {
    verb: 'Cancel',
    icon: X,
    isValid: canCancel,
    act: (actions, jobs, numSelected) => actions.cancel(jobs, numSelected - jobs.length),
  },
  {
    verb: 'Delete',
    icon: Trash2,
    isValid: canDelete,
    act: (actions, jobs, numSelected) => actions.remove(jobs, numSelected - jobs.length),
  },
]

const labelBulk = (verb: string, numValid: number, numSelected: number): string =>
  numValid < numSelected ? `${verb} ${numValid} of ${numSelected}` : numSelected > 1 ? `${verb} ${numSelected}` : verb

/** px from the lower edge. */
const DISTANCE_PX = 12

/** Stands at the lower edge; offers what is valid for at least one selected job, says for how many, and does it with those alone. */
export function BulkBar({ jobIds, numShown, onSelectAll, onClear }: BulkBarProps) {
  const actions = useJobActions()
  const bar = useRef<HTMLElement>(null)
  useDock(bar, DISTANCE_PX)
  const selected = useTrainingStore(useShallow((state) => state.jobs.filter((job) => jobIds.has(job.id))))
  const compared = selected.slice(0, MAX_RUNS)
  const some = (verb: string, jobs: readonly unknown[]) => labelBulk(verb, jobs.length, selected.length)
  return (
    <section
      ref={bar}
      aria-label="Selected jobs"
      className="fixed inset-x-3 bottom-3 z-20 mx-auto flex w-fit animate-in flex-wrap items-center gap-2 rounded-card border bg-raised p-2 pl-3 shadow-float"
    >
      <span className="font-medium" role="status">
        {plural(selected.length, 'job')} selected
      </span>
      {selected.length < numShown && (
        <Button size="sm" variant="ghost" onClick={onSelectAll}>
          Select all {numShown}
        </Button>
      )}
      {ACTIONS.map(({ verb, icon: Icon, isValid, act }) => {
        const jobs = selected.filter(isValid)
        if (jobs.length === 0) return null
        return (
          <Button key={verb} size="sm" onClick={() => act(actions, jobs, selected.length)}>
            <Icon /> {some(verb, jobs)}
          </Button>
        )
      })}
      {selected.length > 1 && (
        <Button size="sm" onClick={() => actions.showMetrics(compared.map((job) => job.id))}>
          <ChartLine /> {some('Compare', compared)}
        </Button>
      )}
      <Button size="sm" variant="ghost" onClick={onClear}>
        Clear
      </Button>
    </section>
  )
}
