import '@testing-library/jest-dom/vitest'
import { cleanup, configure } from '@testing-library/react'
import { setupServer } from 'msw/node'
import { afterAll, afterEach, beforeAll, vi } from 'vitest'
import { trainingSockets } from '@/api/training-sockets'
import { resetTrainingStore } from '@/stores/trainingStore'

export const server = setupServer()

// Two cores shared with a training worker: a dialog that loads on demand may take seconds.
configure({ asyncUtilTimeout: 10_000 })

// What jsdom lacks and Radix, the charts and the grid ask for.
class NoObserver {
  observe() {}
  unobserve() {}
  disconnect() {}
}
vi.stubGlobal('ResizeObserver', NoObserver)
vi.stubGlobal('IntersectionObserver', NoObserver)
vi.stubGlobal('matchMedia', (query: string) => ({
  matches: query.includes('min-width'),
  media: query,
  addEventListener() {},
  removeEventListener() {},
}))
Element.prototype.scrollIntoView = () => undefined
Element.prototype.hasPointerCapture = () => false

beforeAll(() => server.listen({ onUnhandledRequest: 'error' }))
afterEach(() => {
  cleanup()
  server.resetHandlers()
  resetTrainingStore()
  localStorage.clear()
})
afterAll(() => {
  // Else its timers outlive the page that they speak to.
  trainingSockets.closeIdle()
  server.close()
})
