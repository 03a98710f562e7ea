import { ChevronRight } from 'lucide-react'
import type { ReactNode } from 'react'

interface FoldProps {
  title: string
  /** Holds it open; else the person decides. */
  open?: boolean | undefined
  onToggle?: (isOpen: boolean) => void
  children: ReactNode
}

/** A part of a form that is folded until somebody wants it. */
export function Fold({ title, open, onToggle, children }: FoldProps) {
  return (
    <details
      data-slot="fold"
      className="group rounded-control border"
      open={open}
      onToggle={(event) => onToggle?.(event.currentTarget.open)}
    >
      <summary className="flex min-h-10 list-none items-center gap-1.5 px-3 font-medium max-sm:min-h-11">
        <ChevronRight className="size-4 text-muted transition-transform group-open:rotate-90" aria-hidden /> {title}
      </summary>
      {children}
    </details>
  )
}
