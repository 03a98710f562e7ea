import { AlertDialog as AlertPrimitive } from 'radix-ui'
import { type ReactNode, useState } from 'react'
import { Button } from './button'
import { ClearOfToasts } from './clear-of-toasts'
import { RememberFocus, useFocusReturn } from './focus-return'

interface ConfirmDialogProps {
  open: boolean
  onOpenChange: (open: boolean) => void
  title: string
  /** What will be lost and what is kept. */
  children: ReactNode
  /** A verb with its object: "Delete 3 jobs". */
  action: string
  keep?: string
  isBlocked?: boolean
  onConfirm: () => Promise<void> | void
}

/** Asks before something is lost. The focus starts on the safe choice; the dialog stays open while the request runs. */
export function ConfirmDialog(props: ConfirmDialogProps) {
  const { open, onOpenChange, title, children, action, keep = 'Keep', isBlocked = false, onConfirm } = props
  const [isBusy, setBusy] = useState(false)
  const { opener, neighbours, onCloseAutoFocus } = useFocusReturn()
  const confirm = async () => {
    setBusy(true)
    try {
      await onConfirm()
    } finally {
      setBusy(false)
    }
  }
  return (
    <AlertPrimitive.Root open={open} onOpenChange={onOpenChange}>
      <AlertPrimitive.Portal>
        <AlertPrimitive.Overlay
          data-slot="alert-dialog-overlay"
          className="fixed inset-0 z-[60] animate-in bg-overlay"
        />
        <div className="pointer-events-none fixed inset-0 z-[61] flex items-end justify-center p-4 sm:items-center">
          <AlertPrimitive.Content
            onCloseAutoFocus={onCloseAutoFocus}
            data-slot="alert-dialog-content"
            className="pointer-events-auto flex max-h-full w-full max-w-md animate-in flex-col gap-3 overflow-y-auto rounded-card border bg-raised p-5 shadow-float outline-none"
          >
            <RememberFocus opener={opener} neighbours={neighbours} />
            <ClearOfToasts />
            <AlertPrimitive.Title className="shrink-0 text-lg font-semibold wrap-anywhere">
              {title}
            </AlertPrimitive.Title>
            <AlertPrimitive.Description asChild>
              <div className="flex flex-col gap-2 text-muted">{children}</div>
            </AlertPrimitive.Description>
            <div className="mt-1 flex flex-col-reverse gap-2 sm:flex-row sm:justify-end">
              <AlertPrimitive.Cancel asChild>
                <Button>{keep}</Button>
              </AlertPrimitive.Cancel>
              <Button variant="danger" disabled={isBusy || isBlocked} onClick={confirm}>
                {isBusy ? 'Working…' : action}
              </Button>
            </div>
          </AlertPrimitive.Content>
        </div>
      </AlertPrimitive.Portal>
    </AlertPrimitive.Root>
  )
}
