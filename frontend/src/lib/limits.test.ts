import { describe, expect, it } from 'vitest'
import { proposeEpochs } from './job-form'
import { describeField, describeRange, type FieldLimits, JOB_LIMITS } from './limits'

const limits = (changes: Partial<FieldLimits>): FieldLimits => ({ ...JOB_LIMITS.epochs, minimum: null, ...changes })

describe('the limits beside a field', () => {
  it.each([
    [{ minimum: 0, maximum: 2147483647 }, '0 to 2\u202f147\u202f483\u202f647'],
    [{ minimum: 0.05, maximum: 0.5 }, '0.05 to 0.5'],
    [{ minimum: 1, maximum: 4096 }, '1 to 4096'],
    [{ exclusiveMinimum: 0, maximum: 1 }, 'more than 0, at most 1'],
    [{ minimum: 1, maximum: null }, ''],
  ])('are said exactly: %j', (changes, words) => {
    expect(describeRange(limits(changes))).toBe(words)
  })

  it.each([
    ['Epochs before stopping; 0 turns it off.', 'Epochs before stopping. 0 to 1000; 0 turns it off.'],
    ['Share of the groups held out.', 'Share of the groups held out. 0 to 1000.'],
  ])('stand between what a field is and what is to know of it: %s', (help, sentence) => {
    expect(describeField(limits({ help, minimum: 0, maximum: 1000 }))).toBe(sentence)
  })

  it('begin a sentence of their own', () => {
    expect(describeField(JOB_LIMITS.learning_rate)).toBe('Peak rate of the optimizer. More than 0, at most 1.')
  })

  it('of every number speak of an empty field, never of null', () => {
    for (const field of Object.values(JOB_LIMITS)) expect(describeField(field)).not.toMatch(/null/i)
  })
})

describe('the epochs that a continued run may want', () => {
  it.each([
    [13, 13, 26],
    [13, 50, 50],
    [60_000, 60_000, 100_000],
  ])('after %i of %i are %i in all', (done, planned, proposed) => {
    expect(proposeEpochs(done, planned)).toBe(proposed)
  })
})
