import { Plus } from 'lucide-react'
import { lazy, useCallback, useEffect, useState } from 'react'
import { PartBoundary } from '@/components/feedback/PartBoundary'
import { Button } from '@/components/ui/button'
import { Skeleton } from '@/components/ui/skeleton'
import { Tabs, TabsContent, TabsList, TabsTrigger } from '@/components/ui/tabs'
import { JobActionsProvider, loadCreateJobDialog } from './components/JobsTab/JobActionsProvider'
import { JobDrawer } from './components/JobsTab/JobDrawer'
import { JobsTab } from './components/JobsTab/JobsTab'
import { DropZone } from './components/ModelsTab/DropZone'
import { ModelsTab } from './components/ModelsTab/ModelsTab'
import { useCatalogue } from './hooks/useCatalogue'
import { useJobActions } from './hooks/useJobActions'
import { useLoadedModels } from './hooks/useModels'
import { useShortcuts } from './hooks/useShortcuts'
import { useTabTitle } from './hooks/useTabTitle'
import { useTrainingJobs } from './hooks/useTrainingJobs'
import { type SetView, type TabName, useViewState, type ViewState } from './hooks/useViewState'

// The chart library is the largest part of the page and only this tab needs it.
const loadMetricsTab = () => import('./components/MetricsTab/MetricsTab')
const MetricsTab = lazy(loadMetricsTab)
// A load that fails here is tried again, and said, where the tab is opened.
const preloadMetricsTab = () => void loadMetricsTab().catch(() => undefined)
const ImportDialog = lazy(() => import('./components/ModelsTab/ImportDialog'))

export default function TrainingPage() {
  const [view, setView] = useViewState()
  useTrainingJobs()
  useCatalogue()
  useLoadedModels()
  useTabTitle(view.tab === 'metrics' ? view.runs[0] : undefined)
  usePreloadedParts()
  return (
    <JobActionsProvider setView={setView}>
      <Page view={view} setView={setView} />
      <JobDrawer view={view} setView={setView} />
    </JobActionsProvider>
  )
}

function Page({ view, setView }: { view: ViewState; setView: SetView }) {
  const { create } = useJobActions()
  const [importing, setImporting] = useState<{ file: File | null } | null>(null)
  const openImport = useCallback((file: File | null = null) => setImporting({ file }), [])
  useShortcuts({
    n: () => create(),
    'g j': () => setView({ tab: 'jobs' }),
    'g m': () => setView({ tab: 'metrics' }),
    'g o': () => setView({ tab: 'models' }),
  })
  return (
    <main className="mx-auto max-w-[1600px] px-4 pt-5 pb-10 sm:px-6">
      <div className="mb-2 flex items-center justify-between gap-3">
        <h1 className="text-xl font-semibold">Training</h1>
        <Button variant="primary" onClick={() => create()}>
          <Plus /> New training job
        </Button>
      </div>
      <Tabs value={view.tab} onValueChange={(tab) => setView({ tab: tab as TabName })}>
        <TabsList className="sticky top-0 z-20 bg-ground max-sm:-mx-4 max-sm:px-4" aria-label="Training">
          <TabsTrigger value="jobs">Jobs</TabsTrigger>
          <TabsTrigger value="metrics" onPointerEnter={preloadMetricsTab}>
            Metrics
          </TabsTrigger>
          <TabsTrigger value="models">Models</TabsTrigger>
        </TabsList>
        <TabsContent value="jobs" tabIndex={-1}>
          <JobsTab view={view} setView={setView} />
        </TabsContent>
        <TabsContent value="metrics" tabIndex={-1}>
          <PartBoundary fallback={<Skeleton className="h-96 rounded-card" />}>
            <MetricsTab view={view} setView={setView} />
          </PartBoundary>
        </TabsContent>
        <TabsContent value="models" tabIndex={-1}>
          <ModelsTab view={view} setView={setView} onImport={() => openImport()} />
        </TabsContent>
      </Tabs>
      <DropZone onDrop={openImport} />
      <PartBoundary onClose={() => setImporting(null)}>
        {importing && (
          <ImportDialog
            key={importing.file?.name ?? 'chosen'}
            dropped={importing.file}
            onClose={() => setImporting(null)}
            onShow={(modelId) => {
              setImporting(null)
              setView({ tab: 'models', model: modelId })
            }}
          />
        )}
      </PartBoundary>
    </main>
  )
}

/** Once the first view stands and nothing else is to do, charts and form are fetched: they open at once, also while the server is away. */
function usePreloadedParts(): void {
  useEffect(() => {
    const load = () => Promise.allSettled([loadMetricsTab(), loadCreateJobDialog()])
    const timer = setTimeout(() => load(), 2500)
    return () => clearTimeout(timer)
  }, [])
}
