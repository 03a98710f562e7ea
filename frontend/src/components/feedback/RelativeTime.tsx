import { useNow } from '@/lib/clock'
import { formatAgo, formatInstant } from '@/lib/format'

/** "12 min ago", the exact instant on hover. */
export function RelativeTime({ at }: { at: string }) {
  const now = useNow(5)
  return (
    <time dateTime={at} title={formatInstant(at)}>
      {formatAgo(at, Math.max(now, Date.now() - 5000))}
    </time>
  )
}
