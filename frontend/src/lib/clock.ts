import { useEffect, useState, useSyncExternalStore } from 'react'

/** One clock for every relative time on the page, instead of a timer in each of them. */
const listeners = new Set<() => void>()
let now = Date.now()
let timer: ReturnType<typeof setInterval> | undefined

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  timer ??= setInterval(() => {
    if (document.hidden) return
    now = Date.now()
    for (const tell of listeners) tell()
  }, 1000)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) {
      clearInterval(timer)
      timer = undefined
    }
  }
}

/** Milliseconds since 1970, moving once per `stepS` seconds. */
export function useNow(stepS = 1): number {
  const read = () => Math.floor(now / (stepS * 1000)) * stepS * 1000
  return useSyncExternalStore(subscribe, read, read)
}

/** Whether a wait has lasted for `afterMs`; without a wait there is no timer. */
export function useIsLate(afterMs: number, isWaiting = true): boolean {
  const [isLate, setLate] = useState(false)
  useEffect(() => {
    if (!isWaiting) return
    const timer = setTimeout(() => setLate(true), afterMs)
    return () => clearTimeout(timer)
  }, [afterMs, isWaiting])
  return isLate
}
