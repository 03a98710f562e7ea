import { useEffect, useMemo, useState } from 'react'
import { getEvents } from '@/api/training'
import type { EventFrame, TrainingJob, TrainingMetric } from '@/api/types'
import type { ChartMark } from '@/components/charts/chart-types'
import type { XAxisKind } from '@/lib/curves'
import { attemptStarts } from '@/lib/metric-rows'

const NO_EVENTS: EventFrame[] = []

/** Where the run paused, went on, lost its worker, and was best. */
export function useRunMarks(
  job: TrainingJob | undefined,
  rows: readonly TrainingMetric[],
  xKind: XAxisKind,
  toX: (row: Pick<TrainingMetric, 'epoch' | 'timestamp'>) => number,
): ChartMark[] {
  const events = useLifecycle(job)
  return useMemo(() => {
    if (!job) return []
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
  }, [job, events, rows, xKind, toX])
}

function useLifecycle(job: TrainingJob | undefined): EventFrame[] {
  const [known, setKnown] = useState<{ id: string; events: EventFrame[] } | null>(null)
  const id = job?.id
  // Marks change with status and attempt, not with every epoch.
  const moment = `${job?.status}:${job?.attempt}`
  useEffect(() => {
    if (!id || !moment) return
    let isCurrent = true
    getEvents(id, { kind: 'lifecycle' }).then(
      ({ events }) => isCurrent && setKnown({ id, events: events.filter((event) => event.event in KINDS) }),
      // Marks are a help, not the data: without them the curves stand as they are.
      () => undefined,
    )
    return () => {
      isCurrent = false
    }
  }, [id, moment])
  return known && known.id === id ? known.events : NO_EVENTS
}

const KINDS: Partial<Record<EventFrame['event'], ChartMark['kind']>> = {
  training_paused: 'pause',
  training_resumed: 'resume',
  training_requeued: 'crash',
}

const LABELS: Record<string, string> = { pause: 'paused', resume: 'resumed', crash: 'worker lost' }

function markOf(
  event: EventFrame,
  xKind: XAxisKind,
  toX: (row: { epoch: number; timestamp: string }) => number,
): ChartMark[] {
  const kind = KINDS[event.event]
  const job = event.data.job as TrainingJob | undefined
  // By epoch, going on happens where the pause was: one mark is enough.
  if (!kind || !job || (kind === 'resume' && xKind === 'epoch')) return []
  const x = toX({ epoch: job.current_epoch, timestamp: event.timestamp })
  return [{ x, kind, label: `${LABELS[kind]} after epoch ${job.current_epoch}` }]
}
