import type { Baseline, PhysicalLimit, TrainedModel } from '@/api/types'
import { useIsLate } from '@/lib/clock'
import { jobsById } from '@/stores/jobIndex'
import { type TrainingState, useTrainingStore } from '@/stores/trainingStore'
import type { TrainingJob } from '../types'
import { useCatalogueStore } from './useCatalogue'

interface Yardsticks {
  /** Measured with the run's own model; before it exists, with a model of the same data set and the same split. */
  baselines: readonly Baseline[]
  /** The Cramér-Rao bound of that split; before a model knows it, of the whole data set. None for measured data. */
  limit: PhysicalLimit | null
  /** Neither is known before the models are; whoever waited long enough shows the rest without them. */
  isLoading: boolean
}

const PATIENCE_MS = 5000
const NO_BASELINES: readonly Baseline[] = []

/** What a run's curves stand beside. */
export function useYardsticks(job: TrainingJob | undefined): Yardsticks {
  const judge = useTrainingStore((state) => job && findJudge(state, job))
  const isLoading = useTrainingStore((state) => state.modelsState === 'idle' || state.modelsState === 'loading')
  const isLate = useIsLate(PATIENCE_MS, isLoading)
  const dataset = useCatalogueStore((state) => state.datasets.find((one) => one.id === job?.dataset_id))
  return {
    baselines: judge?.baselines ?? NO_BASELINES,
    limit: judge?.physical_limit ?? dataset?.physical_limit ?? null,
    isLoading: isLoading && !isLate,
  }
}

/** What counts as a hit, of each run: its own radius, else its data set's. */
export function useRadii(jobs: readonly TrainingJob[]): (number | null)[] {
  const datasets = useCatalogueStore((state) => state.datasets)
  return jobs.map(
    (job) =>
      job.config.accuracy_radius_m ?? datasets.find((one) => one.id === job.dataset_id)?.accuracy_radius_m ?? null,
  )
}

/** On which examples a run is validated; runs of one split stand beside the same levels. */
export const splitOf = (job: TrainingJob): string =>
  [job.dataset_id, job.config.validation_split, job.config.validation_fold].join()

function findJudge({ models, jobs }: TrainingState, job: TrainingJob): TrainedModel | undefined {
  const own = models.find((model) => model.id === job.model_id)
  if (own) return own
  const split = splitOf(job)
  return models.find((model) => {
    const its = model.training_job_id ? jobsById(jobs).get(model.training_job_id) : undefined
    return its?.model_id === model.id && splitOf(its) === split
  })
}
