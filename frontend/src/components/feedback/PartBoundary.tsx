import { Component, type ReactNode, Suspense, useEffect } from 'react'
import { Dialog, DialogContent, DialogTitle } from '@/components/ui/dialog'
import { FailedState } from './ScreenStates'

const LOOK_MS = 3000

interface PartBoundaryProps {
  children: ReactNode
  fallback?: ReactNode
  /** Given where the part is a dialog: its failure is one, too, and this closes it. */
  onClose?: () => void
}

/**
 * Around a part of the page that loads at its first use. A browser and React both remember a load that failed (the server was away, or
 * has a newer page), so only loading the page anew helps; the address and the forms' drafts bring everything back.
 */
export class PartBoundary extends Component<PartBoundaryProps, { hasFailed: boolean }> {
  override state = { hasFailed: false }

  static getDerivedStateFromError() {
    return { hasFailed: true }
  }

  override render() {
    const { children, fallback, onClose } = this.props
    if (!this.state.hasFailed) return <Suspense fallback={fallback}>{children}</Suspense>
    if (!onClose) return <PartFailed />
    const close = () => {
      this.setState({ hasFailed: false })
      onClose()
    }
    return (
      <Dialog open onOpenChange={close}>
        <DialogContent aria-describedby={undefined}>
          <DialogTitle className="sr-only">A part of this page could not be loaded</DialogTitle>
          <PartFailed />
        </DialogContent>
      </Dialog>
    )
  }
}

function PartFailed() {
  useReloadOnReturn()
  return (
    <FailedState
      title="A part of this page could not be loaded"
      message="The server was away, or has a newer version of this page. Training goes on. When the server answers, the page loads itself anew and shows the same view; what you typed into a form is kept."
      onRetry={() => location.reload()}
    />
  )
}

/** Load the page anew as soon as a server that was away answers; where it is there at once, the person decides. */
function useReloadOnReturn(): void {
  useEffect(() => {
    let wasAway = false
    const timer = setInterval(async () => {
      const isThere = await fetch('/health/live', { cache: 'no-store' }).then(
        (answer) => answer.ok,
        () => false,
      )
      if (isThere && wasAway) location.reload()
      wasAway ||= !isThere
    }, LOOK_MS)
    return () => clearInterval(timer)
  }, [])
}
