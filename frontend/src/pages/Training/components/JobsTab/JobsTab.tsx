import { FilterX, FlaskConical, Plus } from 'lucide-react'
import { useCallback, useDeferredValue, useMemo, useState } from 'react'
import type { TrainingJob } from '@/api/types'
import { EmptyState, FailedState, SlowNote } from '@/components/feedback/ScreenStates'
import { Button } from '@/components/ui/button'
import { Skeleton } from '@/components/ui/skeleton'
import { searchJobs, sortJobs } from '@/lib/job-query'
import { useTrainingStore } from '@/stores/trainingStore'
import { useCatalogueStore } from '../../hooks/useCatalogue'
import { useJobActions } from '../../hooks/useJobActions'
import type { SetView, ViewState } from '../../hooks/useViewState'
import { BulkBar } from './BulkBar'
import { JobCard } from './JobCard'
import { JobGrid } from './JobGrid'
import { JobsToolbar } from './JobsToolbar'

interface JobsTabProps {
  view: ViewState
  setView: SetView
}

export function JobsTab({ view, setView }: JobsTabProps) {
  const jobs = useTrainingStore((state) => state.jobs)
  const total = useTrainingStore((state) => state.jobsTotal)
  const state = useTrainingStore((store) => store.jobsState)
  const error = useTrainingStore((store) => store.jobsError)
  const fetchJobs = useTrainingStore((store) => store.fetchJobs)
  const { create } = useJobActions()
  const shown = useShownJobs(jobs, view)
  const { selected, onSelect, setSelected } = useSelection(shown)

  if (state === 'failed')
    return (
      <FailedState
        title="The jobs could not be loaded"
        message={error?.message ?? 'The server gave no reason.'}
        onRetry={fetchJobs}
      />
    )
  if (state !== 'ready') return <JobsSkeleton />
  if (jobs.length === 0)
    return (
      <EmptyState
        icon={<FlaskConical />}
        title="No training jobs yet"
        command="heimdall train"
        action={
          <Button variant="primary" onClick={() => create()}>
            <Plus /> New training job
          </Button>
        }
      >
        A job trains one network on one data set. Its curves appear here while it runs, and its model when it is done.
      </EmptyState>
    )
  return (
    <>
      <JobsToolbar jobs={jobs} view={view} setView={setView} />
      {shown.length === 0 ? (
        <EmptyState
          icon={<FilterX />}
          title="No job matches"
          action={<Button onClick={() => setView({ q: '', status: null })}>Clear filters</Button>}
        >
          {`None of the ${jobs.length} jobs fits ${describeFilters(view)}.`}
        </EmptyState>
      ) : (
        <JobGrid
          jobs={shown}
          renderCard={(job) => (
            <JobCard
              job={job}
              isSelected={selected.some((one) => one.id === job.id)}
              isSelecting={selected.length > 0}
              onSelect={onSelect}
            />
          )}
        />
      )}
      {total > jobs.length && (
        <p className="mt-4 text-center text-sm text-muted">
          Showing the newest {jobs.length} of {total} jobs.
        </p>
      )}
      {selected.length > 0 && (
        <BulkBar
          selected={selected}
          numShown={shown.length}
          onSelectAll={() => setSelected(new Set(shown.map((job) => job.id)))}
          onClear={() => setSelected(new Set())}
        />
      )}
    </>
  )
}

/** Typing stays smooth with many jobs: the list follows a moment later, in pieces that can be interrupted. */
function useShownJobs(jobs: TrainingJob[], view: ViewState): TrainingJob[] {
  const datasets = useCatalogueStore((state) => state.datasets)
  const query = useDeferredValue(view.q)
  return useMemo(() => {
    const names = new Map(datasets.map((dataset) => [dataset.id, dataset.name]))
    const ofStatus = view.status ? jobs.filter((job) => job.status === view.status) : jobs
    return sortJobs(
      searchJobs(ofStatus, query, (job) => names.get(job.dataset_id) ?? ''),
      view.sort,
    )
  }, [jobs, datasets, query, view.status, view.sort])
}

function useSelection(shown: TrainingJob[]) {
  const [ids, setSelected] = useState<ReadonlySet<string>>(new Set())
  const onSelect = useCallback((jobId: string, isSelected: boolean) => {
    setSelected((old) => {
      const next = new Set(old)
      if (isSelected) next.add(jobId)
      else next.delete(jobId)
      return next
    })
  }, [])
  // A selected job that a filter hides is out of sight, so no action may touch it.
  const selected = useMemo(() => shown.filter((job) => ids.has(job.id)), [shown, ids])
  return { selected, onSelect, setSelected }
}

function describeFilters(view: ViewState): string {
  return [view.q && `“${view.q}”`, view.status && `status ${view.status}`].filter(Boolean).join(' and ')
}

function JobsSkeleton() {
  return (
    <div aria-busy>
      <div className="mb-4 flex gap-2">
        <Skeleton className="h-9 w-72 max-sm:h-11" />
      </div>
      <div className="grid grid-cols-1 gap-4 md:grid-cols-2 lg:grid-cols-3">
        {['a', 'b', 'c', 'd', 'e', 'f'].map((key) => (
          <Skeleton key={key} className="h-61 rounded-card" />
        ))}
      </div>
      <SlowNote what="the list of jobs" />
    </div>
  )
}
