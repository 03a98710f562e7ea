import { useSyncExternalStore } from 'react'
import { flushSync } from 'react-dom'

/** px that every plot is drawn for on a sheet, which then scales all of one column alike: about the inner width of A4 upright. */
export const PRINT_WIDTH = 680

const LAYOUT_STEPS = 4

let isPrinting = false
const listeners = new Set<() => void>()

/** What is printed must be there when the browser lays out the sheet, which is right after it has said so. */
function set(value: boolean): void {
  if (value === isPrinting) return
  isPrinting = value
  flushSync(() => {
    for (const tell of listeners) tell()
  })
  // A chart lays itself out in steps: what its effects ask for has to be drawn at once too.
  for (let step = 0; step < LAYOUT_STEPS; step += 1) flushSync(() => undefined)
}

if (typeof matchMedia === 'function') {
  addEventListener('beforeprint', () => set(true))
  addEventListener('afterprint', () => set(false))
  matchMedia('print').addEventListener('change', ({ matches }) => set(matches))
}

/** Whether the page is being laid out for paper: then nothing may wait until it is scrolled into view. */
export function useIsPrinting(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => isPrinting,
    () => false,
  )
}
