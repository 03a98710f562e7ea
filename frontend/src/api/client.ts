import axios, { type AxiosRequestConfig, isAxiosError } from 'axios'
import { inPageQuotes } from '@/lib/sentence'
import type { Problem } from './types'

export const API_ROOT = '/api/v1'

export const http = axios.create({ baseURL: API_ROOT, timeout: 30_000 })

/** A failed request in words for a person; `field` is where a form shows it. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number | null,
    readonly code: string,
    readonly field: string | null = null,
  ) {
    super(message)
    this.name = 'ApiError'
  }
}

function isProblem(body: unknown): body is Problem {
  return typeof body === 'object' && body !== null && 'detail' in body && typeof body.detail === 'string'
}

export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (!isAxiosError(error)) return new ApiError(error instanceof Error ? error.message : String(error), null, 'client')
  const { response } = error
  if (!response) {
    const slow = error.code === 'ECONNABORTED' || error.code === 'ETIMEDOUT'
    return slow
      ? new ApiError('The server took too long to answer. Check the list before you try again.', null, 'timeout')
      : new ApiError('The server does not answer. Check that Heimdall is running, then try again.', null, 'offline')
  }
  return toProblemError(response.status, response.data)
}

export function toProblemError(status: number, body: unknown): ApiError {
  return isProblem(body)
    ? new ApiError(inPageQuotes(body.detail), status, body.code, body.field ?? null)
    : new ApiError(`The server answered ${status} without saying why.`, status, 'http')
}

export async function request<T>(config: AxiosRequestConfig): Promise<T> {
  try {
    return (await http.request<T>(config)).data
  } catch (error) {
    throw toApiError(error)
  }
}

const tagged = new Map<string, { etag: string; body: unknown }>()

/** GET that sends the last ETag; an unchanged answer returns the very same object, so that nothing re-renders. */
export async function requestTagged<T>(url: string, params: Record<string, string | number>): Promise<T> {
  const key = http.getUri({ url, params })
  const known = tagged.get(key)
  try {
    const response = await http.get<T>(url, {
      params,
      headers: known ? { 'If-None-Match': known.etag } : {},
      validateStatus: (status) => status === 304 || (status >= 200 && status < 300),
    })
    if (response.status === 304 && known) return known.body as T
    const etag: unknown = response.headers.etag
    if (typeof etag === 'string') tagged.set(key, { etag, body: response.data })
    else tagged.delete(key)
    return response.data
  } catch (error) {
    throw toApiError(error)
  }
}
