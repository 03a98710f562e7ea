import { toast } from 'sonner'
import { beforeEach, expect, it, vi } from 'vitest'
import type { EventFrame } from '@/api/types'
import { useTrainingStore } from '@/stores/trainingStore'
import { makeFrame, makeJob } from '@/test/samples'
import { applyFrame } from './useTrainingWebSocket'

vi.mock('sonner', () => ({ toast: { warning: vi.fn() } }))

const told = vi.mocked(toast.warning)
const known = makeJob()
const checkpoint = { key: 'c', sha256: '0', size_bytes: 1, epoch: 512, step: 512, batch: 3, attempt: 1 }
const job = makeJob({
  name: 'Harbour',
  version: 100,
  checkpoint: { ...checkpoint, created_at: known.created_at, write_s: null, previous: null },
})

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
    'The worker of “Harbour” was lost; it goes on after epoch 512 when a worker is free.',
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
  ['worker_silent', 'The worker of “Harbour” was lost; it goes on after epoch 512 when a worker is free.'],
  ['process_lost', 'The training process of “Harbour” was lost; it goes on after epoch 512 when a worker is free.'],
  [
    'process_stuck',
    'The training process of “Harbour” hung and was ended; it goes on after epoch 512 when a worker is free.',
  ],
  [null, '“Harbour” is back in the queue; it goes on after epoch 512 when a worker is free.'],
])('names what was lost by its cause: %s', (cause, words) => {
  lose(101, {}, cause)
  expect(told).toHaveBeenCalledWith(words, expect.anything())
})

it.each([
  [null, 'it starts again when a worker is free.'],
  [undefined, 'it goes on from its checkpoint when a worker is free.'],
])('claims no epoch that the event does not carry: checkpoint %s', (kept, words) => {
  const { data } = makeFrame(8)
  lose(101, {
    event: 'training_requeued',
    data: { ...data, job: { ...job, version: 101, checkpoint: kept }, version: 101, cause: 'worker_ended' },
  })
  expect(told).toHaveBeenCalledWith(`The worker of “Harbour” was lost; ${words}`, expect.anything())
})
