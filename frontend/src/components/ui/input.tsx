import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'

const FIELD =
  'w-full min-w-0 rounded-control border border-border-strong bg-card px-3 placeholder:text-muted disabled:opacity-50 aria-invalid:border-failed'

export function Input({ className, ...props }: ComponentProps<'input'>) {
  return <input data-slot="input" className={cn(FIELD, 'h-9 max-sm:h-11 max-sm:text-[16px]', className)} {...props} />
}

export function Textarea({ className, ...props }: ComponentProps<'textarea'>) {
  return (
    <textarea data-slot="textarea" className={cn(FIELD, 'min-h-18 py-2 max-sm:text-[16px]', className)} {...props} />
  )
}

export function Label({ className, ...props }: ComponentProps<'label'>) {
  return <label data-slot="label" className={cn('text-sm font-medium', className)} {...props} />
}
