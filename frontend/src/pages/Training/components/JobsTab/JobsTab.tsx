import { FilterX, FlaskConical, Plus } from 'lucide-react'
import { memo, useCallback, useDeferredValue, useMemo, useState } from 'react'
import { useShallow } from 'zustand/react/shallow'
import type { TrainingJob } from '@/api/types'
import { EmptyState, FailedState, SlowNote } from '@/components/feedback/ScreenStates'
import { Button } from '@/components/ui/button'
import { Skeleton } from '@/components/ui/skeleton'
import { plural } from '@/lib/format'
import { explainQuery, searchJobs, sortJobs } from '@/lib/job-query'
import { useJob } from '@/stores/jobIndex'
import { useTrainingStore } from '@/stores/trainingStore'
import { useCatalogueStore } from '../../hooks/useCatalogue'
import { useJobActions } from '../../hooks/useJobActions'
import type { SetView, ViewState } from '../../hooks/useViewState'
import { BulkBar } from './BulkBar'
import { JobCard, type JobCardProps } from './JobCard'
import { JobGrid } from './JobGrid'
import { JobsToolbar } from './JobsToolbar'

interface JobsTabProps {
  view: ViewState
  setView: SetView
}

export function JobsTab({ view, setView }: JobsTabProps) {
  const numJobs = useTrainingStore((store) => store.jobs.length)
  const total = useTrainingStore((store) => store.jobsTotal)
  const state = useTrainingStore((store) => store.jobsState)
  const error = useTrainingStore((store) => store.jobsError)
  const fetchJobs = useTrainingStore((store) => store.fetchJobs)
  const { create } = useJobActions()
  const shown = useShownIds(view)
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
  if (numJobs === 0)
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
      <JobsToolbar view={view} setView={setView} />
      {shown.length === 0 ? (
        <EmptyState
          icon={<FilterX />}
          title="No job matches"
          action={<Button onClick={() => setView({ q: '', status: null })}>Clear filters</Button>}
        >
          {explainQuery(view.q) ?? `None of the ${plural(numJobs, 'job')} fits ${describeFilters(view)}.`}
        </EmptyState>
      ) : (
        <JobGrid
          jobIds={shown}
          renderCard={(jobId) => (
            <ShownCard
              jobId={jobId}
              isSelected={selected.has(jobId)}
              isSelecting={selected.size > 0}
              onSelect={onSelect}
            />
          )}
        />
      )}
      {total > numJobs && (
        <p className="mt-4 text-center text-sm text-muted">
          Showing the newest {numJobs} of {total} jobs.
        </p>
      )}
      {selected.size > 0 && (
        <>
          <div className="h-(--dock)" aria-hidden />
          <BulkBar
            jobIds={selected}
            numShown={shown.length}
            onSelectAll={() => setSelected(new Set(shown))}
            onClear={() => setSelected(NONE)}
          />
        </>
      )}
    </>
  )
}

/** News of one job render its card and nothing else. */
const ShownCard = memo(function ShownCard({ jobId, ...props }: Omit<JobCardProps, 'job'> & { jobId: string }) {
  const job = useJob(jobId)
  return job ? <JobCard job={job} {...props} /> : null
})

/**
 * The ids to show, in order. They change when the list does, not when a job of it moves on.
 * Typing stays smooth with many jobs: the list follows a moment later, in pieces that can be interrupted.
 */
function useShownIds(view: ViewState): string[] {
  const datasets = useCatalogueStore((state) => state.datasets)
  const query = useDeferredValue(view.q)
  const { status, sort } = view
  const choose = useMemo(() => {
    const names = new Map(datasets.map((dataset) => [dataset.id, dataset.name]))
    let last: { jobs: TrainingJob[]; ids: string[] } | null = null
    return (jobs: TrainingJob[]): string[] => {
      if (last?.jobs === jobs) return last.ids
      const ofStatus = status ? jobs.filter((job) => job.status === status) : jobs
      const found = searchJobs(ofStatus, query, (job) => names.get(job.dataset_id) ?? '')
      last = { jobs, ids: sortJobs(found, sort).map((job) => job.id) }
      return last.ids
    }
  }, [datasets, query, status, sort])
  return useTrainingStore(useShallow((state) => choose(state.jobs)))
}

const NONE: ReadonlySet<string> = new Set()

function useSelection(shown: readonly string[]) {
  const [ids, setSelected] = useState(NONE)
  const onSelect = useCallback((jobId: string, isSelected: boolean) => {
    setSelected((old) => {
      const next = new Set(old)
      if (isSelected) next.add(jobId)
      else next.delete(jobId)
      return next
    })
  }, [])
  // A selected job that a filter hides is out of sight, so no action may touch it.
  const selected = useMemo(() => (ids.size === 0 ? NONE : new Set(shown.filter((id) => ids.has(id)))), [shown, ids])
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
          <Skeleton key={key} className="h-64 rounded-card" />
        ))}
      </div>
      <SlowNote what="the list of jobs" />
    </div>
  )
}
