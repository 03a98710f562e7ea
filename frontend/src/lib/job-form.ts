import { JOB_LIMITS } from './limits'

export type JobField = keyof typeof JOB_LIMITS
export type JobFormValues = Record<JobField, string>

export const JOB_FIELDS = Object.keys(JOB_LIMITS) as JobField[]

/** Epochs in all that a continued run may want: those it did not come to, or as many again as it has. */
export const proposeEpochs = (done: number, planned: number): number =>
  planned > done ? planned : Math.min(2 * done, JOB_LIMITS.epochs.maximum ?? Number.POSITIVE_INFINITY)

const DRAFT_KEY = 'heimdall.create-draft'

/** The form holds text; an absent value is the empty text. */
export function toFormValues(config: Partial<Record<string, unknown>>): JobFormValues {
  const entries = JOB_FIELDS.map((field) => {
    const value = config[field] ?? JOB_LIMITS[field].default
    return [field, value === null || value === undefined ? '' : String(value)]
  })
  return Object.fromEntries(entries) as JobFormValues
}

export function readDraft(): Partial<JobFormValues> {
  try {
    return JSON.parse(localStorage.getItem(DRAFT_KEY) ?? '{}') as Partial<JobFormValues>
  } catch {
    // A draft that cannot be read is no draft.
    return {}
  }
}

export const keepDraft = (values: JobFormValues): void => localStorage.setItem(DRAFT_KEY, JSON.stringify(values))
export const dropDraft = (): void => localStorage.removeItem(DRAFT_KEY)

export interface Preset {
  id: string
  name: string
  help: string
  values: Partial<JobFormValues>
}

/** Starting points, not limits: what a first look, a normal run and a thorough run usually take. */
export const PRESETS: Preset[] = [
  {
    id: 'quick',
    name: 'Quick',
    help: 'A first look in about a minute.',
    values: {
      model_architecture: 'deepsets-s',
      epochs: '10',
      batch_size: '256',
      learning_rate: '0.003',
      early_stopping_patience: '0',
    },
  },
  {
    id: 'balanced',
    name: 'Balanced',
    help: 'The defaults: good on a few thousand examples.',
    values: Object.fromEntries(
      (['model_architecture', 'epochs', 'batch_size', 'learning_rate', 'early_stopping_patience'] as const).map(
        (field) => [field, String(JOB_LIMITS[field].default ?? '')],
      ),
    ),
  },
  {
    id: 'best',
    name: 'Best',
    help: 'A larger network, many epochs, stops by itself.',
    values: {
      model_architecture: 'set-transformer-m',
      epochs: '200',
      batch_size: '128',
      learning_rate: '0.001',
      early_stopping_patience: '25',
    },
  },
]

export interface FinishedRun {
  config: { model_architecture: string; dataset_id: string; batch_size: number }
  started_at: string | null
  completed_at: string | null
  current_epoch: number
}

export interface Estimate {
  steps: number
  stepsPerEpoch: number
  /** Seconds; null where no finished run of this network on this data set can say. */
  duration_s: number | null
}

/** What the run will take: steps by arithmetic, time only from runs that really happened. */
export function estimateRun(
  values: Pick<JobFormValues, 'epochs' | 'batch_size' | 'validation_split' | 'model_architecture' | 'dataset_id'>,
  numExamples: number,
  finished: readonly FinishedRun[],
): Estimate | null {
  const epochs = Number(values.epochs)
  const batch = Number(values.batch_size)
  const share = 1 - Number(values.validation_split)
  if (!(epochs > 0 && batch > 0 && share > 0 && numExamples > 0)) return null
  const stepsPerEpoch = Math.max(1, Math.ceil((numExamples * share) / batch))
  const alike = finished.filter(
    (run) =>
      run.config.model_architecture === values.model_architecture &&
      run.config.dataset_id === values.dataset_id &&
      run.current_epoch > 0,
  )
  const durations = alike
    .flatMap((run) =>
      run.started_at && run.completed_at
        ? [(Date.parse(run.completed_at) - Date.parse(run.started_at)) / 1000 / run.current_epoch]
        : [],
    )
    .sort((a, b) => a - b)
  const perEpoch = durations[Math.floor(durations.length / 2)]
  return { steps: stepsPerEpoch * epochs, stepsPerEpoch, duration_s: perEpoch === undefined ? null : perEpoch * epochs }
}

/** Only what differs from the engine's defaults, so that a copied command says what was chosen. */
export function chosenOptions(config: Record<string, unknown>): [string, unknown][] {
  return Object.entries(config).filter(
    ([field, value]) => value !== undefined && value !== null && value !== JOB_LIMITS[field as JobField]?.default,
  )
}

const quote = (text: string): string => (/^[\w./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

export function toCurl(origin: string, config: Record<string, unknown>): string {
  const body = JSON.stringify(Object.fromEntries(chosenOptions(config)))
  return `curl -X POST ${origin}/api/v1/training/jobs -H 'Content-Type: application/json' -d ${quote(body)}`
}

/** Where `heimdall` looks for its server unless told otherwise. */
const USUAL_ORIGIN = 'http://127.0.0.1:8001'

/** `heimdall train` takes the same fields as options. */
export function toCli(origin: string, config: Record<string, unknown>): string {
  const shortNames: Record<string, string> = {
    job_name: 'name',
    dataset_id: 'dataset',
    model_architecture: 'architecture',
  }
  const options = chosenOptions(config).map(
    ([field, value]) => `--${(shortNames[field] ?? field).replaceAll('_', '-')} ${quote(String(value))}`,
  )
  const server = origin === USUAL_ORIGIN ? [] : [`--url ${quote(origin)}`]
  return ['heimdall train', ...options, ...server].join(' ')
}
