// Takes the limits and defaults of the forms out of the engine's schema, so that no copy of a limit is typed by hand.
import { readFileSync, writeFileSync } from 'node:fs'

const source = process.argv[2] ?? new URL('../../openapi.json', import.meta.url)
const { components, paths } = JSON.parse(readFileSync(source, 'utf8'))

/** A body schema is split in two by FastAPI where reading and writing differ. */
function fieldsOf(name) {
  const schema = components.schemas[`${name}-Input`] ?? components.schemas[`${name}Input`] ?? components.schemas[name]
  if (!schema?.properties) throw new Error(`openapi.json has no schema ${name}`)
  const required = new Set(schema.required ?? [])
  const entries = Object.entries(schema.properties).map(([field, raw]) => [field, limitsOf(raw, required.has(field))])
  return Object.fromEntries(entries)
}

function limitsOf(raw, required) {
  const variant = raw.anyOf?.find((option) => option.type !== 'null') ?? raw
  const nullable = raw.anyOf?.some((option) => option.type === 'null') ?? false
  return {
    type: variant.type ?? 'string',
    required,
    nullable,
    default: raw.default ?? null,
    minimum: variant.minimum ?? null,
    maximum: variant.maximum ?? null,
    exclusiveMinimum: variant.exclusiveMinimum ?? null,
    minLength: variant.minLength ?? null,
    maxLength: variant.maxLength ?? null,
    options: variant.enum ?? null,
    help: raw.description ?? variant.description ?? '',
  }
}

function queryOf(path, method) {
  const parameters = paths[path]?.[method]?.parameters
  if (!parameters) throw new Error(`openapi.json has no query of ${method} ${path}`)
  return Object.fromEntries(parameters.map(({ name, required, schema }) => [name, limitsOf(schema, required)]))
}

const limits = {
  TrainingJobConfig: fieldsOf('TrainingJobConfig'),
  ExportOptions: fieldsOf('ExportOptions'),
  PreviewQuery: queryOf('/api/v1/training/datasets/preview', 'post'),
}
writeFileSync(new URL('../src/api/limits.gen.json', import.meta.url), `${JSON.stringify(limits, null, 2)}\n`)
