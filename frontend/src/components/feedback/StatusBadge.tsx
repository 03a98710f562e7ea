import { Ban, Check, Clock, LoaderCircle, Pause, Play, X } from 'lucide-react'
import type { JobStatus, TrainingJob } from '@/api/types'
import { Badge } from '@/components/ui/badge'

const LOOK = {
  pending: { icon: Clock, word: 'Pending' },
  running: { icon: Play, word: 'Running' },
  paused: { icon: Pause, word: 'Paused' },
  completed: { icon: Check, word: 'Completed' },
  failed: { icon: X, word: 'Failed' },
  cancelled: { icon: Ban, word: 'Cancelled' },
} as const satisfies Record<JobStatus, { icon: typeof Clock; word: string }>

export const STATUS_ORDER = Object.keys(LOOK) as JobStatus[]
export const statusWord = (status: JobStatus): string => LOOK[status].word

/** What was asked for and not yet done stands before what is. */
export function StatusBadge({ status, pending_action }: Pick<TrainingJob, 'status' | 'pending_action'>) {
  if (pending_action) {
    return (
      <Badge tone={pending_action === 'pause' ? 'paused' : 'cancelled'} data-status={status}>
        <LoaderCircle className="animate-spin" aria-hidden />
        {pending_action === 'pause' ? 'Pausing…' : 'Cancelling…'}
      </Badge>
    )
  }
  const { icon: Icon, word } = LOOK[status]
  return (
    <Badge tone={status} data-status={status}>
      <Icon aria-hidden fill={status === 'running' || status === 'paused' ? 'currentColor' : 'none'} />
      {word}
    </Badge>
  )
}
