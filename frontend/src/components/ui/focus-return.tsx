import { type RefObject, useRef, useState } from 'react'

type Opener = RefObject<HTMLElement | null>

let isReturning = false

/** True while the focus goes back to what opened a dialog: the person has just used it, so its tooltip would only be in the way. */
export const isFocusReturning = (): boolean => isReturning

/** Gives the focus back to what had it when a dialog opened. Radix gives it back only to a `Trigger`; ours are opened by state. */
export function useFocusReturn() {
  const opener: Opener = useRef<HTMLElement | null>(null)
  const onCloseAutoFocus = (event: Event) => {
    if (!opener.current?.isConnected || opener.current === document.body) return
    event.preventDefault()
    isReturning = true
    opener.current.focus()
    isReturning = false
  }
  return { opener, onCloseAutoFocus }
}

/**
 * Stands inside the dialog and looks, at its first render, where the focus is: once it is drawn, a field may have taken it.
 * Where that is an item of a menu, which will be gone, the menu's button counts.
 */
export function RememberFocus({ opener }: { opener: Opener }) {
  useState(() => {
    const focused = document.activeElement
    const menu = focused?.closest('[role="menu"]')?.getAttribute('aria-labelledby')
    opener.current = menu ? document.getElementById(menu) : focused instanceof HTMLElement ? focused : null
  })
  return null
}
