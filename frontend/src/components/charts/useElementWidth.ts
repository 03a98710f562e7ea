import { type RefObject, useLayoutEffect, useState } from 'react'

/** Width in whole pixels, 0 until laid out. */
export function useElementWidth(ref: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const element = ref.current
    if (!element) return
    setWidth(Math.floor(element.clientWidth))
    const observer = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)))
    observer.observe(element)
    return () => observer.disconnect()
  }, [ref])
  return width
}

/** True once the element is near the view; charts out of sight cost nothing. */
export function useIsNear(ref: RefObject<HTMLElement | null>, onNear?: (isNear: boolean) => void): boolean {
  const [isNear, setNear] = useState(false)
  useLayoutEffect(() => {
    const element = ref.current
    if (!element) return
    const tell = ([entry]: IntersectionObserverEntry[]) => {
      setNear(entry?.isIntersecting ?? false)
      onNear?.(entry?.isIntersecting ?? false)
    }
    const observer = new IntersectionObserver(tell, { rootMargin: '200px' })
    observer.observe(element)
    return () => observer.disconnect()
  }, [ref, onNear])
  return isNear
}
