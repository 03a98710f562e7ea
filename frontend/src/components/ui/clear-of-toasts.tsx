import { useEffect } from 'react'
import { useCover } from '@/lib/cover'
import { NARROW } from '@/lib/media'
import { closeSuccesses } from '@/lib/notify'

/**
 * Stands inside a dialog: on a narrow screen, where it has its buttons at the lower edge, the successes that are still told make room and
 * other toasts go to the upper edge.
 */
export function ClearOfToasts() {
  useCover()
  useEffect(closeSuccessesIfNarrow, [])
  return null
}

/** Stands inside what fills a narrow screen from edge to edge. */
export function CloseToasts() {
  useEffect(closeSuccessesIfNarrow, [])
  return null
}

function closeSuccessesIfNarrow(): void {
  if (matchMedia(NARROW).matches) closeSuccesses()
}
