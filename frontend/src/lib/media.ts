import { useCallback, useSyncExternalStore } from 'react'

/** Where dialogs stand at the lower edge, as wide as the screen. */
export const NARROW = '(max-width: 639.98px)'

/** Whether a media query holds now. False where nothing is laid out. */
export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (tell: () => void) => {
      const list = matchMedia(query)
      list.addEventListener('change', tell)
      return () => list.removeEventListener('change', tell)
    },
    [query],
  )
  return useSyncExternalStore(
    subscribe,
    () => matchMedia(query).matches,
    () => false,
  )
}
