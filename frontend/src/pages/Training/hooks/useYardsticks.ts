import type { Baseline, PhysicalLimit, TrainedModel } from '@/api/types'
import { jobsById } from '@/stores/jobIndex'
import { type TrainingState, useTrainingStore } from '@/stores/trainingStore'
import type { TrainingJob } from '../types'
import { useCatalogueStore } from './useCatalogue'

const NO_BASELINES: readonly Baseline[] = []

/** Measured with the run's own model; before it exists, with a model of the same data set and the same split. */
export function useBaselines(job: TrainingJob | undefined): readonly Baseline[] {
  return useTrainingStore((state) => (job && findJudge(state, job)?.baselines) || NO_BASELINES)
}

/** The Cramér-Rao bound of the run's validation split; before a model knows it, of the whole data set. None for measured data. */
export function usePhysicalLimit(job: TrainingJob | undefined): PhysicalLimit | null {
  const ofSplit = useTrainingStore((state) => (job && findJudge(state, job)?.physical_limit) || null)
  const ofData = useCatalogueStore(
    (state) => state.datasets.find((one) => one.id === job?.dataset_id)?.physical_limit ?? null,
  )
  return ofSplit ?? ofData
}

export function useRadius(job: TrainingJob | undefined): number | null {
  const own = useCatalogueStore((state) => state.datasets.find((one) => one.id === job?.dataset_id)?.accuracy_radius_m)
  return job?.config.accuracy_radius_m ?? own ?? null
}

function findJudge({ models, jobs }: TrainingState, job: TrainingJob): TrainedModel | undefined {
  const own = models.find((model) => model.id === job.model_id)
  if (own) return own
  const splitOf = (one: TrainingJob) => [one.dataset_id, one.config.validation_split, one.config.validation_fold].join()
  const split = splitOf(job)
  return models.find((model) => {
    const its = model.training_job_id ? jobsById(jobs).get(model.training_job_id) : undefined
    return its?.model_id === model.id && splitOf(its) === split
  })
}
