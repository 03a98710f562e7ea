import { toast } from 'sonner'
import { beforeEach, expect, it, vi } from 'vitest'
import type { EventFrame } from '@/api/types'
import { useTrainingStore } from '@/stores/trainingStore'
import { makeFrame, makeJob } from '@/test/samples'
import { applyFrame } from './useTrainingWebSocket'

vi.mock('sonner', () => ({ toast: { warning: vi.fn() } }))

const told = vi.mocked(toast.warning)
const job = makeJob({ name: 'Harbour', version: 100 })

type Cause = EventFrame['data']['cause']

const lose = (version: number, changes: Partial<EventFrame> = {}, cause: Cause | null = 'worker_ended') =>
  applyFrame(
    makeFrame(8, {
      event: 'training_requeued',
      data: {
        job: { ...job, version, status: 'pending' },
        version,
        status: 'pending',
        pending_action: null,
        reason: 'In words that may change.',
        ...(cause ? { cause } : {}),
      },
      ...changes,
    }),
  )

beforeEach(() => {
  told.mockClear()
  useTrainingStore.getState().handleJobUpdate(job)
})

it('tells of a lost worker once for each job', () => {
  lose(101)
  lose(102)
  const ids = told.mock.calls.map(([, options]) => options?.id)
  expect(ids).toEqual([`worker-lost:${job.id}`, `worker-lost:${job.id}`])
  expect(told).toHaveBeenCalledWith(
    'The worker of “Harbour” was lost; it goes on from its checkpoint.',
    expect.anything(),
  )
})

it('says nothing of what the list holds already, of what is long past, and of a worker that was stopped', () => {
  lose(100)
  lose(101, { timestamp: new Date(Date.now() - 3_600_000).toISOString() })
  lose(102, {}, 'worker_stopped')
  expect(told).not.toHaveBeenCalled()
})

it.each<[Cause | null, string]>([
  ['worker_silent', 'The worker of “Harbour” was lost; it goes on from its checkpoint.'],
  ['process_lost', 'The training process of “Harbour” was lost; it goes on from its checkpoint.'],
  ['process_stuck', 'The training process of “Harbour” hung and was ended; it goes on from its checkpoint.'],
  [null, '“Harbour” is back in the queue; it goes on from its checkpoint.'],
])('names what was lost by its cause: %s', (cause, words) => {
  lose(101, {}, cause)
  expect(told).toHaveBeenCalledWith(words, expect.anything())
})
