import { toast } from 'sonner'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { closeNewestError, MAX_ERRORS, tellError } from './notify'

let told = vi.spyOn(toast, 'error')
let dismissed = vi.spyOn(toast, 'dismiss')

beforeEach(() => {
  while (closeNewestError());
  told = vi.spyOn(toast, 'error')
  dismissed = vi.spyOn(toast, 'dismiss')
})

describe('errors', () => {
  it('that are the same are counted in one toast', () => {
    tellError('Not done: “a”', new Error('The server does not answer.'))
    tellError('Not done: “a”', new Error('The server does not answer.'))
    const [first, second] = told.mock.calls
    expect(second?.[0]).toBe('Not done: “a” (2 times)')
    expect(second?.[1]?.id).toBe(first?.[1]?.id)
  })

  it('stay until they are closed, but only so many of them', () => {
    for (let index = 0; index <= MAX_ERRORS; index += 1) tellError(`Not done: ${index}`, new Error('Why.'))
    expect(told.mock.calls[0]?.[1]?.duration).toBe(Number.POSITIVE_INFINITY)
    expect(dismissed.mock.calls).toEqual([[told.mock.calls[0]?.[1]?.id]])
  })

  it('are closed one by one, the newest first, until there is none', () => {
    tellError('First', new Error('Why.'))
    tellError('Second', new Error('Why.'))
    expect([closeNewestError(), closeNewestError(), closeNewestError()]).toEqual([true, true, false])
    expect(dismissed.mock.calls.map(([id]) => String(id).split('\n')[0])).toEqual(['Second', 'First'])
  })
})
