import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'

/** Names up to here seldom need to give way. */
const SHORT = 24
const TAIL = 12

/** A name that gives way in its middle: what tells one run from the next ("…, seed 2") stands at the end as often as at the start. */
export function LongName({ name, className, ...props }: { name: string } & ComponentProps<'span'>) {
  if (name.length <= SHORT)
    return (
      <span className={cn('truncate', className)} title={name} {...props}>
        {name}
      </span>
    )
  return (
    <span className={cn('inline-flex min-w-0', className)} title={name} {...props}>
      <span className="sr-only">{name}</span>
      <span className="shrink-[9999] truncate" aria-hidden>
        {name.slice(0, -TAIL)}
      </span>
      <span className="min-w-0 overflow-hidden whitespace-pre" aria-hidden>
        {name.slice(-TAIL)}
      </span>
    </span>
  )
}
