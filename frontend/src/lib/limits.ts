import limits from '@/api/limits.gen.json'

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

/** "1 to 4096", as the hint beside a field. */
export function describeRange(field: FieldLimits): string {
  const low = field.minimum ?? field.exclusiveMinimum
  if (low === null || field.maximum === null) return ''
  const from = field.exclusiveMinimum === null ? String(low) : `above ${low}`
  return `${from} to ${field.maximum > 1e6 ? field.maximum.toExponential(0).replace('+', '') : field.maximum}`
}
