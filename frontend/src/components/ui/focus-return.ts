import { useRef } from 'react'

/**
 * Gives the focus back to what had it when a dialog opened. Radix gives it back only to a `Trigger`; ours are opened by state.
 * Where that was an item of a menu, which is gone by then, the menu's button gets it.
 */
export function useFocusReturn() {
  const before = useRef<HTMLElement | null>(null)
  return {
    onOpenAutoFocus: () => {
      const focused = document.activeElement
      const menu = focused?.closest('[role="menu"]')?.getAttribute('aria-labelledby')
      before.current = menu ? document.getElementById(menu) : focused instanceof HTMLElement ? focused : null
    },
    onCloseAutoFocus: (event: Event) => {
      if (!before.current?.isConnected || before.current === document.body) return
      event.preventDefault()
      before.current.focus()
    },
  }
}
