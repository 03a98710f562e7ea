import { API_ROOT, ApiError, toProblemError } from './client'
import type { components } from './schema.gen'
import type { Problem, Verification, VerificationCheck } from './types'

export interface ImportResult {
  model_id: string
  verification: Verification
  /** True where the same bundle was already here. */
  existed: boolean
}

export interface ImportListener {
  /** Share of the file that was sent. */
  onProgress?: (share: number) => void
  /** Every check that is done so far, in order. */
  onChecks?: (checks: VerificationCheck[]) => void
}

type ImportAnswer = components['schemas']['ImportResult']

/** A line of the answer: a check that is done, or how the import ended. */
interface ImportLine {
  check?: VerificationCheck
  status?: number
  result?: ImportAnswer
  problem?: Problem
}

/** An older engine sends no lines but its one answer; both are understood. */
export async function importModel(file: File, listener: ImportListener = {}): Promise<ImportResult> {
  const request = await send(file, listener)
  const lines = readLines(request.responseText)
  listener.onChecks?.(checksOf(lines))
  const last = lines.at(-1) ?? {}
  const status = last.status ?? request.status
  if (last.problem || status >= 400) throw toProblemError(status, last.problem ?? last)
  const answer = last.result ?? (last as Partial<ImportAnswer>)
  if (!answer.verification || !answer.model_id)
    throw new ApiError('The connection ended before the import did. Look whether the model is here.', null, 'offline')
  return { model_id: answer.model_id, verification: answer.verification, existed: status === 200 }
}

/** By hand, for here every piece of the answer counts: axios tells of three a second, and `fetch` of nothing while it sends. */
function send(file: File, { onProgress, onChecks }: ImportListener): Promise<XMLHttpRequest> {
  const body = new FormData()
  body.append('file', file, file.name)
  const request = new XMLHttpRequest()
  return new Promise((resolve, reject) => {
    request.open('POST', `${API_ROOT}/training/models/import`)
    request.setRequestHeader('Accept', 'application/x-ndjson, application/json')
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(total ? loaded / total : 0)
    request.onprogress = () => onChecks?.(checksOf(readLines(request.responseText)))
    request.onload = () => resolve(request)
    request.onerror = request.onabort = () =>
      reject(
        new ApiError('The server does not answer. Check that Heimdall is running, then try again.', null, 'offline'),
      )
    request.send(body)
  })
}

const checksOf = (lines: ImportLine[]) => lines.flatMap(({ check }) => (check ? [check] : []))

/** The whole lines of what has come; the last one may still be on its way. */
function readLines(text: string): ImportLine[] {
  return text.split('\n').flatMap((line) => {
    try {
      const value: unknown = JSON.parse(line)
      return typeof value === 'object' && value !== null ? [value as ImportLine] : []
    } catch {
      return []
    }
  })
}
