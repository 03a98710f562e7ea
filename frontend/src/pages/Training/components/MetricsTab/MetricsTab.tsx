import { ChartLine, ChartNoAxesColumn } from 'lucide-react'
import { useCallback, useMemo, useRef, useState } from 'react'
import { useShallow } from 'zustand/react/shallow'
import { EdgesContext, PlotEdges } from '@/components/charts/edges'
import type { Zoom } from '@/components/charts/HoverLayer'
import { HoverContext, HoverLine } from '@/components/charts/hover'
import { growDomain, useSame } from '@/components/charts/steady'
import { EmptyState, FailedState, SlowNote } from '@/components/feedback/ScreenStates'
import { Button } from '@/components/ui/button'
import { Skeleton } from '@/components/ui/skeleton'
import { epochsOfWindow, makeX } from '@/lib/curves'
import { jobsById } from '@/stores/jobIndex'
import { whyPartial } from '@/stores/trainingState'
import { useTrainingStore } from '@/stores/trainingStore'
import { useRunMarks } from '../../hooks/useRunMarks'
import { useTrainingMetrics, useZoomedRows } from '../../hooks/useTrainingMetrics'
import { isWatched } from '../../hooks/useTrainingWebSocket'
import type { SetView, ViewState } from '../../hooks/useViewState'
import type { TrainingJob, TrainingMetric } from '../../types'
import { AddressNote } from './AddressNote'
import { Charts } from './Charts'
import { type ChartView, fitWindow, fullDomain, RUN_COLORS, type RunView } from './chart-model'
import { MetricsToolbar } from './MetricsToolbar'
import { newestRuns, sayNoEpoch } from './run-choices'

interface MetricsTabProps {
  view: ViewState
  setView: SetView
}

const NO_ROWS: TrainingMetric[] = []

export default function MetricsTab({ view, setView }: MetricsTabProps) {
  const isLoaded = useTrainingStore((state) => state.jobsState !== 'idle' && state.jobsState !== 'loading')
  const hasJobs = useTrainingStore((state) => state.jobs.length > 0)
  const chosen = useTrainingStore(useShallow((state) => view.runs.filter((id) => jobsById(state.jobs).has(id))))
  const isMissing = isLoaded && view.runs.length > 0 && chosen.length === 0
  const fetchJobs = useTrainingStore((state) => state.fetchJobs)
  const fault = useTrainingStore((state) => (state.jobsState === 'failed' ? state.jobsError : null))
  if (!isLoaded) return <MetricsSkeleton />
  if (fault !== null)
    return <FailedState title="The jobs could not be loaded" message={fault.message} onRetry={fetchJobs} />
  return (
    <div className="flex flex-col gap-3">
      <MetricsToolbar runIds={chosen} view={view} setView={setView} />
      <AddressNote view={view} setView={setView} />
      {chosen.map((id) => (
        <RunFeed key={id} jobId={id} />
      ))}
      {chosen.length > 0 ? (
        <Runs runIds={chosen} view={view} setView={setView} />
      ) : (
        <EmptyState
          icon={<ChartLine />}
          title={isMissing ? 'This job is not here' : 'No job selected'}
          action={<NewestRuns onSelect={(id) => setView({ runs: [id], zoom: null })} />}
        >
          {isMissing
            ? 'The job of this address was deleted or belongs to another installation. Choose another one above.'
            : hasJobs
              ? 'Choose a training job above, or one of the newest, to see its curves.'
              : 'There is no job yet. Create one in the Jobs tab; its curves appear here from the first epoch on.'}
        </EmptyState>
      )}
    </div>
  )
}

/** The runs that most people come for, one click away: those that run now, then the newest. */
function NewestRuns({ onSelect }: { onSelect: (jobId: string) => void }) {
  const runs = useTrainingStore(useShallow((state) => newestRuns(state.jobs)))
  return runs.map((job) => (
    <Button key={job.id} className="min-w-0 max-w-full shrink" onClick={() => onSelect(job.id)}>
      <span className="min-w-0 truncate">
        {job.name} <span className="text-muted">{[job.status, sayNoEpoch(job)].filter(Boolean).join(', ')}</span>
      </span>
    </Button>
  ))
}

/** Keeps one run's rows fresh; draws nothing. */
function RunFeed({ jobId }: { jobId: string }) {
  useTrainingMetrics(jobId)
  return null
}

/** Of a window by time. */
const LEAST_SECONDS = 0.01

interface RunsProps extends MetricsTabProps {
  runIds: string[]
}

function Runs({ runIds, view, setView }: RunsProps) {
  const jobs = useTrainingStore(useShallow((state) => runIds.map((id) => jobsById(state.jobs).get(id))))
  const rowsOf = useTrainingStore(useShallow((state) => runIds.map((id) => state.metrics.get(id) ?? NO_ROWS)))
  const firstInfo = useTrainingStore((state) => state.metricsInfo.get(runIds[0] ?? ''))
  const partials = useTrainingStore(useShallow((state) => runIds.map((id) => whyPartial(state.metricsInfo.get(id)))))
  const fetchMetrics = useTrainingStore((state) => state.fetchMetrics)
  const [hover] = useState(() => new HoverLine())
  const [edges] = useState(() => new PlotEdges())
  const runs = useMemo<RunView[]>(
    () =>
      jobs.flatMap((job, index) =>
        job
          ? [
              {
                job,
                rows: rowsOf[index] ?? NO_ROWS,
                color: RUN_COLORS[index] ?? 'var(--chart-gray)',
                partial: partials[index] ?? null,
              },
            ]
          : [],
      ),
    [jobs, rowsOf, partials],
  )
  const extent = useRef<{ domain: [number, number]; least: number }>({ domain: [0, 1], least: 1 })
  const onZoom = useCallback(
    (zoom: Zoom) =>
      setView({ zoom: zoom && fitWindow(zoom, extent.current.domain, extent.current.least) }, { replace: true }),
    [setView],
  )
  const onHide = useCallback(
    (hidden: ReadonlySet<string>) => setView({ hide: [...hidden] }, { replace: true }),
    [setView],
  )
  const { whole, shown } = useChartViews(runs, view)
  extent.current = { domain: whole.xDomain, least: whole.xKind === 'epoch' ? 1 : LEAST_SECONDS }

  // Live rows that come before the stored ones are not drawn alone: everything would move again.
  if (firstInfo?.state !== 'ready' && firstInfo?.state !== 'failed') return <MetricsSkeleton />
  const numRows = rowsOf.reduce((sum, rows) => sum + rows.length, 0)
  if (numRows === 0 && firstInfo.state === 'failed')
    return (
      <FailedState
        title="The metrics could not be loaded"
        message={firstInfo.error?.message ?? 'The server gave no reason.'}
        onRetry={() => runIds[0] && void fetchMetrics(runIds[0])}
      />
    )
  if (numRows === 0)
    return (
      <EmptyState icon={<ChartNoAxesColumn />} title="No metrics yet">
        {describeWait(runs[0]?.job)}
      </EmptyState>
    )
  return (
    <HoverContext value={hover}>
      <EdgesContext value={edges}>
        <Charts whole={whole} shown={shown} onZoom={onZoom} onHide={onHide} />
      </EdgesContext>
    </HoverContext>
  )
}

/** The same runs twice: whole, for the strip; and as the window shows them, at the window's own resolution. */
function useChartViews(runs: RunView[], view: ViewState): { whole: ChartView; shown: ChartView } {
  const { x: xKind, smooth, log } = view
  // The address is read anew with every change of it; what did not change must not look changed.
  const zoom = useSame(view.zoom)
  const hide = useSame(view.hide)
  const hidden = useMemo(() => new Set(hide), [hide])
  const windows = useMemo(
    () => runs.map(({ job, rows }) => (zoom ? epochsOfWindow(rows, zoom, makeX(xKind, job.started_at, rows)) : null)),
    [runs, zoom, xKind],
  )
  const sources = useMemo(() => runs.map(({ job, rows }) => ({ id: job.id, rows })), [runs])
  const zoomed = useZoomedRows(sources, windows)
  const marks = useRunMarks(runs, xKind)
  const isLive = zoom === null && runs.some(({ job }) => isWatched(job))
  const known = useRef<{ kind: string; domain: [number, number] } | null>(null)
  const full = useMemo(() => fullDomain(runs, xKind), [runs, xKind])
  const before = known.current?.kind === xKind ? known.current.domain : null
  const xDomain = useSame(isLive ? growDomain(before, full, xKind === 'epoch' ? 2 : 1) : full)
  known.current = { kind: xKind, domain: xDomain }
  const whole = useMemo<ChartView>(
    () => ({ runs, xKind, xDomain, zoom, smoothing: smooth, isLogY: log, marks, hidden, isLive }),
    [runs, xKind, xDomain, zoom, smooth, log, marks, hidden, isLive],
  )
  const shown = useMemo<ChartView>(
    () => ({
      ...whole,
      runs: whole.runs.map((run, index) => ({ ...run, rows: zoomed[index] ?? run.rows, whole: run.rows })),
      xDomain: zoom ?? whole.xDomain,
    }),
    [whole, zoomed, zoom],
  )
  return { whole, shown }
}

function describeWait(job: TrainingJob | undefined): string {
  if (job?.status === 'pending')
    return 'The job waits for a worker. Its first point comes with the end of its first epoch.'
  if (job?.status === 'running') return 'The first epoch is under way. Its point appears here when it ends.'
  if (job?.status === 'paused')
    return 'The job was paused before its first epoch ended. Resume it to get the first point.'
  return 'This job ended before its first epoch did, so there is nothing to draw.'
}

function MetricsSkeleton() {
  return (
    <div aria-busy className="flex flex-col gap-4">
      <Skeleton className="h-9 w-80 max-w-full max-sm:h-11" />
      <div className="grid gap-4 xl:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="flex flex-col gap-4">
          {['a', 'b', 'c'].map((key) => (
            <Skeleton key={key} className="h-76 rounded-card" />
          ))}
        </div>
        <Skeleton className="h-80 rounded-card max-xl:hidden" />
      </div>
      <SlowNote what="the metrics" />
    </div>
  )
}
