import { BadgeCheck, Check, CircleDashed, CircleMinus, CircleX } from 'lucide-react'
import type { Verification } from '@/api/types'
import { cn } from '@/lib/cn'
import { formatNumber } from '@/lib/format'
import { inPageQuotes, inWords } from '@/lib/sentence'

const LOOK = {
  verified: { icon: BadgeCheck, className: 'text-completed', word: 'Verified here' },
  unverified: { icon: CircleDashed, className: 'text-muted', word: 'Not verified' },
  failed: { icon: CircleX, className: 'text-failed', word: 'Verification failed' },
}

export function describeVerification(verification: Verification): string {
  const { status, matched, total, max_abs_diff, max_abs_diff_unit, latency_ms } = verification
  const parts = [
    total !== null && matched !== null && `${matched}/${total}`,
    max_abs_diff !== null && `largest difference ${formatDifference(max_abs_diff, max_abs_diff_unit)}`,
    latency_ms !== null && `${formatNumber(latency_ms, 2)} ms`,
  ].filter(Boolean)
  return parts.length > 0 ? `${LOOK[status].word}: ${parts.join(', ')}` : LOOK[status].word
}

/** Fractions of a metre read better in the unit that fits; a model of an earlier version has no unit on record. */
export function formatDifference(difference: number, unit: string | null | undefined): string {
  if (unit !== 'm' || difference >= 1) return [formatNumber(difference, 2), unit].filter(Boolean).join(' ')
  if (difference === 0) return '0 m'
  return difference >= 1e-3 ? `${formatNumber(difference * 1e3, 2)} mm` : `${formatNumber(difference * 1e6, 2)} µm`
}

/** What running the model here has shown. It proves that the file is whole, not that it is accurate in the field. */
export function VerificationSeal({ verification }: { verification: Verification }) {
  const { icon: Icon, className } = LOOK[verification.status]
  return (
    <p
      className={cn('flex items-start gap-1.5 font-medium', className)}
      data-testid="seal"
      data-status={verification.status}
    >
      <Icon className="mt-0.5 size-4 shrink-0" aria-hidden />
      {describeVerification(verification)}
    </p>
  )
}

const CHECK = {
  passed: { icon: Check, className: 'text-completed' },
  failed: { icon: CircleX, className: 'text-failed' },
  skipped: { icon: CircleMinus, className: 'text-muted' },
}

export function VerificationChecks({ checks }: Pick<Verification, 'checks'>) {
  return (
    <ol className="flex flex-col gap-1 text-sm">
      {checks.map((check) => {
        const { icon: Icon, className } = CHECK[check.status]
        return (
          <li key={check.name} data-testid="check" className="flex animate-in items-start gap-2">
            <Icon className={cn('mt-0.5 size-4 shrink-0', className)} aria-label={check.status} />
            <span>
              <span className="font-medium">{inWords(check.name)}</span>
              {check.detail && <span className="text-muted">: {inPageQuotes(check.detail)}</span>}
            </span>
          </li>
        )
      })}
    </ol>
  )
}
