import { Progress as ProgressPrimitive } from 'radix-ui'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'

interface ProgressProps extends ComponentProps<typeof ProgressPrimitive.Root> {
  value: number
  indicatorClassName?: string
}

/** Glides toward the true value: the transform is animated, so nothing is laid out again. */
export function Progress({ className, value, indicatorClassName, ...props }: ProgressProps) {
  return (
    <ProgressPrimitive.Root
      data-slot="progress"
      value={value}
      className={cn('relative h-2 w-full overflow-hidden rounded-full bg-subtle', className)}
      {...props}
    >
      <ProgressPrimitive.Indicator
        data-slot="progress-indicator"
        className={cn(
          'size-full origin-left bg-accent transition-transform duration-300 ease-linear',
          indicatorClassName,
        )}
        style={{ transform: `scaleX(${Math.min(100, Math.max(0, value)) / 100})` }}
      />
    </ProgressPrimitive.Root>
  )
}
