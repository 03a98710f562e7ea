import type { AccuracyBreakdown } from '@/api/types'
import { formatCount, formatPercent } from '@/lib/format'

type Points = AccuracyBreakdown['reliability']

const SIZE = 180
const LEFT = 48
const BOTTOM = 30
const TICKS = [0, 0.5, 1]
/** Coverage within this of what was promised counts as honest. */
const TOLERANCE = 0.05

const toX = (share: number): number => LEFT + share * SIZE
const toY = (share: number): number => 8 + (1 - share) * SIZE

/** In one sentence, judged at the level that the page shows everywhere. */
export function judgeReliability(points: Points): string {
  const at68 = points.find((point) => Math.abs(point.nominal - 0.68) < 1e-9)
  if (!at68) return ''
  const kept = `the 68 % ellipse holds ${formatPercent(at68.observed, 0)} of the truths`
  if (at68.observed > at68.nominal + TOLERANCE) return `The ellipses are larger than need be: ${kept}.`
  if (at68.observed < at68.nominal - TOLERANCE) return `The ellipses promise more than they keep: ${kept}.`
  return `The ellipses are honest: ${kept}.`
}

/** Promised against observed coverage, drawn by hand: one small curve must not load the chart library. */
export function ReliabilityDiagram({ points, numExamples }: { points: Points; numExamples: number }) {
  const path = points.map((point) => `${toX(point.nominal).toFixed(1)} ${toY(point.observed).toFixed(1)}`).join('L')
  return (
    <figure className="flex flex-wrap items-start gap-4" aria-label="Reliability of the ellipses">
      <svg
        viewBox={`0 0 ${LEFT + SIZE + 10} ${SIZE + BOTTOM + 12}`}
        className="w-60 max-w-full shrink-0"
        role="img"
        aria-label={points
          .map((point) => `${formatPercent(point.nominal, 0)} promised, ${formatPercent(point.observed, 0)} observed`)
          .join('; ')}
      >
        {TICKS.map((tick) => (
          <g key={tick} fontSize={10} fill="var(--muted)">
            <line x1={toX(0)} x2={toX(1)} y1={toY(tick)} y2={toY(tick)} stroke="var(--chart-grid)" />
            <text x={LEFT - 5} y={toY(tick) + 3} textAnchor="end">
              {formatPercent(tick, 0)}
            </text>
            <text x={toX(tick)} y={toY(0) + 14} textAnchor={tick === 1 ? 'end' : 'middle'}>
              {formatPercent(tick, 0)}
            </text>
          </g>
        ))}
        <text x={toX(0.5)} y={toY(0) + 28} textAnchor="middle" fontSize={10} fill="var(--muted)">
          promised
        </text>
        <text transform={`translate(9 ${toY(0.5)}) rotate(-90)`} textAnchor="middle" fontSize={10} fill="var(--muted)">
          observed
        </text>
        <line x1={toX(0)} y1={toY(0)} x2={toX(1)} y2={toY(1)} stroke="var(--chart-gray)" strokeDasharray="2 3" />
        <path d={`M${path}`} fill="none" stroke="var(--chart-orange)" strokeWidth={1.75} />
        {points.map((point) => (
          <circle
            key={point.nominal}
            cx={toX(point.nominal)}
            cy={toY(point.observed)}
            r={2.5}
            fill="var(--chart-orange)"
          >
            <title>{`${formatPercent(point.nominal, 0)} promised, ${formatPercent(point.observed, 1)} observed`}</title>
          </circle>
        ))}
      </svg>
      <figcaption className="min-w-40 flex-1 text-sm">
        <p className="font-medium">Reliability of the ellipses</p>
        <p className="mt-1">{judgeReliability(points)}</p>
        <p className="mt-1 text-xs text-muted">
          Of {formatCount(numExamples)} held-out examples, the share of truths inside the ellipse of each level. On the
          dashed line an ellipse covers what it says; above it is too large, below too small.
        </p>
      </figcaption>
    </figure>
  )
}
