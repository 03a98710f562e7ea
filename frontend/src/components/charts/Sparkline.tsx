import type { Point } from '@/lib/series'

const WIDTH = 240
const HEIGHT = 36

/** A small curve without axes, drawn by hand: a card must not load the chart library. */
export function Sparkline({ points, label }: { points: readonly Point[]; label: string }) {
  const first = points[0]
  const last = points.at(-1)
  if (!first || !last || points.length < 2) return <div className="h-9" aria-hidden />
  const values = points.map((point) => point.y)
  const low = Math.min(...values)
  const span = Math.max(...values) - low || 1
  const place = ({ x, y }: Point) =>
    [
      ((x - first.x) / (last.x - first.x || 1)) * (WIDTH - 6) + 3,
      HEIGHT - 4 - ((y - low) / span) * (HEIGHT - 8),
    ] as const
  const path = points
    .map((point) =>
      place(point)
        .map((value) => value.toFixed(1))
        .join(' '),
    )
    .join('L')
  const [endX, endY] = place(last)
  return (
    <svg
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      className="h-9 w-full"
      role="img"
      aria-label={label}
    >
      <path d={`M${path}`} fill="none" stroke="var(--chart-red)" strokeWidth={1.5} vectorEffect="non-scaling-stroke" />
      <line
        x1={endX}
        x2={endX}
        y1={endY}
        y2={endY}
        stroke="var(--chart-red)"
        strokeWidth={5}
        strokeLinecap="round"
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  )
}
