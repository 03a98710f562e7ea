import { DropdownMenu as MenuPrimitive } from 'radix-ui'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'

export const DropdownMenu = MenuPrimitive.Root
export const DropdownMenuTrigger = MenuPrimitive.Trigger

export function DropdownMenuContent({ className, ...props }: ComponentProps<typeof MenuPrimitive.Content>) {
  return (
    <MenuPrimitive.Portal>
      <MenuPrimitive.Content
        data-slot="dropdown-menu-content"
        sideOffset={4}
        align="end"
        className={cn('z-[60] min-w-44 animate-in rounded-control border bg-raised p-1 shadow-float', className)}
        {...props}
      />
    </MenuPrimitive.Portal>
  )
}

interface ItemProps extends ComponentProps<typeof MenuPrimitive.Item> {
  isDestructive?: boolean
}

export function DropdownMenuItem({ className, isDestructive = false, ...props }: ItemProps) {
  return (
    <MenuPrimitive.Item
      data-slot="dropdown-menu-item"
      className={cn(
        'flex h-8 cursor-default items-center gap-2 rounded-[6px] px-2 outline-none select-none data-disabled:opacity-45 data-highlighted:bg-subtle max-sm:h-11 [&_svg]:size-4 [&_svg]:shrink-0 [&_svg]:text-muted',
        isDestructive && 'text-failed [&_svg]:text-failed',
        className,
      )}
      {...props}
    />
  )
}

export function DropdownMenuSeparator() {
  return <MenuPrimitive.Separator data-slot="dropdown-menu-separator" className="my-1 h-px bg-border" />
}
