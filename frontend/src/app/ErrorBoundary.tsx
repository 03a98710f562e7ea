import { Component, type ReactNode } from 'react'
import { FailedState } from '@/components/feedback/ScreenStates'

interface State {
  error: Error | null
}

/** A fault in drawing must not leave a white page. Nothing is lost: the data are in the engine. */
export class ErrorBoundary extends Component<{ children: ReactNode }, State> {
  override state: State = { error: null }

  static getDerivedStateFromError(error: Error): State {
    return { error }
  }

  override render() {
    const { error } = this.state
    if (!error) return this.props.children
    return (
      <FailedState
        title="This page could not be drawn"
        message={`Training is not affected. The browser said: ${error.message}`}
        onRetry={() => this.setState({ error: null })}
      />
    )
  }
}
