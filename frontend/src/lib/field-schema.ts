import { z } from 'zod'
import { describeRange, type FieldLimits } from './limits'

// The page's CSP forbids eval; zod would otherwise try it and leave an error in the console.
z.config({ jitless: true })

function numberSchema(limits: FieldLimits) {
  const message = `Allowed: ${describeRange(limits)}.`
  let schema = z.number({ error: 'Enter a number.' })
  if (limits.type === 'integer') schema = schema.int('Enter a whole number.')
  if (limits.minimum !== null) schema = schema.min(limits.minimum, message)
  if (limits.exclusiveMinimum !== null) schema = schema.gt(limits.exclusiveMinimum, message)
  if (limits.maximum !== null) schema = schema.max(limits.maximum, message)
  // Inputs hand over text; empty text is "not given", never zero.
  return z.preprocess(
    (value) => (value === '' || value === null ? undefined : Number(value)),
    emptyAllowed(limits, schema),
  )
}

function textSchema(limits: FieldLimits) {
  if (limits.options) return z.enum(limits.options as [string, ...string[]], `One of: ${limits.options.join(', ')}.`)
  let schema = z.string({ error: 'This field is needed.' }).trim()
  if (limits.minLength !== null) schema = schema.min(limits.minLength, 'This field is needed.')
  if (limits.maxLength !== null) schema = schema.max(limits.maxLength, `At most ${limits.maxLength} characters.`)
  return schema
}

function emptyAllowed(limits: FieldLimits, schema: z.ZodType) {
  return limits.nullable ? schema.optional() : schema
}

/** The check of a form, built from the engine's own limits. */
export function formSchema(fields: Record<string, FieldLimits>) {
  return z.object(
    Object.fromEntries(
      Object.entries(fields).map(([name, limits]) => [
        name,
        limits.type === 'number' || limits.type === 'integer' ? numberSchema(limits) : textSchema(limits),
      ]),
    ),
  )
}
