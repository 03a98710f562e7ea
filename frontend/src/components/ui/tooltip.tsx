import { Tooltip as TooltipPrimitive } from 'radix-ui'
import type { ReactNode } from 'react'
import { isFocusReturning } from './focus-return'

export const TooltipProvider = TooltipPrimitive.Provider

interface TooltipProps {
  text: ReactNode
  /** The element explained: it must take a ref and props (a button, a span). */
  children: ReactNode
}

export function Tooltip({ text, children }: TooltipProps) {
  return (
    <TooltipPrimitive.Root>
      <TooltipPrimitive.Trigger asChild onFocus={(event) => isFocusReturning() && event.preventDefault()}>
        {children}
      </TooltipPrimitive.Trigger>
      <TooltipPrimitive.Portal>
        <TooltipPrimitive.Content
          data-slot="tooltip"
          sideOffset={5}
          collisionPadding={8}
          className="z-[70] max-w-72 animate-in rounded-[6px] bg-text px-2 py-1 text-xs text-ground shadow-float"
        >
          {text}
        </TooltipPrimitive.Content>
      </TooltipPrimitive.Portal>
    </TooltipPrimitive.Root>
  )
}
