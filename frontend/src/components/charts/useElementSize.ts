import { type RefObject, useLayoutEffect, useState } from 'react'

const NO_SIZE = { width: 0, height: 0 }

/** Inner size in whole pixels, 0 until laid out. */
export function useElementSize(ref: RefObject<HTMLElement | null>): typeof NO_SIZE {
  const [size, setSize] = useState(NO_SIZE)
  useLayoutEffect(() => {
    const element = ref.current
    if (!element) return
    const measure = () => {
      const { clientWidth: width, clientHeight: height } = element
      setSize((old) => (old.width === width && old.height === height ? old : { width, height }))
    }
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    return () => observer.disconnect()
  }, [ref])
  return size
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
