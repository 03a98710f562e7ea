import { useEffect } from 'react'
import { Toaster as Sonner } from 'sonner'
import { useIsCovered } from '@/lib/cover'
import { DOCK } from '@/lib/dock'
import { NARROW, useMedia } from '@/lib/media'
import { closeNewestError } from '@/lib/notify'

const FLOATING = '[role="dialog"], [role="alertdialog"], [role="menu"], [role="listbox"]'

/** A bar at the lower edge is never covered. */
const above = (distance_px: number) => `calc(var(${DOCK}, 0px) + ${distance_px}px)`

/** Bottom left, where no dialog or sheet has its buttons, on a narrow screen above a dialog; three at most; success leaves after four seconds, errors stay until closed: by their button, or by Escape. */
export function Toaster({ theme }: { theme: 'light' | 'dark' }) {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || event.defaultPrevented) return
      // What floats above the page takes the key first, and so does a field.
      if (document.querySelector(FLOATING) || (event.target as Element | null)?.matches?.('input, textarea')) return
      closeNewestError()
    }
    // Before the dialogs' own listeners, which take what they close out of the page at once.
    addEventListener('keydown', onKey, { capture: true })
    return () => removeEventListener('keydown', onKey, { capture: true })
  }, [])
  const isCovered = useIsCovered()
  const isNarrow = useMedia(NARROW)
  return (
    <Sonner
      theme={theme}
      position={isCovered && isNarrow ? 'top-left' : 'bottom-left'}
      visibleToasts={3}
      offset={{ top: 8, bottom: above(24) }}
      mobileOffset={{ top: 8, bottom: above(16) }}
      duration={4000}
      closeButton
      toastOptions={{
        style: {
          background: 'var(--raised)',
          color: 'var(--text)',
          border: '1px solid var(--border)',
          borderRadius: '10px',
          boxShadow: 'var(--shadow-float)',
          fontFamily: 'inherit',
          fontSize: '13px',
        },
        classNames: {
          content: 'min-w-0',
          title: 'line-clamp-3 wrap-anywhere',
          description: '!text-muted line-clamp-4 wrap-anywhere',
          actionButton: 'max-w-32 shrink-0',
        },
      }}
    />
  )
}
