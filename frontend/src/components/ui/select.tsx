import { Check, ChevronDown } from 'lucide-react'
import { Select as SelectPrimitive } from 'radix-ui'
import type { ComponentProps, ReactNode } from 'react'
import { cn } from '@/lib/cn'

export const Select = SelectPrimitive.Root
export const SelectValue = SelectPrimitive.Value

export function SelectTrigger({ className, children, ...props }: ComponentProps<typeof SelectPrimitive.Trigger>) {
  return (
    <SelectPrimitive.Trigger
      data-slot="select-trigger"
      className={cn(
        'inline-flex h-9 min-w-0 items-center justify-between gap-2 rounded-control border border-border-strong bg-card px-3 text-left font-normal transition-colors hover:bg-subtle disabled:opacity-50 aria-invalid:border-failed max-sm:h-11 [&>span]:truncate',
        className,
      )}
      {...props}
    >
      {children}
      <SelectPrimitive.Icon asChild>
        <ChevronDown className="size-4 shrink-0 text-muted" aria-hidden />
      </SelectPrimitive.Icon>
    </SelectPrimitive.Trigger>
  )
}

export function SelectContent({ className, children, ...props }: ComponentProps<typeof SelectPrimitive.Content>) {
  return (
    <SelectPrimitive.Portal>
      <SelectPrimitive.Content
        data-slot="select-content"
        position="popper"
        sideOffset={4}
        className={cn(
          'z-[60] max-h-(--radix-select-content-available-height) min-w-(--radix-select-trigger-width) max-w-[min(30rem,92vw)] animate-in overflow-hidden rounded-control border bg-raised shadow-float',
          className,
        )}
        {...props}
      >
        <SelectPrimitive.Viewport className="max-h-80 p-1">{children}</SelectPrimitive.Viewport>
      </SelectPrimitive.Content>
    </SelectPrimitive.Portal>
  )
}

interface SelectItemProps extends ComponentProps<typeof SelectPrimitive.Item> {
  /** A second, quieter line that is not repeated in the closed trigger. */
  note?: ReactNode
}

export function SelectItem({ className, children, note, ...props }: SelectItemProps) {
  return (
    <SelectPrimitive.Item
      data-slot="select-item"
      className={cn(
        'relative flex cursor-default flex-col wrap-anywhere rounded-[6px] py-1.5 pr-3 pl-7 outline-none select-none data-disabled:opacity-50 data-highlighted:bg-subtle max-sm:py-2.5',
        className,
      )}
      {...props}
    >
      <SelectPrimitive.ItemIndicator className="absolute top-2 left-2">
        <Check className="size-3.5" aria-hidden />
      </SelectPrimitive.ItemIndicator>
      <SelectPrimitive.ItemText>{children}</SelectPrimitive.ItemText>
      {note && <span className="text-xs text-muted">{note}</span>}
    </SelectPrimitive.Item>
  )
}
