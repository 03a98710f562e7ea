import { X } from 'lucide-react'
import { Dialog as DialogPrimitive } from 'radix-ui'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'
import { Button } from './button'
import { ClearOfToasts } from './clear-of-toasts'
import { RememberFocus, useFocusReturn } from './focus-return'

export const Dialog = DialogPrimitive.Root
export const DialogClose = DialogPrimitive.Close

interface DialogContentProps extends ComponentProps<typeof DialogPrimitive.Content> {
  size?: 'default' | 'wide' | 'full'
}

const SIZES = {
  default: 'sm:max-w-lg',
  wide: 'sm:max-w-3xl',
  full: 'sm:max-w-[calc(100vw-3rem)] sm:h-[calc(100dvh-3rem)]',
}

export function DialogOverlay() {
  return <DialogPrimitive.Overlay data-slot="dialog-overlay" className="fixed inset-0 z-40 animate-in bg-overlay" />
}

export function DialogContent({ className, children, size = 'default', ...props }: DialogContentProps) {
  const { opener, neighbours, onCloseAutoFocus } = useFocusReturn()
  return (
    <DialogPrimitive.Portal>
      <DialogOverlay />
      <div className="pointer-events-none fixed inset-0 z-50 flex items-end justify-center sm:items-center sm:p-6">
        <DialogPrimitive.Content
          data-slot="dialog-content"
          className={cn(
            'pointer-events-auto relative flex max-h-[94dvh] w-full animate-in flex-col rounded-t-card border bg-raised shadow-float outline-none sm:max-h-[calc(100dvh-3rem)] sm:rounded-card',
            SIZES[size],
            className,
          )}
          onCloseAutoFocus={onCloseAutoFocus}
          {...props}
        >
          <RememberFocus opener={opener} neighbours={neighbours} />
          <ClearOfToasts />
          {children}
          <DialogPrimitive.Close asChild>
            <Button variant="ghost" size="icon" className="absolute top-3 right-3 text-muted" aria-label="Close">
              <X />
            </Button>
          </DialogPrimitive.Close>
        </DialogPrimitive.Content>
      </div>
    </DialogPrimitive.Portal>
  )
}

export function DialogHeader({ className, ...props }: ComponentProps<'div'>) {
  return (
    <div
      data-slot="dialog-header"
      className={cn('flex flex-col gap-1 px-5 pt-4 pr-16 sm:pr-14 pb-3', className)}
      {...props}
    />
  )
}

/** A name of 255 letters takes three lines at most; pointing at it shows the rest. */
export function DialogTitle({ className, ...props }: ComponentProps<typeof DialogPrimitive.Title>) {
  return (
    <DialogPrimitive.Title
      data-slot="dialog-title"
      title={typeof props.children === 'string' ? props.children : undefined}
      className={cn('line-clamp-3 text-lg font-semibold', className)}
      {...props}
    />
  )
}

export function DialogDescription({ className, ...props }: ComponentProps<typeof DialogPrimitive.Description>) {
  return (
    <DialogPrimitive.Description
      data-slot="dialog-description"
      className={cn('text-sm text-muted', className)}
      {...props}
    />
  )
}

export function DialogBody({ className, ...props }: ComponentProps<'div'>) {
  return (
    <div data-slot="dialog-body" className={cn('min-h-0 flex-1 overflow-y-auto px-5 pb-4', className)} {...props} />
  )
}

export function DialogFooter({ className, ...props }: ComponentProps<'div'>) {
  return (
    <div
      data-slot="dialog-footer"
      className={cn(
        'flex flex-col-reverse gap-2 border-t px-5 py-3 sm:flex-row sm:items-center sm:justify-end',
        className,
      )}
      {...props}
    />
  )
}
