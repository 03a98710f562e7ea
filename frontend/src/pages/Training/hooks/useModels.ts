import { useEffect } from 'react'
import { useShallow } from 'zustand/react/shallow'
import { usePolling } from '@/lib/polling'
import { useTrainingStore } from '@/stores/trainingStore'
import { REFRESH_MS } from './useTrainingJobs'

/** The models once they can be had, for whatever names them outside their tab. */
export function useLoadedModels(): void {
  const fetchModels = useTrainingStore((state) => state.fetchModels)
  const isOwed = useTrainingStore((state) => state.modelsError !== null)
  useEffect(() => {
    void fetchModels()
  }, [fetchModels])
  usePolling(fetchModels, REFRESH_MS, isOwed)
}

/** The models as they come: from jobs, the command line, another tab, somebody else. Asked for conditionally, like the jobs. */
export function useModels() {
  const view = useTrainingStore(
    useShallow(({ models, modelsState, modelsError, fetchModels }) => ({
      models,
      modelsState,
      modelsError,
      fetchModels,
    })),
  )
  usePolling(view.fetchModels, REFRESH_MS)
  return view
}
