import { Component, type ReactNode, Suspense, useEffect } from 'react'
import { Dialog, DialogContent, DialogTitle } from '@/components/ui/dialog'
import { FailedState } from './ScreenStates'

const LOOK_MS = 3000
const RELOADED_AT = 'heimdall.part-reloaded-at'
const RELOAD_AGAIN_MS = 60_000

/** How Chromium, Firefox, Safari and Vite call a module or its style sheet that did not come. */
const LOAD_FAILED = /dynamically imported module|module script failed|unable to preload css/i

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
export class PartBoundary extends Component<PartBoundaryProps, { hasFailed: boolean; isLoadFailed: boolean }> {
  override state = { hasFailed: false, isLoadFailed: false }

  static getDerivedStateFromError(error: unknown) {
    return { hasFailed: true, isLoadFailed: error instanceof Error && LOAD_FAILED.test(error.message) }
  }

  override render() {
    const { children, fallback, onClose } = this.props
    if (!this.state.hasFailed) return <Suspense fallback={fallback}>{children}</Suspense>
    const failed = <PartFailed isLoadFailed={this.state.isLoadFailed} />
    if (!onClose) return failed
    const close = () => {
      this.setState({ hasFailed: false })
      onClose()
    }
    return (
      <Dialog open onOpenChange={close}>
        <DialogContent aria-describedby={undefined}>
          <DialogTitle className="sr-only">A part of this page could not be loaded</DialogTitle>
          {failed}
        </DialogContent>
      </Dialog>
    )
  }
}

function PartFailed({ isLoadFailed }: { isLoadFailed: boolean }) {
  useReloadOnReturn(isLoadFailed)
  return (
    <FailedState
      title="A part of this page could not be loaded"
      message="The server was away, or has a newer version of this page. Training goes on. When the server answers, the page loads itself anew and shows the same view; what you typed into a form is kept."
      onRetry={() => location.reload()}
    />
  )
}

/**
 * Load the page anew as soon as the server answers. A load that failed proves that the server was away, however soon it is back, or that
 * it has a newer page; but where the page was loaded anew for that just now, or the part itself is at fault, the server must have been
 * seen away, else the page would load for ever.
 */
function useReloadOnReturn(isLoadFailed: boolean): void {
  useEffect(() => {
    const isRecent = Date.now() - Number(sessionStorage.getItem(RELOADED_AT)) < RELOAD_AGAIN_MS
    let wasAway = isLoadFailed && !isRecent
    const look = async () => {
      const isThere = await fetch('/health/live', { cache: 'no-store' }).then(
        (answer) => answer.ok,
        () => false,
      )
      if (isThere && wasAway) {
        sessionStorage.setItem(RELOADED_AT, String(Date.now()))
        location.reload()
      }
      wasAway ||= !isThere
    }
    void look()
    const timer = setInterval(look, LOOK_MS)
    return () => clearInterval(timer)
  }, [isLoadFailed])
}
