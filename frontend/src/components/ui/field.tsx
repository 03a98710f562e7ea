import { cloneElement, type ReactElement, type ReactNode, useId } from 'react'
import { cn } from '@/lib/cn'
import { Label } from './input'

interface FieldProps {
  label: ReactNode
  help?: ReactNode
  error?: string | undefined
  className?: string
  /** The control; it gets the id and the descriptions that tie it to its label, help and error. */
  children: ReactElement<{ id?: string; 'aria-describedby'?: string; 'aria-invalid'?: boolean }>
}

export function Field({ label, help, error, className, children }: FieldProps) {
  const id = useId()
  const note = error ?? help
  return (
    <div data-slot="field" className={cn('flex min-w-0 flex-col gap-1', className)}>
      <Label htmlFor={id}>{label}</Label>
      {cloneElement(children, {
        id,
        'aria-invalid': error !== undefined,
        ...(note ? { 'aria-describedby': `${id}-note` } : {}),
      })}
      {note && (
        <p id={`${id}-note`} className={cn('text-xs', error ? 'font-medium text-failed' : 'text-muted')}>
          {note}
        </p>
      )}
    </div>
  )
}
