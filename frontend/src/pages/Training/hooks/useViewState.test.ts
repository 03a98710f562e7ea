import { describe, expect, it } from 'vitest'
import { formatView, parseView, seriesId } from './useViewState'

const runs = Array.from({ length: 8 }, (_, index) => `6456efba-2646-4b6f-9d59-00000000000${index}`)
const read = (text: string) => parseView(new URLSearchParams(text))

describe('the address of a view', () => {
  it('keeps the runs that are too many, until others are chosen', () => {
    const view = read(`runs=${runs.join()}`)
    expect(view.runs).toEqual(runs.slice(0, 6))
    expect(view.surplus).toEqual(runs.slice(6))
    expect(formatView({ ...view, log: true }).runs).toBe(runs.join())
  })

  it('names a run once', () => {
    expect(read('runs=a,b,a').runs).toEqual(['a', 'b'])
  })

  it('keeps which lines are hidden, as long as their run is there', () => {
    const [first = '', second = ''] = runs
    const hide = [seriesId(first, 'val_loss'), seriesId(second, 'train_loss')]
    const view = { ...read(`tab=metrics&runs=${first},${second}`), hide }
    expect(read(new URLSearchParams(formatView(view)).toString()).hide).toEqual(hide)
    expect(formatView({ ...view, runs: [second] }).hide).toBe(hide[1])
  })
})
