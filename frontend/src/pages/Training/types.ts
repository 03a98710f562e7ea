/** The document's names for the generated schema. Shapes change in the engine's Pydantic models, never here. */
export type {
  ExportOptions,
  JobStatus,
  TrainedModel,
  TrainingJob,
  TrainingJobConfig,
  TrainingMetric,
} from '@/api/types'
