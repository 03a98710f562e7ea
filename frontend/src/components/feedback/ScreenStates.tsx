import { CloudOff, RotateCw } from 'lucide-react'
import type { ReactNode } from 'react'
import { Button } from '@/components/ui/button'
import { useIsLate } from '@/lib/clock'
import { CopyButton } from './CopyButton'

interface EmptyStateProps {
  icon: ReactNode
  title: string
  children?: ReactNode
  action?: ReactNode
  /** The command line that does the same. */
  command?: string
}

export function EmptyState({ icon, title, children, action, command }: EmptyStateProps) {
  return (
    <div className="mx-auto flex min-h-72 w-full max-w-md flex-col items-center justify-center gap-3 py-10 text-center">
      <div className="text-muted [&_svg]:size-8 [&_svg]:stroke-[1.5]" aria-hidden>
        {icon}
      </div>
      <h2 className="text-lg font-semibold">{title}</h2>
      {children && <p className="text-muted">{children}</p>}
      {action && <div className="mt-1 flex w-full flex-wrap justify-center gap-2">{action}</div>}
      {command && (
        <div className="mt-2 flex max-w-full items-center gap-1 rounded-control bg-subtle py-0.5 pr-0.5 pl-3 text-left">
          <code className="font-mono text-xs">{command}</code>
          <CopyButton text={command} label="Copy the command" />
        </div>
      )}
    </div>
  )
}

interface FailedStateProps {
  title: string
  message: string
  onRetry: () => void
}

export function FailedState({ title, message, onRetry }: FailedStateProps) {
  return (
    <div role="alert">
      <EmptyState
        icon={<CloudOff />}
        title={title}
        action={
          <Button onClick={onRetry}>
            <RotateCw /> Try again
          </Button>
        }
      >
        {message}
      </EmptyState>
    </div>
  )
}

/** After three seconds a skeleton alone is no answer: say what is slow. */
export function SlowNote({ what }: { what: string }) {
  const isSlow = useIsLate(3000)
  return (
    <p role="status" className="h-5 text-center text-sm text-muted">
      {isSlow ? `Still waiting for ${what}.` : ''}
    </p>
  )
}
