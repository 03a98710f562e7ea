import { describe, expect, it } from 'vitest'
import type { DatasetPreview } from '@/api/types'
import data from '@/gallery/fixtures.json'
import { formatNanoseconds } from './format'
import { arrivalCauses, explainFewReceivers, reachRows, readTarget } from './reach'

const preview = data.preview as DatasetPreview
const heardByThreeOrMore = { ...preview, by_receivers: preview.by_receivers.filter((row) => row.num_receivers >= 3) }

describe('the target radius', () => {
  it.each([
    ['30', 30],
    [' 0.5 ', 0.5],
    ['1e6', 1e6],
  ])('%j is %s m', (text, value_m) => expect(readTarget(text)).toEqual({ value_m, error: null }))
  it.each([
    ['', 'Enter a number.'],
    ['   ', 'Enter a number.'],
    ['far', 'Enter a number.'],
    ['0', 'Allowed: more than 0, at most 1\u202f000\u202f000.'],
    ['-3', 'Allowed: more than 0, at most 1\u202f000\u202f000.'],
    ['1000001', 'Allowed: more than 0, at most 1\u202f000\u202f000.'],
    ['Infinity', 'Enter a number.'],
  ])('%j is refused: %s', (text, error) => expect(readTarget(text)).toEqual({ value_m: null, error }))
})

describe('what can be reached', () => {
  it('has a row for every number of receivers, in units', () => {
    expect(reachRows(preview)[2]).toEqual({ numReceivers: 3, share: '5.6 %', within: '1212 m', timing: '10.9 ns' })
    expect(reachRows(preview).at(-1)).toEqual({ numReceivers: 7, share: '44 %', within: '75.6 m', timing: '85.5 ns' })
  })

  it('asks no timing where times locate nothing', () => {
    expect(reachRows(preview)[0]).toEqual({ numReceivers: 1, share: '0.9 %', within: '49.7 km', timing: '–' })
  })

  it('names the causes, the largest first and the total last', () => {
    const arrival_sigma_ns = { clock: 50, total: 2700, excess: 500, estimate: 2650 }
    expect(arrivalCauses({ ...preview, arrival_sigma_ns })).toEqual([
      ['Noise and bandwidth', '2.65 µs'],
      ['Excess delays of the paths', '500 ns'],
      ['Clocks', '50 ns'],
      ['Together', '2.7 µs'],
    ])
  })

  it('a cause that this page does not know yet keeps its own name', () => {
    expect(arrivalCauses({ ...preview, arrival_sigma_ns: { antenna: 4, total: 4 } })[0]).toEqual(['antenna', '4 ns'])
  })

  it('explains rows with few receivers only where there are some', () => {
    expect(explainFewReceivers(preview, 3)).toMatch(/fewer than three.*heard by 3 receivers or more/)
    expect(explainFewReceivers(preview, 1)).not.toContain('or more')
    expect(explainFewReceivers(heardByThreeOrMore, 3)).toBe('')
    expect(explainFewReceivers(heardByThreeOrMore, 4)).toBe(
      'Examples of this data set are heard by 4 receivers or more.',
    )
    expect(explainFewReceivers({ ...preview, by_receivers: [] }, 3)).toBe('')
  })
})

it.each([
  [0, '0 ns'],
  [28.89, '28.9 ns'],
  [999.7, '1 µs'],
  [2104, '2.1 µs'],
  [999_900, '1 ms'],
  [3e9, '3000 ms'],
  [null, '–'],
])('%s ns reads %s', (value, text) => expect(formatNanoseconds(value)).toBe(text))
