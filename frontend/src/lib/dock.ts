import { type RefObject, useLayoutEffect } from 'react'

/** CSS length by which what floats at the lower edge, such as a toast, stays above a bar that stands there. */
export const DOCK = '--dock'

/** Keeps `--dock` at the height of a bar at the lower edge, its distance from the edge included. */
export function useDock(ref: RefObject<HTMLElement | null>, distance_px = 0): void {
  useLayoutEffect(() => {
    const bar = ref.current
    const root = document.documentElement
    if (!bar) return
    const measure = () => root.style.setProperty(DOCK, `${bar.offsetHeight + distance_px}px`)
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(bar)
    return () => {
      observer.disconnect()
      root.style.removeProperty(DOCK)
    }
  }, [ref, distance_px])
}
