import { describe, expect, it } from 'vitest'
import { makeMetric } from '@/test/samples'
import { describePoints } from './point-count'

const run = (name: string, ...epochs: number[]) => ({ name, rows: epochs.map((epoch) => makeMetric(epoch)) })
/** As the server thins: every second epoch of many. */
const thinned = (name: string) => run(name, ...Array.from({ length: 101 }, (_, index) => 2 * index + 1))

describe('the count of points', () => {
  it('of one run names what is missing', () => {
    expect(describePoints([run('a', 1, 2, 3)])).toEqual({ text: '3 points, 0 gaps', perRun: null })
    expect(describePoints([run('a', 1, 3)]).text).toBe('2 points, 1 gap in a')
    expect(describePoints([thinned('a')]).text).toBe('101 of 201 epochs drawn, every extreme kept')
  })

  it('of several runs is one sum, with a line for each beside it', () => {
    const { text, perRun } = describePoints([run('a', 1, 2, 3), run('b', 1, 2, 4), run('c', 1, 2)])
    expect(text).toBe('3 runs, 8 points, 1 gap')
    expect(perRun?.split('\n')).toEqual(['a: 3 points, 0 gaps', 'b: 3 points, 1 gap', 'c: 2 points, 0 gaps'])
  })

  it('promises nothing of a run whose rows are not all there, and says why', () => {
    const loading = { ...run('b', 5, 6), partial: '' }
    expect(describePoints([loading]).text).toBe('2 points so far. The rest of b is loading.')
    const failed = { ...loading, partial: 'The server is busy.' }
    expect(describePoints([failed]).text).toBe(
      '2 points so far. The rest of b could not be loaded and is asked for again. The server is busy.',
    )
    const { text, perRun } = describePoints([run('a', 1, 2), failed])
    expect(text).toMatch(/^2 runs, 4 points so far. The rest of b could not be loaded/)
    expect(perRun).toMatch(/^a: 2 points, 0 gaps\nb: 2 points so far/)
  })

  it('takes for no gap what a thinned run leaves out', () => {
    expect(describePoints([thinned('a'), run('b', 1, 3)]).text).toBe('2 runs, 103 of 204 epochs drawn, 1 gap')
  })
})
