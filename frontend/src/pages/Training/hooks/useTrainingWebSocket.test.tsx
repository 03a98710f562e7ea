import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { render } from '@testing-library/react'
import { StrictMode } from 'react'
import { beforeEach, describe, expect, it } from 'vitest'
import { trainingSockets } from '@/api/training-sockets'
import { useTrainingStore } from '@/stores/trainingStore'
import { FakeSocket } from '@/test/FakeSocket'
import { makeFrame, makeJob, makeMetric } from '@/test/samples'
import { applyFrame, isWatched, useTrainingWebSocket } from './useTrainingWebSocket'

const job = makeJob({ version: 100, last_seq: 7 })
const store = () => useTrainingStore.getState()

function Watcher({ jobId }: { jobId: string | null }) {
  useTrainingWebSocket(jobId)
  return null
}

beforeEach(() => {
  FakeSocket.all = []
  trainingSockets.configure({ open: FakeSocket.open, schedule: (flush) => flush(), defer: (arrange) => arrange() })
  store().handleJobUpdate(job)
})

describe('the hook', () => {
  it('opens one socket in StrictMode, for many watchers, from the last known event', () => {
    const view = render(
      <StrictMode>
        {[1, 2, 3].map((key) => (
          <Watcher key={key} jobId={job.id} />
        ))}
        <Watcher jobId={null} />
      </StrictMode>,
    )
    view.rerender(
      <StrictMode>
        <Watcher jobId={job.id} />
      </StrictMode>,
    )
    expect(FakeSocket.all).toHaveLength(1)
    expect(FakeSocket.all[0]?.url).toContain('since=7')
  })

  it('says whether it is connected', () => {
    render(<Watcher jobId={makeJob({ id: 'other' }).id} />)
    const socket = FakeSocket.live.at(-1)
    socket?.greet(7, 'other')
    expect(store().links.get('other')).toBe('live')
    socket?.cut()
    expect(store().links.get('other')).toBe('reconnecting')
    expect(store().wsConnected).toBe(false)
  })
})

describe('frames', () => {
  it('a live row is held as tightly as a fetched one, not as a hash table', () => {
    setFlagsFromString('--allow-natives-syntax')
    const isTight: (row: unknown) => boolean = runInNewContext('(row) => %HasFastProperties(row)')
    const loose: Record<string, unknown> = makeMetric(1)
    delete loose.epoch
    expect(isTight(loose)).toBe(false)
    applyFrame(makeFrame(8))
    const row = store().metrics.get(job.id)?.at(-1)
    expect(row).toEqual(makeMetric(8))
    expect(isTight(row)).toBe(true)
  })

  it('an epoch adds its row and moves the job', () => {
    applyFrame(
      makeFrame(8, {
        data: {
          ...makeMetric(32),
          progress_percent: 64,
          total_epochs: 50,
          status: 'running',
          version: 101,
          pending_action: null,
        },
      }),
    )
    expect(store().metrics.get(job.id)?.at(-1)).toMatchObject({ epoch: 32 })
    expect(store().metrics.get(job.id)?.at(-1)).not.toHaveProperty('progress_percent')
    expect(store().jobs[0]).toMatchObject({ current_epoch: 32, progress_percent: 64, version: 101, last_seq: 8 })
  })

  it('a tick touches neither rows nor job', () => {
    applyFrame(makeFrame(null, { data: { current_epoch: 31, progress_percent: 63, batch: 4, total_batches: 9 } }))
    expect(store().ticks.get(job.id)).toMatchObject({ batch: 4 })
    expect(store().metrics.size).toBe(0)
    expect(store().jobs[0]?.version).toBe(100)
  })

  it.each(['training_paused', 'training_failed', 'training_cancelled'] as const)(
    '%s carries the whole job',
    (event) => {
      const status = event.slice('training_'.length) as 'paused' | 'failed' | 'cancelled'
      applyFrame(makeFrame(9, { event, data: { job: makeJob({ status, version: 102 }) } }))
      expect(store().jobs[0]?.status).toBe(status)
    },
  )

  it('a deleted job leaves', () => {
    applyFrame(makeFrame(9, { event: 'training_deleted', data: {} }))
    expect(store().jobs).toEqual([])
  })
})

it('watches what may change soon', () => {
  expect(isWatched(makeJob({ status: 'running' }))).toBe(true)
  expect(isWatched(makeJob({ status: 'pending' }))).toBe(true)
  expect(isWatched(makeJob({ status: 'paused', pending_action: null }))).toBe(false)
  expect(isWatched(makeJob({ status: 'completed', pending_action: null }))).toBe(false)
})
