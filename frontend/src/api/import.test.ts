import { HttpResponse, http } from 'msw'
import { describe, expect, it } from 'vitest'
import { server } from '@/test/setup'
import { importModel } from './training'
import type { VerificationCheck } from './types'

const IMPORT = '*/api/v1/training/models/import'
const file = new File(['{}'], 'a.heimdall')
const check = (name: string): VerificationCheck => ({ name, status: 'passed', detail: '' })
const result = { model_id: 'm', verification: { status: 'verified', checks: [check('format')] }, model: {} }
const problem = { code: 'onnx_opset', detail: 'The opset is too new.', field: '$.model' }

/** A body that arrives piece by piece. */
function answerLines(...lines: object[]) {
  const pieces = lines.map((line) => `${JSON.stringify(line)}\n`)
  server.use(
    http.post(IMPORT, () => new HttpResponse(pieces.join(''), { headers: { 'Content-Type': 'application/x-ndjson' } })),
  )
}

describe('an import', () => {
  it('tells the checks in order and how it ended', async () => {
    answerLines({ check: check('format') }, { check: check('load') }, { status: 201, result })
    const told: string[][] = []
    const got = await importModel(file, { onChecks: (checks) => told.push(checks.map(({ name }) => name)) })
    expect(got).toMatchObject({ model_id: 'm', existed: false, verification: { status: 'verified' } })
    expect(told.at(-1)).toEqual(['format', 'load'])
  })
  it('knows a bundle that is already here', async () => {
    answerLines({ status: 200, result })
    expect((await importModel(file)).existed).toBe(true)
  })
  it('fails with the last line’s problem', async () => {
    answerLines({ check: check('format') }, { status: 422, problem })
    await expect(importModel(file)).rejects.toMatchObject({ message: problem.detail, status: 422, code: 'onnx_opset' })
  })
  it('says that the connection ended where the last line never came', async () => {
    answerLines({ check: check('format') })
    await expect(importModel(file)).rejects.toThrow('The connection ended before the import did.')
  })
  it('understands an engine that answers at once', async () => {
    server.use(http.post(IMPORT, () => HttpResponse.json(result, { status: 201 })))
    expect((await importModel(file)).model_id).toBe('m')
    server.use(http.post(IMPORT, () => HttpResponse.json({ ...problem, code: 'too_large' }, { status: 413 })))
    await expect(importModel(file)).rejects.toMatchObject({ code: 'too_large', status: 413, message: problem.detail })
  })
})
