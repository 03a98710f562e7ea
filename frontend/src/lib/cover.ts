import { useLayoutEffect, useSyncExternalStore } from 'react'

let covers = 0
const listeners = new Set<() => void>()

function count(by: 1 | -1): void {
  covers += by
  for (const tell of listeners) tell()
}

/** While the caller is there, a dialog at the lower edge has its words and buttons where toasts would stand. */
export function useCover(): void {
  useLayoutEffect(() => {
    count(1)
    return () => count(-1)
  }, [])
}

function subscribe(tell: () => void) {
  listeners.add(tell)
  return () => {
    listeners.delete(tell)
  }
}

/** Whether a dialog stands at the lower edge of a narrow screen. */
export const useIsCovered = (): boolean =>
  useSyncExternalStore(
    subscribe,
    () => covers > 0,
    () => false,
  )
