import { HttpResponse, http } from 'msw'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { makeFrame, makeJob, makeMetric } from '@/test/samples'
import { server } from '@/test/setup'
import { judgeClock, noteClock, noteHeartbeats, noteNewestEvent } from './trainingState'
import { mostRows, ROOM_TO_GROW, useTrainingStore } from './trainingStore'

const API = '*/api/v1/training'
const store = () => useTrainingStore.getState()
const listOf = (...jobs: ReturnType<typeof makeJob>[]) => ({ jobs, total: jobs.length, next_cursor: null })

describe('jobs', () => {
  it('are read page by page', async () => {
    server.use(
      http.get(`${API}/jobs`, ({ request }) => {
        const isFirst = !new URL(request.url).searchParams.has('cursor')
        return HttpResponse.json({
          jobs: [makeJob({ id: isFirst ? 'a' : 'b' })],
          total: 2,
          next_cursor: isFirst ? 'next' : null,
        })
      }),
    )
    await store().fetchJobs()
    expect(store().jobs.map((job) => job.id)).toEqual(['a', 'b'])
    expect(store().jobsState).toBe('ready')
  })

  it('refresh conditionally: unchanged means the very same array', async () => {
    const asked: (string | null)[] = []
    server.use(
      http.get(`${API}/jobs`, ({ request }) => {
        asked.push(request.headers.get('if-none-match'))
        if (asked.length > 1) return new HttpResponse(null, { status: 304 })
        return HttpResponse.json(listOf(makeJob()), { headers: { ETag: '"one"' } })
      }),
    )
    await store().fetchJobs()
    const before = store().jobs
    await store().fetchJobs()
    expect(asked).toEqual([null, '"one"'])
    expect(store().jobs).toBe(before)
  })

  it('never go back to an older version, by refresh or by update', async () => {
    store().handleJobUpdate(makeJob({ version: 9, current_epoch: 40 }))
    server.use(http.get(`${API}/jobs`, () => HttpResponse.json(listOf(makeJob({ version: 8, current_epoch: 39 })))))
    await store().fetchJobs()
    expect(store().jobs[0]?.current_epoch).toBe(40)
    store().handleJobUpdate({ id: makeJob().id, version: 7, current_epoch: 3 })
    expect(store().jobs[0]?.current_epoch).toBe(40)
  })

  it('keep one that was created while the list was on its way', async () => {
    server.use(
      http.get(`${API}/jobs`, () => {
        store().handleJobUpdate(makeJob({ id: 'new' }))
        return HttpResponse.json(listOf(makeJob({ id: 'old' })))
      }),
    )
    await store().fetchJobs()
    expect(store().jobs.map((job) => job.id)).toEqual(['new', 'old'])
  })

  it('stay deleted although an older list still names them', async () => {
    store().handleJobUpdate(makeJob())
    store().handleJobGone(makeJob().id)
    server.use(http.get(`${API}/jobs`, () => HttpResponse.json(listOf(makeJob()))))
    await store().fetchJobs()
    expect(store().jobs).toEqual([])
  })

  it('stay shown when a refresh fails, and the failure is known', async () => {
    server.use(http.get(`${API}/jobs`, () => HttpResponse.json(listOf(makeJob())), { once: true }))
    await store().fetchJobs()
    server.use(
      http.get(`${API}/jobs`, () =>
        HttpResponse.json({ code: 'unavailable', detail: 'The database does not answer.' }, { status: 503 }),
      ),
    )
    await store().fetchJobs()
    expect(store().jobs).toHaveLength(1)
    expect(store().jobsState).toBe('ready')
    expect(store().jobsError?.message).toBe('The database does not answer.')
  })
})

describe('actions', () => {
  it('creating returns the id and sends an idempotency key', async () => {
    const key = vi.fn()
    server.use(
      http.post(`${API}/jobs`, ({ request }) => {
        key(request.headers.get('idempotency-key'))
        return HttpResponse.json({ ...makeJob({ id: 'made' }), job_id: 'made' }, { status: 201 })
      }),
    )
    await expect(store().createJob({ job_name: 'x', dataset_id: 'd' }, 'my-key')).resolves.toBe('made')
    expect(key).toHaveBeenCalledWith('my-key')
    expect(store().jobs[0]).not.toHaveProperty('job_id')
  })

  it('a refused action says why, at its field', async () => {
    const problem = { code: 'invalid_input', detail: 'There is no such data set.', field: 'dataset_id' }
    server.use(http.post(`${API}/jobs`, () => HttpResponse.json(problem, { status: 422 })))
    await expect(store().createJob({ job_name: 'x', dataset_id: 'd' })).rejects.toMatchObject({
      message: problem.detail,
      field: 'dataset_id',
      status: 422,
    })
  })

  it('pausing shows what was asked for, not what is not yet done', async () => {
    store().handleJobUpdate(makeJob({ version: 1 }))
    server.use(
      http.post(`${API}/pause/:id`, () =>
        HttpResponse.json(makeJob({ version: 2, pending_action: 'pause' }), { status: 202 }),
      ),
    )
    await store().pauseJob(makeJob().id)
    expect(store().jobs[0]).toMatchObject({ status: 'running', pending_action: 'pause' })
  })

  it('cancelling never deletes, and deleting never cancels', async () => {
    const asked: string[] = []
    store().handleJobUpdate(makeJob({ version: 1 }))
    server.use(
      http.delete(`${API}/jobs/:id`, ({ request }) => {
        const expected = new URL(request.url).searchParams.get('expect') ?? ''
        asked.push(expected)
        return expected === 'active'
          ? HttpResponse.json(makeJob({ version: 2, pending_action: 'cancel' }))
          : new HttpResponse(null, { status: 204 })
      }),
    )
    await store().cancelJob(makeJob().id)
    expect(store().jobs[0]?.pending_action).toBe('cancel')
    await store().deleteJob(makeJob().id)
    expect(store().jobs).toEqual([])
    expect(asked).toEqual(['active', 'final'])
  })
})

describe('metrics', () => {
  const id = makeJob().id

  it('merge what came live before the answer did', async () => {
    server.use(
      http.get(`${API}/jobs/:id/metrics`, () => {
        store().handleMetricUpdate(makeMetric(3))
        return HttpResponse.json([makeMetric(1), makeMetric(2)])
      }),
    )
    await store().fetchMetrics(id)
    expect(
      store()
        .metrics.get(id)
        ?.map((row) => row.epoch),
    ).toEqual([1, 2, 3])
  })

  it('ask only for what is new, and again from a hole', async () => {
    const since: (string | null)[] = []
    server.use(
      http.get(`${API}/jobs/:id/metrics`, ({ request }) => {
        since.push(new URL(request.url).searchParams.get('since_epoch'))
        return HttpResponse.json(since.length === 1 ? [makeMetric(1), makeMetric(2)] : [makeMetric(3), makeMetric(4)])
      }),
    )
    await store().fetchMetrics(id)
    store().handleMetricUpdate(makeMetric(5))
    expect(store().metricsInfo.get(id)?.missingAfter).toBe(2)
    await store().fetchMetrics(id)
    expect(since).toEqual(['0', '2'])
    expect(
      store()
        .metrics.get(id)
        ?.map((row) => row.epoch),
    ).toEqual([1, 2, 3, 4, 5])
    expect(store().metricsInfo.get(id)?.missingAfter).toBeNull()
  })

  const serveOnce = (...answers: (() => Response)[]) => {
    const asked: string[] = []
    server.use(
      http.get(`${API}/jobs/:id/metrics`, ({ request }) => {
        const { searchParams } = new URL(request.url)
        asked.push(`since ${searchParams.get('since_epoch')}, ${searchParams.get('max_points')} points`)
        return (answers.shift() as () => Response)()
      }),
    )
    return asked
  }
  const away = () => HttpResponse.json({ detail: 'The database does not answer.' }, { status: 503 })
  const rows = (...epochs: number[]) => HttpResponse.json(epochs.map((epoch) => makeMetric(epoch)))
  const epochs = () =>
    store()
      .metrics.get(id)
      ?.map((row) => row.epoch)

  it('that did not come are asked for whole again, whatever came live meanwhile', async () => {
    const failing = () => {
      store().handleMetricUpdate(makeMetric(3))
      return away()
    }
    const asked = serveOnce(failing, away, () => rows(1, 2, 3))
    await store().fetchMetrics(id, 800)
    expect(store().metricsInfo.get(id)?.state).toBe('failed')
    await store().fetchMetrics(id, 800)
    expect(store().metricsInfo.get(id)?.state).toBe('failed')
    await store().fetchMetrics(id, 800)
    expect(asked).toEqual(Array(3).fill('since 0, 800 points'))
    expect(epochs()).toEqual([1, 2, 3])
    expect(store().metricsInfo.get(id)).toMatchObject({ state: 'ready', error: null })
  })

  it('that were to be finer and did not come are asked for again', async () => {
    const asked = serveOnce(
      () => rows(1, 4),
      away,
      () => rows(1, 2, 3, 4),
    )
    await store().fetchMetrics(id, 64)
    await store().fetchMetrics(id, 800)
    expect(store().metricsInfo.get(id)).toMatchObject({ state: 'ready', maxPoints: 64 })
    await store().fetchMetrics(id, 800)
    expect(asked).toEqual(['since 0, 64 points', 'since 0, 800 points', 'since 0, 800 points'])
    expect(epochs()).toEqual([1, 2, 3, 4])
  })

  it('keep the hole in mind that an answer failed to fill', async () => {
    const asked = serveOnce(
      () => rows(1, 2),
      away,
      () => rows(3, 4),
    )
    await store().fetchMetrics(id, 800)
    store().handleMetricUpdate(makeMetric(5))
    await store().fetchMetrics(id, 800)
    await store().fetchMetrics(id, 800)
    expect(asked.slice(1)).toEqual(Array(2).fill('since 2, 800 points'))
    expect(epochs()).toEqual([1, 2, 3, 4, 5])
  })

  it('keep in mind a hole that live rows left behind the answer', async () => {
    const leave = () => {
      store().handleMetricUpdate(makeMetric(5))
      return rows(1, 2)
    }
    const asked = serveOnce(leave, () => rows(3, 4))
    await store().fetchMetrics(id, 800)
    expect(store().metricsInfo.get(id)?.missingAfter).toBe(2)
    await store().fetchMetrics(id, 800)
    expect(asked[1]).toBe('since 2, 800 points')
    expect(epochs()).toEqual([1, 2, 3, 4, 5])
    expect(store().metricsInfo.get(id)?.missingAfter).toBeNull()
  })

  it('of one epoch the later attempt wins', () => {
    store().handleMetricUpdate(makeMetric(1, { attempt: 2, val_loss: 2 }))
    store().handleMetricUpdate(makeMetric(1, { attempt: 1, val_loss: 1 }))
    expect(store().metrics.get(id)?.[0]?.val_loss).toBe(2)
  })
})

describe('the connection', () => {
  it('counts as up only while every watched job is', () => {
    expect(store().wsConnected).toBe(false)
    store().setLink('a', 'live')
    expect(store().wsConnected).toBe(true)
    store().setLink('b', 'reconnecting')
    expect(store().wsConnected).toBe(false)
    store().setLink('b', null)
    expect(store().wsConnected).toBe(true)
  })
})

describe('news of one animation frame', () => {
  it('reach the page together, and what else changed meanwhile stays', () => {
    store().handleJobUpdate(makeJob({ version: 1 }))
    const seen = vi.fn()
    const stop = useTrainingStore.subscribe(seen)
    store().applyTogether(() => {
      for (const epoch of [1, 2, 3]) {
        store().handleMetricUpdate(makeMetric(epoch))
        store().handleJobUpdate({ id: makeJob().id, version: 1 + epoch, current_epoch: epoch })
      }
      useTrainingStore.setState({ modelsState: 'ready' })
      seen.mockClear()
    })
    stop()
    expect(seen).toHaveBeenCalledOnce()
    expect(store().metrics.get(makeJob().id)).toHaveLength(3)
    expect(store().jobs[0]?.current_epoch).toBe(3)
    expect(store().modelsState).toBe('ready')
  })

  it('of a run of days leave no more rows than a chart can show', () => {
    const rows = () => store().metrics.get(makeMetric(1).job_id) ?? []
    let most = 0
    for (let epoch = 1; epoch <= 5000; epoch += 1) {
      store().handleMetricUpdate(makeMetric(epoch, epoch === 700 ? { val_loss: 99 } : {}))
      most = Math.max(most, rows().length)
    }
    expect(most).toBeLessThanOrEqual(mostRows(0) * ROOM_TO_GROW)
    expect(mostRows(1600) * ROOM_TO_GROW).toBeCloseTo(4840)
    expect(rows().at(-1)?.epoch).toBe(5000)
    expect(rows().find((row) => row.val_loss === 99)?.epoch).toBe(700)
  })
})

describe('when a worker was last heard', () => {
  const now = Date.parse('2026-11-28T16:00:00Z')
  const at = (seconds: number) => new Date(now + seconds * 1000).toISOString()
  beforeEach(() => vi.useFakeTimers({ now }))
  afterEach(() => vi.useRealTimers())

  it('is the time of the heartbeat and not that of the look, whatever the server’s clock says', () => {
    const known = makeJob({ worker_seen_at: at(3580) })
    const fresh = { ...known, worker_seen_at: at(3594) } // the server is an hour ahead, and its worker was heard 6 s ago
    const ahead = judgeClock(noteClock([], [makeFrame(null, { timestamp: at(3600) })]))
    expect(ahead).toBe(-3600_000)
    expect(noteHeartbeats(new Map(), [known], [fresh], ahead).get(known.id)).toBe(now - 6000)
    expect(noteHeartbeats(new Map([[known.id, now - 1000]]), [known], [fresh], ahead).get(known.id)).toBe(now - 1000)
    expect(noteHeartbeats(new Map(), [known], [fresh]).get(known.id)).toBe(now)
  })
  it('takes no replayed frame for the time', () =>
    expect(noteClock([7], [makeFrame(3, { timestamp: at(-900) })])).toEqual([7]))
})

describe('how far the page is behind', () => {
  const now = Date.parse('2026-11-28T16:00:00Z')
  const ago = (ms: number) => new Date(now - ms).toISOString()
  beforeEach(() => vi.useFakeTimers({ now }))
  afterEach(() => vi.useRealTimers())
  const lagOf = (known: ReturnType<typeof noteNewestEvent>) => known && known.heardAt - known.madeAt

  it('is the way of the newest event, by the comparison of clocks that was slowed down least', () => {
    const slow = noteClock([], [makeFrame(null, { timestamp: ago(900) })])
    const seen = noteClock(slow, [makeFrame(null, { timestamp: ago(500) })])
    expect(judgeClock(seen)).toBe(500)
    expect(lagOf(noteNewestEvent(null, judgeClock(seen), [makeFrame(4, { timestamp: ago(720) })]))).toBe(220)
  })
  it('is not known before the clocks were compared, and not told by a replay', () => {
    expect(noteNewestEvent(null, null, [makeFrame(4, { timestamp: ago(200) })])).toBeNull()
    expect(noteNewestEvent(null, 0, [makeFrame(4, { timestamp: ago(60_000) })])).toBeNull()
  })
  it('believes a clock that was set anew after some comparisons', () => {
    let seen = noteClock([], [makeFrame(null, { timestamp: ago(-5000) })])
    for (let index = 0; index < 16; index += 1) seen = noteClock(seen, [makeFrame(null, { timestamp: ago(2) })])
    expect(judgeClock(seen)).toBe(2)
  })
})
