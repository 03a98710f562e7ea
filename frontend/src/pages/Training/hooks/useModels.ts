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
  // A job that completes brings a model, one that loses it was deleted.
  const ofJobs = useTrainingStore((state) => state.jobs.map((job) => job.model_id ?? '').join(' '))
  // biome-ignore lint/correctness/useExhaustiveDependencies: the models are asked for anew when it changes
  useEffect(() => {
    void fetchModels()
  }, [fetchModels, ofJobs])
  return view
}
