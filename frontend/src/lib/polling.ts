import { useEffect, useRef } from 'react'

/** Runs `task` at once and then every `everyMs`; not while the tab is hidden, but as soon as it is seen again. */
export function usePolling(task: () => Promise<unknown> | unknown, everyMs: number, isOn = true): void {
  const latest = useRef(task)
  useEffect(() => {
    latest.current = task
  })
  useEffect(() => {
    if (!isOn) return
    let isStopped = false
    let timer: ReturnType<typeof setTimeout>
    const turn = async () => {
      clearTimeout(timer)
      if (!document.hidden) await latest.current()
      // The next turn is set only when this one has ended: a slow server is never asked twice at once.
      if (!isStopped) timer = setTimeout(turn, everyMs)
    }
    const onVisible = () => {
      if (!document.hidden) void turn()
    }
    void turn()
    document.addEventListener('visibilitychange', onVisible)
    return () => {
      isStopped = true
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', onVisible)
    }
  }, [everyMs, isOn])
}
