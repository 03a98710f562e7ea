import { useEffect } from 'react'
import { useShallow } from 'zustand/react/shallow'
import { useTrainingStore } from '@/stores/trainingStore'

export function useModels() {
  const view = useTrainingStore(
    useShallow(({ models, modelsState, modelsError, fetchModels }) => ({
      models,
      modelsState,
      modelsError,
      fetchModels,
    })),
  )
  const { fetchModels } = view
  useEffect(() => {
    void fetchModels()
  }, [fetchModels])
  return view
}
