import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FakeSocket } from '@/test/FakeSocket'
import { makeFrame } from '@/test/samples'
import { reconnectDelay } from './socket-connection'
import { MAX_SINGLE_SOCKETS, TrainingSocketHub } from './training-sockets'
import type { EventFrame } from './types'

const JOB = 'job-1'

function makeHub(stored: EventFrame[] = []) {
  const seen: EventFrame[] = []
  const states: string[] = []
  const fetchEvents = vi.fn(async (_jobId: string, since: number) =>
    stored.filter((frame) => (frame.job_seq ?? 0) > since),
  )
  const hub = new TrainingSocketHub({
    open: FakeSocket.open,
    fetchEvents,
    schedule: (flush) => flush(),
    defer: (arrange) => arrange(),
  })
  hub.attach({ onFrames: (frames) => seen.push(...frames), onState: (_jobId, state) => states.push(state) })
  const seqs = () => seen.filter((frame) => frame.seq !== null).map((frame) => frame.job_seq)
  return { hub, seen, states, fetchEvents, seqs }
}

const log = (count: number): EventFrame[] =>
  Array.from({ length: count }, (_, index) => makeFrame(index + 1, { job_id: JOB }))
const at = (frames: EventFrame[], seq: number): EventFrame => {
  const frame = frames[seq - 1]
  if (!frame) throw new Error(`no frame ${seq}`)
  return frame
}
const socket = (index: number): FakeSocket => {
  const found = FakeSocket.all[index]
  if (!found) throw new Error(`no socket ${index}`)
  return found
}

beforeEach(() => {
  vi.useFakeTimers()
  FakeSocket.all = []
})
afterEach(() => vi.useRealTimers())

describe('one connection per job', () => {
  it('is shared by every holder and closed after the last', () => {
    const { hub, states } = makeHub()
    const releases = [hub.retain(JOB, 4), hub.retain(JOB, 4), hub.retain(JOB, 4)]
    expect(FakeSocket.all).toHaveLength(1)
    expect(socket(0).url).toContain(`/ws/training/${JOB}?since=4`)
    for (const release of releases) release()
    expect(FakeSocket.live).toHaveLength(1)
    vi.advanceTimersByTime(5000)
    expect(FakeSocket.live).toHaveLength(0)
    expect(states.at(-1)).toBe('closed')
  })

  it('survives an unmount that is followed by a mount, as in StrictMode', () => {
    const { hub } = makeHub()
    hub.retain(JOB, 0)()
    hub.retain(JOB, 0)
    vi.advanceTimersByTime(5000)
    expect(FakeSocket.all).toHaveLength(1)
    expect(FakeSocket.live).toHaveLength(1)
  })

  it('releasing twice lets go once', () => {
    const { hub } = makeHub()
    const release = hub.retain(JOB, 0)
    hub.retain(JOB, 0)
    release()
    release()
    vi.advanceTimersByTime(5000)
    expect(FakeSocket.live).toHaveLength(1)
  })
})

describe('frames', () => {
  it('come in order, each once, with gaps filled from the log', async () => {
    const frames = log(8)
    const { hub, seqs, fetchEvents } = makeHub(frames.slice(0, 6))
    hub.retain(JOB, 0)
    socket(0).greet()
    for (const seq of [1, 2, 2, 5, 7, 6]) socket(0).say(at(frames, seq))
    await vi.advanceTimersByTimeAsync(10)
    expect(seqs()).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(fetchEvents).toHaveBeenCalledExactlyOnceWith(JOB, 2)
  })

  it('let ticks through without a number', () => {
    const { hub, seen } = makeHub()
    hub.retain(JOB, 0)
    socket(0).say(makeFrame(null, { data: { current_epoch: 1, batch: 3 } }))
    expect(seen).toHaveLength(1)
  })

  it('survive 100 cuts: none missing, none twice', async () => {
    const frames = log(300)
    const { hub, seqs } = makeHub(frames)
    hub.retain(JOB, 0)
    for (let cut = 0; cut < 100; cut += 1) {
      const now = socket(FakeSocket.all.length - 1)
      const since = Number(new URL(now.url).searchParams.get('since'))
      now.greet(300)
      for (const seq of [since + 1, since + 2, since + 3]) now.say(at(frames, seq))
      now.cut()
      await vi.advanceTimersByTimeAsync(20_000)
    }
    expect(seqs()).toEqual(frames.map((frame) => frame.seq))
    expect(FakeSocket.live).toHaveLength(1)
  })
})

describe('reconnecting', () => {
  it('never gives up, waits longer each time, and says so', async () => {
    const { hub, states } = makeHub()
    hub.retain(JOB, 0)
    for (let attempt = 0; attempt < 60; attempt += 1) {
      socket(FakeSocket.all.length - 1).cut()
      await vi.advanceTimersByTimeAsync(15_000)
    }
    expect(FakeSocket.all).toHaveLength(61)
    expect(states.at(-1)).toBe('reconnecting')
    expect(reconnectDelay(0, 0.5)).toBeLessThan(reconnectDelay(3, 0.5))
    expect(reconnectDelay(50, 1)).toBeLessThanOrEqual(15_000)
  })

  it('stops for a job that is not there', async () => {
    const { hub, states } = makeHub()
    hub.retain(JOB, 0)
    socket(0).cut(4404)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(FakeSocket.all).toHaveLength(1)
    expect(states.at(-1)).toBe('gone')
  })

  it('drops a connection that went silent', async () => {
    const { hub } = makeHub()
    hub.retain(JOB, 0)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(FakeSocket.all.length).toBeGreaterThan(1)
    expect(socket(0).isClosed).toBe(true)
    expect(socket(0).sent).toContain('{"event":"ping"}')
  })
})

describe('many jobs', () => {
  it('share one socket, and each job keeps its own order', async () => {
    const { hub, seqs } = makeHub(log(1))
    const releases = Array.from({ length: MAX_SINGLE_SOCKETS + 1 }, (_, index) =>
      hub.retain(`job-${index + 1}`, index === 0 ? 0 : 1),
    )
    expect(FakeSocket.live).toHaveLength(1)
    const shared = FakeSocket.live[0]
    expect(shared?.url).toMatch(/\/ws\/training$/)
    shared?.greet(900)
    await vi.runOnlyPendingTimersAsync()
    shared?.say(makeFrame(901, { job_id: JOB, job_seq: 2 }))
    expect(seqs()).toContain(2)
    for (const release of releases.slice(0, 14)) release()
    await vi.advanceTimersByTimeAsync(5000)
    expect(FakeSocket.live).toHaveLength(7)
  })

  it('open only the shared one where all come at once', async () => {
    const hub = new TrainingSocketHub({ open: FakeSocket.open, fetchEvents: async () => [] })
    for (let index = 0; index < 50; index += 1) hub.retain(`job-${index}`, 0)
    await vi.advanceTimersByTimeAsync(1)
    expect(FakeSocket.all.map((one) => new URL(one.url).pathname)).toEqual(['/ws/training'])
  })
})
