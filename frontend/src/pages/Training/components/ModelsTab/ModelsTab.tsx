import { Package, Upload } from 'lucide-react'
import { lazy, useState } from 'react'
import { PartBoundary } from '@/components/feedback/PartBoundary'
import { EmptyState, FailedState, SlowNote } from '@/components/feedback/ScreenStates'
import { Button } from '@/components/ui/button'
import { Skeleton } from '@/components/ui/skeleton'
import { useModels } from '../../hooks/useModels'
import type { SetView, ViewState } from '../../hooks/useViewState'
import type { TrainedModel } from '../../types'
import { DeleteModelDialog } from './DeleteModelDialog'
import { ModelCard } from './ModelCard'
import { RenameModelDialog } from './RenameModelDialog'

const ExportDialog = lazy(() => import('./ExportDialog'))
const ModelDetail = lazy(() => import('./ModelDetail'))

interface ModelsTabProps {
  view: ViewState
  setView: SetView
  onImport: () => void
}

type OpenDialog = { kind: 'export' | 'rename' | 'delete'; model: TrainedModel }

export function ModelsTab({ view, setView, onImport }: ModelsTabProps) {
  const { models, modelsState, modelsError, fetchModels } = useModels()
  const [dialog, setDialog] = useState<OpenDialog | null>(null)
  const close = () => setDialog(null)
  const open = (kind: OpenDialog['kind']) => (model: TrainedModel) => setDialog({ kind, model })

  if (modelsState === 'failed')
    return (
      <FailedState
        title="The models could not be loaded"
        message={modelsError?.message ?? 'The server gave no reason.'}
        onRetry={fetchModels}
      />
    )
  if (modelsState !== 'ready') return <ModelsSkeleton />
  const importButton = (
    <Button onClick={onImport}>
      <Upload /> Import model
    </Button>
  )
  return (
    <>
      {models.length === 0 ? (
        <EmptyState
          icon={<Package />}
          title="No models yet"
          command="heimdall model import FILE.heimdall"
          action={importButton}
        >
          Every completed training job leaves a model here. A .heimdall file from elsewhere can be imported
          <span className="pointer-coarse:hidden">, or dropped on this page</span>.
        </EmptyState>
      ) : (
        <>
          <div className="mb-4 flex items-center justify-between gap-2 print:hidden">
            <p className="text-sm text-muted pointer-coarse:hidden">
              Drop a .heimdall file anywhere on this page to import it.
            </p>
            <p className="hidden text-sm text-muted pointer-coarse:block">Choose a .heimdall file to import it.</p>
            {importButton}
          </div>
          <ul className="grid grid-cols-1 gap-4 md:grid-cols-2 lg:grid-cols-3" aria-label="Models">
            {models.map((model) => (
              <li key={model.id}>
                <ModelCard
                  model={model}
                  onOpen={() => setView({ model: model.id })}
                  onExport={open('export')}
                  onRename={open('rename')}
                  onDelete={open('delete')}
                />
              </li>
            ))}
          </ul>
        </>
      )}
      <PartBoundary
        onClose={() => {
          close()
          setView({ model: null })
        }}
      >
        {dialog?.kind === 'export' && (
          <ExportDialog
            model={dialog.model}
            onClose={close}
            onShow={() => setView({ tab: 'models', model: dialog.model.id })}
          />
        )}
        {view.model && (
          <ModelDetail
            key={view.model}
            modelId={view.model}
            onClose={() => setView({ model: null })}
            onExport={open('export')}
            onShowJob={(jobId) => setView({ tab: 'metrics', runs: [jobId], zoom: null, model: null })}
          />
        )}
      </PartBoundary>
      {dialog?.kind === 'rename' && (
        <RenameModelDialog
          model={dialog.model}
          onClose={close}
          onShow={() => setView({ tab: 'models', model: dialog.model.id })}
        />
      )}
      {dialog?.kind === 'delete' && <DeleteModelDialog model={dialog.model} onClose={close} />}
    </>
  )
}

function ModelsSkeleton() {
  return (
    <div aria-busy>
      <Skeleton className="mb-4 h-9 w-64" />
      <div className="grid grid-cols-1 gap-4 md:grid-cols-2 lg:grid-cols-3">
        {['a', 'b', 'c'].map((key) => (
          <Skeleton key={key} className="h-72 rounded-card" />
        ))}
      </div>
      <SlowNote what="the models" />
    </div>
  )
}
