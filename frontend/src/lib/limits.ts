import limits from '@/api/limits.gen.json'
import { groupDigits } from './format'

export interface FieldLimits {
  type: string
  required: boolean
  nullable: boolean
  default: string | number | boolean | null
  minimum: number | null
  maximum: number | null
  exclusiveMinimum: number | null
  minLength: number | null
  maxLength: number | null
  options: string[] | null
  help: string
}

export const JOB_LIMITS: Record<keyof typeof limits.TrainingJobConfig, FieldLimits> = limits.TrainingJobConfig
export const EXPORT_LIMITS: Record<keyof typeof limits.ExportOptions, FieldLimits> = limits.ExportOptions
export const PREVIEW_LIMITS: Record<keyof typeof limits.PreviewQuery, FieldLimits> = limits.PreviewQuery

/** "1 to 4096" or "more than 0, at most 1", as the hint beside a field. */
export function describeRange(field: FieldLimits): string {
  const { minimum, exclusiveMinimum, maximum } = field
  if (maximum === null) return ''
  const highest = groupDigits(maximum)
  if (minimum !== null) return `${groupDigits(minimum)} to ${highest}`
  return exclusiveMinimum === null ? '' : `more than ${groupDigits(exclusiveMinimum)}, at most ${highest}`
}

/** What the field is, what it may be, and what is to know of it: "Epochs before stopping. 0 to 1000; 0 turns it off." */
export function describeField(field: FieldLimits): string {
  const range = describeRange(field)
  if (!range) return field.help
  const [what, ...remarks] = field.help.replace(/\.$/, '').split('; ')
  return `${what}. ${[range.charAt(0).toUpperCase() + range.slice(1), ...remarks].join('; ')}.`
}
