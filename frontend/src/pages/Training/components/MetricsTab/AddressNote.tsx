import { useShallow } from 'zustand/react/shallow'
import { Button } from '@/components/ui/button'
import { plural, shortName } from '@/lib/format'
import { jobsById } from '@/stores/jobIndex'
import { useTrainingStore } from '@/stores/trainingStore'
import { MAX_RUNS, type SetView, type ViewState } from '../../hooks/useViewState'

/** What the address names and the charts do not show, in words: a sent link must not lose runs in silence. */
export function AddressNote({ view, setView }: { view: ViewState; setView: SetView }) {
  const { runs, surplus } = view
  const names = useTrainingStore(
    useShallow((state) => surplus.map((jobId) => jobsById(state.jobs).get(jobId)?.name ?? 'a job that is not here')),
  )
  const known = useTrainingStore(useShallow((state) => runs.filter((jobId) => jobsById(state.jobs).has(jobId))))
  const numGone = known.length > 0 ? runs.length - known.length : 0
  if (surplus.length === 0 && numGone === 0) return null
  return (
    <div
      role="status"
      data-testid="address-note"
      className="flex flex-wrap items-center gap-x-3 gap-y-2 rounded-control border bg-card px-3 py-2 text-sm"
    >
      <p className="min-w-0">
        {surplus.length > 0 &&
          `This address names ${runs.length + surplus.length} runs, and at most ${MAX_RUNS} are compared. Not shown: ${names.map(shortName).join('; ')}. `}
        {numGone > 0 &&
          `${plural(numGone, 'run')} of this address ${numGone === 1 ? 'was' : 'were'} deleted or ${numGone === 1 ? 'belongs' : 'belong'} to another installation.`}
      </p>
      <Button size="sm" className="ml-auto" onClick={() => setView({ runs: known }, { replace: true })}>
        Leave {surplus.length + numGone === 1 ? 'it' : 'them'} out
      </Button>
    </div>
  )
}
