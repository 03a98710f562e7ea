import { X } from 'lucide-react'
import { Dialog as DialogPrimitive } from 'radix-ui'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'
import { Button } from './button'
import { CloseToasts } from './clear-of-toasts'
import { DialogOverlay } from './dialog'
import { RememberFocus, useFocusReturn } from './focus-return'

export const Sheet = DialogPrimitive.Root

/** A drawer at the right edge; on a phone it fills the screen. */
export function SheetContent({ className, children, ...props }: ComponentProps<typeof DialogPrimitive.Content>) {
  const { opener, neighbours, onCloseAutoFocus } = useFocusReturn()
  return (
    <DialogPrimitive.Portal>
      <DialogOverlay />
      <DialogPrimitive.Content
        data-slot="sheet-content"
        className={cn(
          'fixed inset-y-0 right-0 z-50 flex w-full animate-slide flex-col border-l bg-raised shadow-float outline-none sm:max-w-2xl',
          className,
        )}
        onCloseAutoFocus={onCloseAutoFocus}
        {...props}
      >
        <RememberFocus opener={opener} neighbours={neighbours} />
        <CloseToasts />
        {children}
        <DialogPrimitive.Close asChild>
          <Button variant="ghost" size="icon" className="absolute top-3 right-3 text-muted" aria-label="Close">
            <X />
          </Button>
        </DialogPrimitive.Close>
      </DialogPrimitive.Content>
    </DialogPrimitive.Portal>
  )
}
