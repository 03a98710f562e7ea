/** The search box of the job list: plain words, and comparisons such as `loss<0.1` or `error<=150`. */

export interface SearchableJob {
  id: string
  name: string
  status: string
  progress_percent: number
  current_epoch: number
  best_val_loss: number | null
  best_val_error_median_m: number | null
  error_message: string | null
  config: { model_architecture: string; batch_size: number; learning_rate: number; epochs: number }
}

const NUMBERS: Record<string, (job: SearchableJob) => number | null> = {
  loss: (job) => job.best_val_loss,
  error: (job) => job.best_val_error_median_m,
  progress: (job) => job.progress_percent,
  epoch: (job) => job.current_epoch,
  epochs: (job) => job.config.epochs,
  batch: (job) => job.config.batch_size,
  lr: (job) => job.config.learning_rate,
}

export const SEARCH_NUMBERS = Object.keys(NUMBERS)

const COMPARISON = /^([a-z_]+)(<=|>=|<|>|=)(-?[\d.]+(?:e-?\d+)?)$/i

type Test = (job: SearchableJob, haystack: string) => boolean

function compile(term: string): Test {
  const match = COMPARISON.exec(term)
  const read = match?.[1] ? NUMBERS[match[1].toLowerCase()] : undefined
  if (match && read) {
    const limit = Number(match[3])
    return (job) => {
      const value = read(job)
      return value !== null && compare(value, match[2] ?? '=', limit)
    }
  }
  const word = term.toLowerCase()
  return (_job, haystack) => haystack.includes(word)
}

/** What is wrong with a term that looks like a comparison and is none; null where nothing does. */
export function explainQuery(query: string): string | null {
  for (const term of query.split(/\s+/).filter((word) => /[<>=]/.test(word))) {
    const match = COMPARISON.exec(term)
    if (!match) return `“${term}” is no comparison. Write a name, a sign and a number without spaces, such as loss<0.1.`
    if (!NUMBERS[match[1]?.toLowerCase() ?? ''])
      return `“${match[1]}” is nothing that can be compared. Choose from ${SEARCH_NUMBERS.join(', ')}.`
  }
  return null
}

function compare(value: number, operator: string, limit: number): boolean {
  switch (operator) {
    case '<':
      return value < limit
    case '<=':
      return value <= limit
    case '>':
      return value > limit
    case '>=':
      return value >= limit
    default:
      return value === limit
  }
}

/** Every term must hold. `extra` adds words that the job itself does not carry, such as its data set's name. */
export function searchJobs<T extends SearchableJob>(
  jobs: readonly T[],
  query: string,
  extra: (job: T) => string = () => '',
): T[] {
  const tests = query.split(/\s+/).filter(Boolean).map(compile)
  if (tests.length === 0) return [...jobs]
  return jobs.filter((job) => {
    const haystack =
      `${job.name} ${job.id} ${job.status} ${job.config.model_architecture} ${job.error_message ?? ''} ${extra(job)}`.toLowerCase()
    return tests.every((test) => test(job, haystack))
  })
}

export const JOB_SORTS = {
  newest: 'Newest first',
  oldest: 'Oldest first',
  name: 'Name',
  progress: 'Progress',
  loss: 'Best loss',
  error: 'Best error',
} as const
export type JobSort = keyof typeof JOB_SORTS

const byWords = new Intl.Collator(undefined, { numeric: true })
/** Instants in ISO 8601 and ids sort by their characters; a collator would take a hundred times as long. */
const byCharacters = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

export function sortJobs<T extends SearchableJob & { created_at: string }>(jobs: readonly T[], sort: JobSort): T[] {
  const last = Number.POSITIVE_INFINITY
  const by: Record<JobSort, (a: T, b: T) => number> = {
    newest: (a, b) => byCharacters(b.created_at, a.created_at),
    oldest: (a, b) => byCharacters(a.created_at, b.created_at),
    name: (a, b) => byWords.compare(a.name, b.name),
    progress: (a, b) => b.progress_percent - a.progress_percent,
    loss: (a, b) => (a.best_val_loss ?? last) - (b.best_val_loss ?? last) || 0,
    error: (a, b) => (a.best_val_error_median_m ?? last) - (b.best_val_error_median_m ?? last) || 0,
  }
  // Equal keys keep the newest first, so that nothing jumps between two refreshes.
  return [...jobs].sort(
    (a, b) => by[sort](a, b) || byCharacters(b.created_at, a.created_at) || byCharacters(a.id, b.id),
  )
}
