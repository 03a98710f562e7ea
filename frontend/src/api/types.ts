/** Short names for the generated schema: nothing here is typed by hand. */
import type { components } from './schema.gen'

type Schemas = components['schemas']

export type TrainingJob = Schemas['TrainingJob']
export type JobStatus = TrainingJob['status']
export type TrainingJobConfig = TrainingJob['config']
export type TrainingMetric = Schemas['TrainingMetric']
export type TrainedModel = Schemas['TrainedModel']
export type TrainedModelDetail = Schemas['TrainedModelDetail']
export type Baseline = Schemas['Baseline']
export type PhysicalLimit = Schemas['PhysicalLimit']
export type AccuracyBreakdown = Schemas['AccuracyBreakdown']
export type ErrorBreakdown = Schemas['ErrorBreakdown']
export type Verification = Schemas['Verification']
export type VerificationCheck = Schemas['VerificationCheck']
export type ExportOptions = Schemas['ExportOptions']
export type Dataset = Schemas['Dataset']
export type DatasetPreview = Schemas['DatasetPreview']
export type Architecture = Schemas['Architecture']
export type Problem = Schemas['Problem']
export type EventFrame = Schemas['EventFrame']
export type JobPage = Schemas['JobPage']
export type ModelPage = Schemas['ModelPage']
export type DatasetPage = Schemas['DatasetPage']

/** What the create dialog sends: fields with a default may be left out. */
export type TrainingJobCreate = Partial<TrainingJobConfig> & Pick<TrainingJobConfig, 'job_name' | 'dataset_id'>
