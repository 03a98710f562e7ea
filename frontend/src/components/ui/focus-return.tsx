import { type RefObject, useRef, useState } from 'react'

type Opener = RefObject<HTMLElement | null>

let isReturning = false
let wanted: string | null = null

/** True while the focus goes back to what opened a dialog: the person has just used it, so its tooltip would only be in the way. */
export const isFocusReturning = (): boolean => isReturning

/** The next dialog that closes gives the focus to what fits `selector`, where the page shows it then: what was made in it. */
export function sendFocusTo(selector: string): void {
  wanted = selector
}

/**
 * Gives the focus to what a dialog asked for with `sendFocusTo`, else back to what had it when the dialog opened; where that
 * is gone with its card, to the card that took its place; and never to nothing. Radix gives it back only to a `Trigger`;
 * ours are opened by state.
 */
export function useFocusReturn() {
  const opener: Opener = useRef<HTMLElement | null>(null)
  const neighbours = useRef<HTMLElement[]>([])
  const onCloseAutoFocus = (event: Event) => {
    event.preventDefault()
    const asked = wanted === null ? null : document.querySelector<HTMLElement>(wanted)
    wanted = null
    const target = [asked, opener.current, ...neighbours.current.map(firstControl), ownTab()].find(isThere)
    isReturning = true
    target?.focus()
    isReturning = false
  }
  return { opener, neighbours, onCloseAutoFocus }
}

const isThere = (element: HTMLElement | null): boolean => element?.isConnected === true && element !== document.body

const firstControl = (item: HTMLElement) => (item.isConnected ? item.querySelector<HTMLElement>('h2 button') : null)

const ownTab = () =>
  document.querySelector<HTMLElement>('[role="tab"][data-state="active"]') ??
  document.querySelector<HTMLElement>('#content')

interface RememberFocusProps {
  opener: Opener
  neighbours: RefObject<HTMLElement[]>
}

/**
 * Stands inside the dialog and looks, at its first render, where the focus is: once it is drawn, a field may have taken it.
 * Where that is an item of a menu, which will be gone, the menu's button counts.
 */
export function RememberFocus({ opener, neighbours }: RememberFocusProps) {
  useState(() => {
    const focused = document.activeElement
    const menu = focused?.closest('[role="menu"]')?.getAttribute('aria-labelledby')
    opener.current = menu ? document.getElementById(menu) : focused instanceof HTMLElement ? focused : null
    neighbours.current = findNeighbours(opener.current?.closest('li'))
  })
  return null
}

/** The items of the same list, the next ones first. */
function findNeighbours(item: HTMLElement | null | undefined): HTMLElement[] {
  if (!item?.parentElement) return []
  const all = [...item.parentElement.children] as HTMLElement[]
  const place = all.indexOf(item)
  return [...all.slice(place + 1), ...all.slice(0, place).reverse()]
}
