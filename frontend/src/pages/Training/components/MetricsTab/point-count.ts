import type { TrainingMetric } from '@/api/types'
import { countGaps, isThinnedRun } from '@/lib/curves'
import { formatCount, plural } from '@/lib/format'

interface CountedRun {
  name: string
  rows: readonly TrainingMetric[]
  /** Why rows may be missing, '' while they are on their way; null or nothing where all are there. */
  partial?: string | null | undefined
}

/** How much is drawn, and whether anything is missing. A thinned run keeps its extremes; the CSV has every epoch. */
function describeRun(run: CountedRun): string {
  const { name, rows } = run
  if (run.partial != null) return `${plural(rows.length, 'point')} so far. ${sayPartial(run)}`
  const missing = countGaps(rows)
  if (missing === 0) return `${plural(rows.length, 'point')}, 0 gaps`
  return isThinnedRun(rows)
    ? `${formatCount(rows.length)} of ${formatCount(rows.at(-1)?.epoch)} epochs drawn, every extreme kept`
    : `${plural(rows.length, 'point')}, ${plural(missing, 'gap')} in ${name}`
}

const sayPartial = ({ name, partial }: CountedRun): string =>
  partial
    ? `The rest of ${name} could not be loaded and is asked for again. ${partial}`
    : `The rest of ${name} is loading.`

/** Of several runs one short sum; `perRun` has a line for each, null of one run. What thinning leaves out is no gap. */
export function describePoints(runs: readonly CountedRun[]): { text: string; perRun: string | null } {
  const [only] = runs
  if (only && runs.length === 1) return { text: describeRun(only), perRun: null }
  return {
    text: describeSum(runs),
    perRun: runs.map((run) => `${run.name}: ${describeRun(run).replace(` in ${run.name}`, '')}`).join('\n'),
  }
}

function describeSum(runs: readonly CountedRun[]): string {
  const sum = (count: (rows: CountedRun['rows']) => number) => runs.reduce((all, { rows }) => all + count(rows), 0)
  const several = plural(runs.length, 'run')
  const points = sum((rows) => rows.length)
  const [partial] = runs.filter((run) => run.partial != null)
  if (partial) return `${several}, ${plural(points, 'point')} so far. ${sayPartial(partial)}`
  const isThinned = runs.some(({ rows }) => isThinnedRun(rows))
  const parts = [
    several,
    isThinned
      ? `${formatCount(points)} of ${formatCount(sum((rows) => rows.at(-1)?.epoch ?? 0))} epochs drawn`
      : plural(points, 'point'),
    plural(
      sum((rows) => (isThinnedRun(rows) ? 0 : countGaps(rows))),
      'gap',
    ),
  ]
  return parts.join(', ')
}
