import { useEffect, useRef } from 'react'

/** Two-key sequences must follow each other this fast. */
const SEQUENCE_MS = 800

/** Single keys ("n") and sequences ("g j"); `/` goes to the search field. Silent while typing or while a dialog is open. */
export function useShortcuts(keys: Record<string, () => void>): void {
  const latest = useRef(keys)
  useEffect(() => {
    latest.current = keys
  })
  useEffect(() => {
    let before = ''
    let beforeAt = 0
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isBusy(event.target)) return
      const sequence = Date.now() - beforeAt < SEQUENCE_MS ? `${before} ${event.key}` : event.key
      before = event.key
      beforeAt = Date.now()
      if (event.key === '/') {
        const field = document.querySelector<HTMLElement>('[data-hotkey="/"]')
        field?.focus()
        if (field) event.preventDefault()
        return
      }
      const act = latest.current[sequence] ?? latest.current[event.key]
      if (act) {
        event.preventDefault()
        act()
      }
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
}

function isBusy(target: EventTarget | null): boolean {
  if (document.querySelector('[role="dialog"], [role="alertdialog"], [role="menu"], [role="listbox"]')) return true
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
}
