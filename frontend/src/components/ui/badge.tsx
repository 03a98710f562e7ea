import { cva, type VariantProps } from 'class-variance-authority'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'

const badgeVariants = cva(
  'inline-flex h-6 shrink-0 items-center gap-1 rounded-full px-2 text-xs font-semibold whitespace-nowrap [&_svg]:size-3.5 [&_svg]:shrink-0',
  {
    variants: {
      tone: {
        pending: 'bg-pending-fill/14 text-pending',
        running: 'bg-running-fill/12 text-running',
        paused: 'bg-paused-fill/14 text-paused',
        completed: 'bg-completed-fill/12 text-completed',
        failed: 'bg-failed-fill/12 text-failed',
        cancelled: 'bg-cancelled-fill/14 text-cancelled',
        plain: 'bg-subtle text-muted',
      },
    },
    defaultVariants: { tone: 'plain' },
  },
)

export type BadgeTone = NonNullable<VariantProps<typeof badgeVariants>['tone']>

export function Badge({ className, tone, ...props }: ComponentProps<'span'> & VariantProps<typeof badgeVariants>) {
  return <span data-slot="badge" data-tone={tone} className={cn(badgeVariants({ tone }), className)} {...props} />
}
