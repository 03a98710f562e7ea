import { Tooltip } from '@/components/ui/tooltip'
import { cn } from '@/lib/cn'
import type { Freshness } from '@/lib/freshness'

const DOT = { live: 'bg-completed-fill', calm: 'bg-cancelled-fill', warning: 'bg-paused-fill' }

export function FreshnessBadge({ tone, text, span, note, detail }: Freshness) {
  return (
    <Tooltip text={detail}>
      <button
        type="button"
        data-testid="freshness"
        data-tone={tone}
        className={cn(
          'inline-flex min-h-8 min-w-0 max-sm:px-1 max-sm:min-h-11 items-center gap-1.5 rounded-control px-2 text-left text-sm leading-tight',
          text.length < 12 && 'whitespace-nowrap',
          tone === 'warning' ? 'bg-paused-fill/14 text-paused' : 'text-muted',
        )}
      >
        <span className={cn('size-2 shrink-0 rounded-full', DOT[tone])} aria-hidden />
        <span role="status">{text}</span>
        {span && <span className="-ml-0.5 whitespace-nowrap"> {span}</span>}
        {/* It comes and goes with each epoch of a slow run: its room stays. */}
        {tone === 'live' && (
          <span className="-ml-1.5 min-w-[12ch] whitespace-nowrap max-sm:hidden">{note && `, ${note}`}</span>
        )}
      </button>
    </Tooltip>
  )
}
