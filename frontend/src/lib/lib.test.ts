import { describe, expect, it } from 'vitest'
import { growDomain, keepDomain } from '@/components/charts/steady'
import { makeJob, makeMetric } from '@/test/samples'
import { clipToWindow, countGaps, curveOf, epochsOfWindow, keptCurve, makeX, rowsInWindow } from './curves'
import { fileStem } from './download'
import { formSchema } from './field-schema'
import {
  describeCoverage,
  formatClock,
  formatDecadeTick,
  formatDuration,
  formatMetres,
  formatMetresTick,
  formatNumber,
  formatProgress,
  formatRoughly,
  formatSeconds,
  shortName,
} from './format'
import { isWorkerSilent, judgeFreshness, newestLag, waitingSince, workerHeardAt } from './freshness'
import { estimateRun, toCli, toCurl, toFormValues } from './job-form'
import { explainQuery, searchJobs, sortJobs } from './job-query'
import { JOB_LIMITS } from './limits'
import { readLogLine } from './log-line'
import { attemptStarts, mergeRows, thinRows } from './metric-rows'
import { inPageQuotes } from './sentence'
import { logTicks, nearestIndex, type Point, paddedDomain, roundTicks, smooth, spreadLabels, thin } from './series'
import { settleEach } from './settle'

describe('a log line', () => {
  it('keeps the time it was stored and what was said', () => {
    const { clock, text } = readLogLine('2026-11-28T12:40:51.938919Z 12:40:51 job       attempt started  attempt=1')
    expect(clock).toBe(formatClock('2026-11-28T12:40:51.938919Z'))
    expect(text).toBe('attempt started  attempt=1')
  })
  it('leaves alone what is none of ours', () => {
    const line = '  File "loop.py", line 3, in train'
    expect(readLogLine(line)).toEqual({ clock: '', text: line })
    expect(readLogLine(`2026-11-28T12:40:51.938919Z ${line}`).text).toBe(line)
  })
})

describe('format', () => {
  it.each([
    [0, '0.0 s'],
    [59.99, '59.9 s'],
    [661, '11 m 01 s'],
    [3849.9, '1 h 04 m 09 s'],
    [180_000, '50 h 00 m 00 s'],
  ])('%s s to the second: %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text))
  it.each([
    [0, '0'],
    [0.41237, '0.4124'],
    [1852.4, '1852'],
    [58373, '58\u202f373'],
    [0.00002981, '2.981e-5'],
    [Number.NaN, 'NaN'],
    [null, '–'],
  ])('number %s', (value, text) => expect(formatNumber(value)).toBe(text))
  it('durations and estimates', () => {
    expect([3.24, 42, 125, 3840, 200_000].map(formatDuration)).toEqual([
      '3.2 s',
      '42 s',
      '2 m 05 s',
      '1 h 04 m',
      '2 d 7 h',
    ])
    expect([4, 43, 130, 5400].map(formatRoughly)).toEqual(['a few seconds', 'about 40 s', 'about 2 min', 'about 1.5 h'])
  })
  it('progress never claims 100 before it is done', () => expect(formatProgress(99.96)).toBe('99 %'))
  it('an axis has one unit and one form, and neighbours that differ', () => {
    expect([0, 500, 5000, 12_345, 12_346].map(formatMetresTick)).toEqual([
      '0 m',
      '500 m',
      '5 km',
      '12.345 km',
      '12.346 km',
    ])
    expect([0.02, 0.002, 0.001, 0.00185, 5e-6].map(formatDecadeTick)).toEqual([
      '0.02',
      '2e-3',
      '1e-3',
      '1.85e-3',
      '5e-6',
    ])
  })
  it('a long name in a sentence keeps how it begins and how it ends', () => {
    expect(shortName('a short one')).toBe('a short one')
    expect(shortName(`${'valley '.repeat(20)}seed 2`)).toBe('valley valley valley valley va…valley seed 2')
  })
  it.each([
    [0, '0 %'],
    [0.04, '<0.1 %'],
    [0.29, '0.2 %'],
    [9.99, '9.9 %'],
    [10, '10 %'],
  ])('progress of %d is shown as soon as there is any', (percent, text) => expect(formatProgress(percent)).toBe(text))
  it('metres turn into kilometres', () => expect([134.2, 20_722].map(formatMetres)).toEqual(['134 m', '20.7 km']))
})

describe('series', () => {
  const points: Point[] = Array.from({ length: 100_000 }, (_, x) => ({ x, y: Math.sin(x / 50) }))

  it('thinning keeps every extreme, both ends and the order, within the limit', () => {
    const spiked = points.map((point) =>
      point.x === 61_803 ? { ...point, y: 99 } : point.x === 777 ? { ...point, y: -99 } : point,
    )
    const kept = thin(spiked, 800)
    expect(kept.length).toBeLessThanOrEqual(800)
    expect(kept).toContainEqual({ x: 61_803, y: 99 })
    expect(kept).toContainEqual({ x: 777, y: -99 })
    expect(kept[0]).toEqual(spiked[0])
    expect(kept.at(-1)).toEqual(spiked.at(-1))
    expect(kept.every((point, index) => index === 0 || point.x > (kept[index - 1]?.x ?? 0))).toBe(true)
  })
  it('leaves a short series alone', () => expect(thin(points.slice(0, 10))).toHaveLength(10))
  it('smoothing is debiased: a constant stays the constant', () => {
    const flat = [1, 2, 3].map((x) => ({ x, y: 5 }))
    for (const { y } of smooth(flat, 0.9)) expect(y).toBeCloseTo(5)
    expect(smooth(flat, 0)).toEqual(flat)
  })
  it('finds the nearest', () => {
    const x = (point: Point) => point.x
    expect([-5, 3.4, 3.6, 1e9].map((target) => nearestIndex(points, target, x))).toEqual([0, 3, 4, 99_999])
    expect(nearestIndex([], 1, x)).toBe(-1)
  })
  it('makes domains and ticks', () => {
    expect(paddedDomain([], false)).toEqual([0, 1])
    expect(paddedDomain([1, 1], false)[1]).toBeGreaterThan(1)
    expect(paddedDomain([0, 0], false)).toEqual([0, 1])
    expect(paddedDomain([-1, 0, 10], true)[0]).toBeGreaterThan(0)
    expect(roundTicks([1, 31], 6, true)).toEqual([5, 10, 15, 20, 25, 30])
    expect(logTicks([0.0009, 0.011])).toEqual([0.001, 0.002, 0.005, 0.01])
    expect(logTicks([1e-6, 2e-2])).toEqual([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
    expect(logTicks([0.0011, 0.0092])).toEqual([0.0015, 0.002, 0.003, 0.005, 0.007])
  })
  it.each([
    [0.00175, 0.00231],
    [0.00019, 0.0021],
    [0.9, 1.15],
    [1e-9, 1],
    [3e-5, 1.2e-3],
  ])('a log axis from %s to %s has enough round ticks inside, and not too many', (low, high) => {
    const ticks = logTicks([low, high])
    expect(ticks.length).toBeGreaterThanOrEqual(3)
    expect(ticks.length).toBeLessThanOrEqual(10)
    expect(ticks).toEqual([...ticks].sort((a, b) => a - b))
    for (const tick of ticks) {
      expect(tick).toBeGreaterThanOrEqual(low)
      expect(tick).toBeLessThanOrEqual(high)
      expect(Number(tick.toPrecision(3))).toBe(tick)
    }
  })
})

describe('metric rows', () => {
  const rows = (...epochs: number[]) => epochs.map((epoch) => makeMetric(epoch))
  it('merge by epoch, whatever order they come in', () => {
    expect(mergeRows(rows(1, 2, 5), rows(3, 4)).map((row) => row.epoch)).toEqual([1, 2, 3, 4, 5])
    expect(mergeRows(rows(1), []).map((row) => row.epoch)).toEqual([1])
  })
  it('know their gaps and attempts', () => {
    expect(countGaps(rows(1, 2, 5))).toBe(2)
    expect(attemptStarts([makeMetric(1), makeMetric(2, { attempt: 2 })])).toEqual([{ epoch: 2, attempt: 2 }])
  })
  it('a value that is no number is a mark, never a point', () => {
    const broken = makeMetric(2, { val_loss: null, non_finite: { val_loss: 'nan' } })
    const missing = makeMetric(3, { val_loss: null, non_finite: {} })
    const curve = curveOf([makeMetric(1, { val_loss: 4 }), broken, missing], 'val_loss', (row) => row.epoch)
    expect(curve).toEqual({ points: [{ x: 1, y: 4, epoch: 1 }], broken: [{ x: 2, kind: 'nan', epoch: 2 }] })
  })
  it('a window of the axis is a range of epochs, with a neighbour on each side', () => {
    const all = rows(1, 2, 3, 4, 5, 6)
    expect(epochsOfWindow(all, [2.5, 4.5], makeX('epoch', null, all))).toEqual([2, 5])
  })
})

describe('searching jobs', () => {
  const jobs = [
    makeJob({ id: 'a', name: 'cells', best_val_loss: 0.05 }),
    makeJob({ id: 'b', name: 'Voice NLOS', best_val_loss: null }),
  ]
  const ids = (query: string) => searchJobs(jobs, query).map((job) => job.id)
  it('takes words and comparisons', () => {
    expect(ids('voice')).toEqual(['b'])
    expect(ids('loss<0.1')).toEqual(['a'])
    expect(ids('cells loss>0.1')).toEqual([])
    expect(ids('nothing<3')).toEqual([])
    expect(ids('  ')).toEqual(['a', 'b'])
  })
  it('says how to search where a comparison is none', () => {
    expect(explainQuery('loss<<')).toBe(
      '“loss<<” is no comparison. Write a name, a sign and a number without spaces, such as loss<0.1.',
    )
    expect(explainQuery('cells speed>3')).toMatch(/^“speed” is nothing that can be compared\. Choose from loss, error/)
    expect(explainQuery('cells loss<0.1 error>=5')).toBeNull()
    expect(explainQuery('')).toBeNull()
  })
  it('sorts what is unknown last', () =>
    expect(sortJobs([...jobs].reverse(), 'loss').map((job) => job.id)).toEqual(['a', 'b']))
})

describe('words', () => {
  it('says what the coverage of the ellipses means', () => {
    expect(describeCoverage(0.995)).toEqual(['hold 99.5 % of the true positions', 'drawn too large'])
    expect(describeCoverage(0.68)[1]).toBe('as promised')
    expect(describeCoverage(0.4)[1]).toBe('drawn too small')
  })
  it('makes the name of a file from any name', () => {
    expect(fileStem('cells, deepsets-s')).toBe('cells-deepsets-s')
    expect(fileStem('../../etc/passwd')).toBe('etc-passwd')
    expect(fileStem('Über 塔')).toBe('Uber')
    expect(fileStem('x'.repeat(255))).toHaveLength(100)
    expect(fileStem('塔')).toBe('')
  })
})

describe('sentences of the engine', () => {
  it.each([
    ["Send it as a part named 'file'.", 'Send it as a part named “file”.'],
    ["it is the result of the job 'a, b's'", 'it is the result of the job “a, b’s”'],
    ["The engine's word stays.", 'The engine’s word stays.'],
    ["There are no fields 'x', 'y'.", 'There are no fields “x”, “y”.'],
    ["The model 'Bob's' is in use.", 'The model “Bob’s” is in use.'],
  ])('have the quotes of the page: %s', (said, shown) => expect(inPageQuotes(said)).toBe(shown))
})

describe('freshness', () => {
  it('forgets how long the newest news took once nothing more comes', () => {
    const newest = { madeAt: 99_800, heardAt: 100_000 }
    expect(newestLag(newest, 102_900)).toBe(200)
    expect(newestLag(newest, 103_100)).toBeNull()
    expect(newestLag(null, 100_000)).toBeNull()
  })

  it('calls the worker of a job silent by what was heard of it, and not while the engine itself is away', () => {
    const job = { worker_seen_at: '1970-01-01T00:01:30Z', started_at: null }
    expect(workerHeardAt(job, undefined)).toBe(90_000)
    expect(workerHeardAt(job, 99_000)).toBe(99_000)
    expect(workerHeardAt({ worker_seen_at: null, started_at: null }, undefined)).toBeNull()
    expect(isWorkerSilent(90_000, 99_500, 100_000)).toBe(true)
    expect(isWorkerSilent(99_000, 99_500, 100_000)).toBe(false)
    expect(isWorkerSilent(99_000, 99_500, 190_000)).toBe(false)
    expect(isWorkerSilent(null, 99_500, 100_000)).toBe(false)
  })

  const base = {
    links: ['live'],
    heardAt: 99_500,
    isListFailing: false,
    workersHeardAt: [99_000],
    hungSince: [],
    now: 100_000,
  }
  it('tells the worst news first', () => {
    expect(judgeFreshness(base)).toMatchObject({ text: 'Live', tone: 'live' })
    expect(judgeFreshness(base).note).toBeUndefined()
    expect(judgeFreshness({ ...base, lagMs: 110 }).note).toBe('0.2 s behind')
    expect(judgeFreshness({ ...base, workersHeardAt: [55_000] })).toMatchObject({ text: 'Worker silent', span: '45 s' })
    expect(judgeFreshness({ ...base, workersHeardAt: [94_000] }).text).toBe('Live')
    expect(judgeFreshness({ ...base, workersHeardAt: [92_500] }).span).toBe('7 s')
    const hung = judgeFreshness({ ...base, hungSince: [38_000, 60_000] })
    expect(hung).toMatchObject({ text: 'Worker silent', span: '62 s' })
    expect(hung.detail).toMatch(/makes no step/)
    expect(judgeFreshness({ ...base, hungSince: [200_000] }).tone).toBe('warning') // the server’s clock is ahead
    expect(judgeFreshness({ ...base, links: ['live', 'reconnecting'], workersHeardAt: [0] }).text).toMatch(
      /^Reconnecting, showing data to \d\d:\d\d:\d\d$/,
    )
    expect(judgeFreshness({ ...base, isListFailing: true, heardAt: null }).text).toBe('Reconnecting')
    // A frozen worker loses its job, which then waits: that is not 'Live' either.
    const waits = { ...base, workersHeardAt: [], waitingSince: [80_000] }
    expect(judgeFreshness(waits)).toMatchObject({ text: 'Waiting for a worker', span: '20 s', tone: 'warning' })
    expect(judgeFreshness({ ...waits, waitingSince: [95_000] }).text).toBe('Live')
    // An engine that does not answer is no worker that is silent.
    expect(judgeFreshness({ ...base, heardAt: 91_000, workersHeardAt: [89_000] }).text).toBe('Live')
    expect(judgeFreshness({ ...base, heardAt: 89_000, workersHeardAt: [88_000] }).text).toMatch(
      /^Server silent, showing data to /,
    )
    expect(judgeFreshness({ ...base, links: [] }).text).toBe('Up to date')
    expect(judgeFreshness({ ...base, links: [] }).detail).not.toMatch(/Nothing is running/)
    expect(judgeFreshness({ ...base, links: [], workersHeardAt: [] }).detail).toMatch(/Nothing is running/)
  })
})

describe('the axis of training time', () => {
  const at = (seconds: number) => new Date(1_800_000_000_000 + seconds * 1000).toISOString()
  const row = (epoch: number, seconds: number, attempt = 1, epoch_duration_seconds: number | null = 2) =>
    makeMetric(epoch, { timestamp: at(seconds), attempt, epoch_duration_seconds })
  const placesOf = (rows: ReturnType<typeof row>[], startedAt: number) => rows.map(makeX('time', at(startedAt), rows))
  it('begins with the first epoch, not with the set-up before it', () =>
    expect(placesOf([row(1, 62), row(2, 64)], 0)).toEqual([2, 4]))
  it('goes on from what a continued run inherited, without the time in between', () => {
    const inherited = [row(1, 2, 0), row(2, 4, 0), row(3, 6, 0)]
    expect(placesOf([...inherited, row(4, 3602), row(5, 3604)], 3598)).toEqual([2, 4, 6, 8, 10])
    expect(placesOf([row(1, 2), row(2, 4), row(3, 3602)], 3598)).toEqual([2, 4, 6])
  })
  it('counts no pause, neither of its own nor of a run before it', () => {
    expect(placesOf([row(1, 2), row(2, 4), row(3, 9, 2), row(4, 11, 2)], 0)).toEqual([2, 4, 6, 8])
    expect(placesOf([row(1, 2, 0), row(2, 4, 0), row(3, 500, 0)], 1000)).toEqual([2, 4, 6])
  })
  it('keeps every second of an attempt of which only some epochs are held', () =>
    expect(placesOf([row(1, 2), row(40, 82), row(41, 84), row(90, 200, 2)], 0)).toEqual([2, 82, 84, 182]))
  it('never goes back, and needs no durations', () => {
    expect(placesOf([row(1, 2), row(2, 3, 2, 60)], 0)).toEqual([2, 3])
    expect(placesOf([row(1, 100, 1, null), row(2, 103, 1, null)], 90)).toEqual([0, 3])
  })
  it('places a moment without training where it broke off, and one of a window as in the whole run', () => {
    const x = makeX('time', at(0), [row(1, 2), row(2, 4), row(4, 100, 2)])
    expect([3, 4, 50, 99, 100, 102].map((seconds) => x({ epoch: 0, timestamp: at(seconds) }))).toEqual([
      3, 4, 4, 7, 8, 10,
    ])
  })
})

describe('waiting for a worker', () => {
  const at = (seconds: number) => new Date(seconds * 1000).toISOString()
  const queued = makeJob({ status: 'pending', created_at: at(0), status_changed_at: at(0), started_at: null })
  const running = makeJob({ status: 'running', status_changed_at: at(10), started_at: at(10) })
  it('counts from when the last job stopped running, however long others stood in the queue', () => {
    const lost = { ...running, status: 'pending' as const, status_changed_at: at(460) }
    expect(waitingSince([queued, lost])).toEqual([460_000, 460_000])
    expect(waitingSince([queued, { ...running, status: 'completed', status_changed_at: at(300) }])).toEqual([300_000])
  })
  it('counts from its own start where nothing ever ran, and not at all while something runs', () => {
    const later = { ...queued, created_at: at(5), status_changed_at: null }
    expect(waitingSince([queued, later])).toEqual([0, 5_000])
    expect(waitingSince([queued, running])).toEqual([])
    expect(waitingSince([{ ...running, status: 'paused' }])).toEqual([])
  })
})

describe('the job form', () => {
  const values = { ...toFormValues({}), job_name: 'x', dataset_id: 'd' }
  const schema = formSchema(JOB_LIMITS)
  it('starts from the engine’s defaults, which fit its own limits', () => {
    const result = schema.safeParse(values)
    expect(result.success && result.data).toMatchObject({
      epochs: JOB_LIMITS.epochs.default,
      learning_rate: JOB_LIMITS.learning_rate.default,
    })
    expect(result.success && result.data.accuracy_radius_m).toBeUndefined()
  })
  it.each([
    ['epochs', '0'],
    ['epochs', '1.5'],
    ['epochs', ''],
    ['learning_rate', '0'],
    ['learning_rate', 'fast'],
    ['validation_split', '0.6'],
    ['job_name', ' '],
    ['optimizer', 'other'],
  ])('refuses %s = “%s”', (field, value) => expect(schema.safeParse({ ...values, [field]: value }).success).toBe(false))
  it('estimates steps always, time only from runs that happened', () => {
    const run = {
      config: { model_architecture: 'deepsets-s', dataset_id: 'd', batch_size: 128 },
      started_at: '2026-01-01T00:00:00Z',
      completed_at: '2026-01-01T00:00:20Z',
      current_epoch: 10,
    }
    expect(estimateRun({ ...values, epochs: '5' }, 1280, [run])).toEqual({
      steps: 40,
      stepsPerEpoch: 8,
      duration_s: 10,
    })
    expect(estimateRun(values, 1280, [])?.duration_s).toBeNull()
  })
  it('copies a command that reaches this server', () => {
    expect(toCli('https://heimdall.example.org', { epochs: 7 })).toBe(
      'heimdall train --epochs 7 --url https://heimdall.example.org',
    )
    expect(toCli('http://[::1]:8001', { epochs: 7 })).toBe(`heimdall train --epochs 7 --url 'http://[::1]:8001'`)
  })
  it('copies only what was chosen, safely quoted', () => {
    const config = { job_name: "it's", dataset_id: 'd', epochs: 7, batch_size: JOB_LIMITS.batch_size.default }
    expect(toCli('http://127.0.0.1:8001', config)).toBe(`heimdall train --name 'it'\\''s' --dataset d --epochs 7`)
    expect(toCurl('http://h', config)).toContain(`-d '{"job_name":"it'\\''s","dataset_id":"d","epochs":7}'`)
  })
})

it('settleEach reports what worked and what did not', async () => {
  const outcome = await settleEach([1, 2, 3], async (item) => {
    if (item === 2) throw new Error('no')
  })
  expect(outcome.done.sort()).toEqual([1, 3])
  expect(outcome.failed).toMatchObject([{ item: 2, error: { message: 'no' } }])
})

describe('rows of a long run', () => {
  const rows = Array.from({ length: 4000 }, (_, index) =>
    makeMetric(index + 1, { val_loss: index === 1234 ? 9 : 1, train_loss: index === 2345 ? -3 : 1 }),
  )
  it('are thinned to what a chart can show, with the extremes of every series', () => {
    const thinned = thinRows(rows, ['val_loss', 'train_loss'], 400)
    expect(thinned.length).toBeLessThanOrEqual(402)
    expect([thinned[0]?.epoch, thinned.at(-1)?.epoch]).toEqual([1, 4000])
    expect(Math.max(...thinned.map((row) => row.val_loss ?? 0))).toBe(9)
    expect(Math.min(...thinned.map((row) => row.train_loss ?? 0))).toBe(-3)
  })
  it('lose nothing of an old stretch by being thinned again and again', () => {
    const fields = ['val_loss', 'train_loss'] as const
    const noisy = (epoch: number) =>
      makeMetric(epoch, { val_loss: (epoch * 7919) % 1000, train_loss: (epoch * 104729) % 1000 })
    let kept = thinRows(
      Array.from({ length: 4000 }, (_, index) => noisy(index + 1)),
      fields,
      400,
    )
    const before = kept.length
    for (let epoch = 4001; epoch <= 5000; epoch += 1) kept = thinRows([...kept, noisy(epoch)], fields, 400, 600)
    expect(kept.filter((row) => row.epoch <= 4000).length).toBeGreaterThan(before / 2)
    expect(kept.length).toBeLessThanOrEqual(600)
  })
  it('stay whole below the limit, and keep values that are no number', () => {
    expect(thinRows(rows, ['val_loss'], 400, 8000)).toBe(rows)
    const broken = rows.map((row) =>
      row.epoch === 77 ? { ...row, val_loss: null, non_finite: { val_loss: 'nan' } } : row,
    )
    expect(thinRows(broken, ['val_loss'], 100).some((row) => row.epoch === 77)).toBe(true)
  })
})

describe('axes of a live chart', () => {
  it('stay while points fit, make room when outgrown, shrink when nearly empty', () => {
    const grown = growDomain(null, [1, 100], 2)
    expect(grown).toEqual([1, 106])
    expect(growDomain(grown, [1, 105], 2)).toBe(grown)
    expect(growDomain(grown, [1, 107], 2)[1]).toBeGreaterThan(107)
    const known: [number, number] = [0, 10]
    expect(keepDomain(known, [1, 9], false)).toBe(known)
    expect(keepDomain(known, [1, 11], false)[1]).toBeGreaterThan(11)
    expect(keepDomain(known, [1, 3], false)).toEqual([1, 3])
    expect(keepDomain([1, 10], [0.5, 10], true)[0]).toBeGreaterThan(0)
  })
})

describe('labels of levels', () => {
  it('are set apart, in order, and stay inside', () => {
    const places = [100, 98, 40, 101]
    const shown = spreadLabels(places, 14, 120).map((down, index) => (places[index] ?? 0) + down)
    const sorted = [...shown].sort((a, b) => a - b)
    expect(sorted.every((place, index) => index === 0 || place - (sorted[index - 1] ?? 0) >= 14)).toBe(true)
    expect(Math.max(...shown)).toBe(120)
    expect(shown[2]).toBe(40)
  })
})

describe('a window of rows', () => {
  const rows = [1, 2, 3, 5, 8].map((epoch) => makeMetric(epoch))
  const epochs = (low: number, high: number) =>
    rowsInWindow(rows, [low, high], (row) => row.epoch).map((row) => row.epoch)

  it('holds what lies in it, its edges too', () => {
    expect([epochs(2, 5), epochs(2.5, 4), epochs(-1, 99), epochs(6, 7), epochs(9, 12)]).toEqual([
      [2, 3, 5],
      [3],
      [1, 2, 3, 5, 8],
      [],
      [],
    ])
  })

  it('draws to its edges, and nothing of a line that is all outside', () => {
    const points = [1, 2, 3, 5, 8].map((x) => ({ x, y: x }))
    const places = (low: number, high: number) => clipToWindow(points, [low, high]).map((point) => point.x)
    expect([places(2, 3), places(6, 7), places(9, 12), places(-3, 0)]).toEqual([[1, 2, 3, 5], [5, 8], [], []])
  })

  it('reads a curve once from the same rows', () => {
    const make = () => curveOf(rows, 'val_loss', (row) => row.epoch)
    const curve = keptCurve(rows, 'val_loss', make)
    expect(keptCurve(rows, 'val_loss', make)).toBe(curve)
    expect(keptCurve(rows, 'train_loss', make)).not.toBe(curve)
    expect(keptCurve([...rows], 'val_loss', make)).not.toBe(curve)
  })
})
