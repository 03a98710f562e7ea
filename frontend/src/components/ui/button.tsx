import { cva, type VariantProps } from 'class-variance-authority'
import { Slot } from 'radix-ui'
import type { ComponentProps } from 'react'
import { cn } from '@/lib/cn'

const buttonVariants = cva(
  'inline-flex shrink-0 items-center justify-center gap-1.5 rounded-control border font-medium whitespace-nowrap select-none transition-colors duration-100 disabled:cursor-not-allowed disabled:opacity-50 aria-disabled:cursor-not-allowed aria-disabled:opacity-50 [&_svg]:size-4 [&_svg]:shrink-0',
  {
    variants: {
      variant: {
        primary: 'border-transparent bg-accent text-accent-text enabled:hover:bg-accent-hover',
        secondary: 'bg-card text-text enabled:hover:bg-subtle',
        ghost: 'border-transparent bg-transparent text-text enabled:hover:bg-subtle',
        danger: 'border-transparent bg-danger text-accent-text enabled:hover:bg-danger-hover',
      },
      size: {
        default: 'h-9 px-3.5 max-sm:h-11',
        sm: 'h-8 px-2.5 text-sm max-sm:h-11',
        icon: 'size-8 max-sm:size-11',
      },
    },
    defaultVariants: { variant: 'secondary', size: 'default' },
  },
)

export interface ButtonProps extends ComponentProps<'button'>, VariantProps<typeof buttonVariants> {
  asChild?: boolean
}

export function Button({ className, variant, size, asChild = false, type = 'button', ...props }: ButtonProps) {
  const classes = cn(buttonVariants({ variant, size }), className)
  if (asChild) return <Slot.Root data-slot="button" className={classes} {...props} />
  return <button data-slot="button" type={type} className={classes} {...props} />
}
