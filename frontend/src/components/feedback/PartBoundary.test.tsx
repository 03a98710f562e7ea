import { act, render, screen } from '@testing-library/react'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { PartBoundary } from './PartBoundary'

const reload = vi.fn()
let isServerThere = true

function fail(message: string) {
  const Part = () => {
    throw new TypeError(message)
  }
  return render(
    <PartBoundary>
      <Part />
    </PartBoundary>,
  )
}

const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms))
const NOT_LOADED = 'Failed to fetch dynamically imported module: /assets/ImportDialog.js'

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(console, 'error').mockImplementation(() => undefined)
  vi.stubGlobal('location', { ...location, reload })
  vi.stubGlobal('fetch', async () => {
    if (!isServerThere) throw new TypeError('Failed to fetch')
    return new Response('{}')
  })
  sessionStorage.clear()
  reload.mockClear()
  isServerThere = true
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  vi.useRealTimers()
})

it('loads the page anew though the server was back before anyone looked', async () => {
  fail(NOT_LOADED)
  await pass(0)
  expect(reload).toHaveBeenCalledOnce()
})

it('waits for a server that is away', async () => {
  isServerThere = false
  fail(NOT_LOADED)
  await pass(9_000)
  expect(reload).not.toHaveBeenCalled()
  isServerThere = true
  await pass(3_000)
  expect(reload).toHaveBeenCalledOnce()
})

it('leaves it to the person where loading anew did not help just now', async () => {
  const { unmount } = fail(NOT_LOADED)
  await pass(0)
  unmount()
  fail(NOT_LOADED)
  await pass(9_000)
  expect(reload).toHaveBeenCalledOnce()
})

it('does not load anew for a part that itself is at fault', async () => {
  fail('x is not a function')
  await pass(9_000)
  expect(reload).not.toHaveBeenCalled()
  expect(screen.getByRole('button', { name: 'Try again' })).toBeInTheDocument()
})
