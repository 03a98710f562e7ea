import { useEffect, useMemo, useState } from 'react'
import { getEvents } from '@/api/training'
import type { EventFrame, TrainingJob, TrainingMetric } from '@/api/types'
import type { ChartMark } from '@/components/charts/chart-types'
import { makeX, type XAxisKind } from '@/lib/curves'
import { attemptStarts } from '@/lib/metric-rows'

interface MarkedRun {
  job: TrainingJob
  rows: readonly TrainingMetric[]
  color: string
}

type ToX = (row: Pick<TrainingMetric, 'epoch' | 'timestamp'>) => number

/** Where each run paused, went on, lost its worker, and was best; of several runs each in its own colour and by its name. */
export function useRunMarks(runs: readonly MarkedRun[], xKind: XAxisKind): ChartMark[] {
  const events = useLifecycles(runs.map(({ job }) => job))
  return useMemo(
    () =>
      runs.flatMap((run) => {
        const source = run.job.id
        const marks = marksOf(run, events.get(source) ?? [], xKind).map((mark) => ({ ...mark, source }))
        return runs.length === 1 ? marks : marks.map((mark) => ({ ...mark, color: run.color, run: run.job.name }))
      }),
    [runs, events, xKind],
  )
}

function marksOf({ job, rows }: MarkedRun, events: readonly EventFrame[], xKind: XAxisKind): ChartMark[] {
  const place: ToX = makeX(xKind, job.started_at, rows)
  const last = rows.at(-1)
  const end = last ? place(last) : Number.POSITIVE_INFINITY
  // A run breaks off where its newest row is, whenever that was noticed.
  const toX: ToX = (moment) => (xKind === 'epoch' ? place(moment) : Math.min(end, place(moment)))
  const marks = events.flatMap((event) => markOf(event, xKind, toX))
  // Without the log, a new attempt still shows where something broke off.
  if (events.length === 0)
    for (const start of attemptStarts(rows)) {
      const row = rows.find((one) => one.epoch === start.epoch)
      if (row) marks.push({ x: toX(row), kind: 'resume', label: `attempt ${start.attempt}` })
    }
  const best = rows.find((row) => row.epoch === job.best_epoch)
  if (best) marks.push({ x: toX(best), kind: 'best', label: `best epoch ${best.epoch}` })
  return marks
}

/** What happened to each run, asked again when its status or attempt changes: not with every epoch. */
function useLifecycles(jobs: readonly TrainingJob[]): ReadonlyMap<string, EventFrame[]> {
  const [known, setKnown] = useState<ReadonlyMap<string, EventFrame[]>>(new Map())
  const moment = JSON.stringify(jobs.map((job) => [job.id, job.status, job.attempt]))
  useEffect(() => {
    let isCurrent = true
    for (const [id] of JSON.parse(moment) as [string][])
      getEvents(id, { kind: 'lifecycle' }).then(
        ({ events }) =>
          isCurrent &&
          setKnown((old) =>
            new Map(old).set(
              id,
              events.filter((event) => event.event in KINDS),
            ),
          ),
        // Marks are a help, not the data: without them the curves stand as they are.
        () => undefined,
      )
    return () => {
      isCurrent = false
    }
  }, [moment])
  return known
}

const KINDS: Partial<Record<EventFrame['event'], ChartMark['kind']>> = {
  training_paused: 'pause',
  training_resumed: 'resume',
  training_requeued: 'crash',
}

const LABELS: Record<string, string> = { pause: 'paused', resume: 'resumed', crash: 'back in the queue' }

const CAUSES: Record<NonNullable<EventFrame['data']['cause']>, string> = {
  worker_stopped: 'worker stopped',
  worker_ended: 'worker lost',
  worker_silent: 'worker lost',
  process_lost: 'training process lost',
  process_stuck: 'training process hung',
}

function markOf(event: EventFrame, xKind: XAxisKind, toX: ToX): ChartMark[] {
  const kind = KINDS[event.event]
  const job = event.data.job as TrainingJob | undefined
  // By epoch, going on happens where the pause was: one mark is enough.
  if (!kind || !job || (kind === 'resume' && xKind === 'epoch')) return []
  const x = toX({ epoch: job.current_epoch, timestamp: event.timestamp })
  const { cause } = event.data
  return [{ x, kind, label: `${cause ? CAUSES[cause] : LABELS[kind]} after epoch ${job.current_epoch}` }]
}
