import { Popover as PopoverPrimitive } from 'radix-ui'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'

export const Popover = PopoverPrimitive.Root
export const PopoverTrigger = PopoverPrimitive.Trigger

export function PopoverContent({ className, ...props }: ComponentProps<typeof PopoverPrimitive.Content>) {
  return (
    <PopoverPrimitive.Portal>
      <PopoverPrimitive.Content
        data-slot="popover-content"
        sideOffset={4}
        align="end"
        collisionPadding={8}
        className={cn('z-[60] animate-in rounded-control border bg-raised p-4 shadow-float outline-none', className)}
        {...props}
      />
    </PopoverPrimitive.Portal>
  )
}
