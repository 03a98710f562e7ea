import { toast } from 'sonner'
import { beforeEach, expect, it, vi } from 'vitest'
import type { EventFrame } from '@/api/types'
import { useTrainingStore } from '@/stores/trainingStore'
import { makeFrame, makeJob } from '@/test/samples'
import { applyFrame } from './useTrainingWebSocket'

vi.mock('sonner', () => ({ toast: { warning: vi.fn() } }))

const told = vi.mocked(toast.warning)
const job = makeJob({ name: 'Harbour', version: 100 })

const lose = (version: number, changes: Partial<EventFrame> = {}, reason = 'The worker that trained it ended.') =>
  applyFrame(
    makeFrame(8, {
      event: 'training_requeued',
      data: { job: { ...job, version, status: 'pending' }, version, status: 'pending', pending_action: null, reason },
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
  lose(102, {}, 'The worker was stopped; another one goes on from the last checkpoint.')
  expect(told).not.toHaveBeenCalled()
})
