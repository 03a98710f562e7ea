import { X } from 'lucide-react'
import { type PointerEvent, type ReactNode, useMemo, useRef, useState } from 'react'
import { PLOT } from '@/components/charts/chart-types'
import { useSharedRight } from '@/components/charts/edges'
import type { Zoom } from '@/components/charts/HoverLayer'
import { Button } from '@/components/ui/button'
import { curveOf, makeX } from '@/lib/curves'
import { useDock } from '@/lib/dock'
import { formatCount, formatDuration } from '@/lib/format'
import { thin } from '@/lib/series'
import type { ChartView } from './chart-model'

const HEIGHT = 40
const VIEW_WIDTH = 1000
/** Of the strip: a shorter drag is a press. */
const LEAST_SHARE = 0.005

interface ZoomStripProps {
  /** With the whole rows, not those of the window. */
  view: ChartView
  zoom: Zoom
  onZoom: (zoom: Zoom) => void
  numNewer: number
  /** What is drawn, in words, below the strip. */
  children: ReactNode
}

/** The whole run in small, below the charts and always in sight: shows the window that all charts share. Dragging draws another; dragging the window moves it. */
export function ZoomStrip({ view, zoom, onZoom, numNewer, children }: ZoomStripProps) {
  const strip = useRef<HTMLDivElement>(null)
  const bar = useRef<HTMLDivElement>(null)
  useDock(bar)
  const right = useSharedRight(PLOT.right)
  const [drag, setDrag] = useState<Drag | null>(null)
  const domain = view.xDomain
  const { runs, xKind } = view
  const path = useMemo(() => pathOf(runs, xKind, domain), [runs, xKind, domain])
  const share = (event: PointerEvent) => {
    const box = strip.current?.getBoundingClientRect()
    return box ? Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) : 0
  }
  const span = domain[1] - domain[0]
  const inView = zoom && ([shareOf(zoom[0], domain), shareOf(zoom[1], domain)] as const)
  const shown = drag ? drag.window : inView
  const [low, high] = shown ? [Math.min(...shown), Math.max(...shown)] : [0, 1]
  const format = view.xKind === 'epoch' ? (x: number) => formatCount(Math.round(x)) : formatDuration
  const finish = () => {
    if (!drag) return
    setDrag(null)
    // A press without a move leaves a window where it is, and beside it shows all.
    if (drag.window === drag.moved) return
    const isWide = drag.moved !== null || high - low > LEAST_SHARE
    onZoom(isWide ? [domain[0] + low * span, domain[0] + high * span] : null)
  }
  return (
    <div
      ref={bar}
      className="sticky bottom-0 z-10 flex flex-col gap-1 bg-ground py-1 print:hidden"
      data-testid="zoom-strip"
    >
      <div style={{ paddingLeft: PLOT.left, paddingRight: right }}>
        <div
          ref={strip}
          aria-hidden
          className="relative cursor-crosshair touch-pan-y overflow-hidden rounded-[6px] border bg-card"
          style={{ height: HEIGHT }}
          onPointerDown={(event) => {
            strip.current?.setPointerCapture(event.pointerId)
            setDrag(startDrag(share(event), inView))
          }}
          onPointerMove={(event) => drag && setDrag(moveDrag(drag, share(event)))}
          onPointerUp={finish}
          onPointerCancel={() => setDrag(null)}
          onDoubleClick={() => onZoom(null)}
        >
          <svg viewBox={`0 0 ${VIEW_WIDTH} ${HEIGHT}`} preserveAspectRatio="none" className="size-full" aria-hidden>
            {path.map(({ id, d, color }) => (
              <path key={id} d={d} fill="none" stroke={color} strokeWidth={1.25} vectorEffect="non-scaling-stroke" />
            ))}
          </svg>
          {shown && (
            <div
              className="absolute inset-y-0 cursor-grab border-x-2 border-accent bg-accent/10"
              style={{ left: `${low * 100}%`, width: `${(high - low) * 100}%` }}
            />
          )}
        </div>
      </div>
      <div className="flex min-h-6 flex-wrap items-center gap-x-4 gap-y-1 text-sm" style={{ paddingLeft: PLOT.left }}>
        {children}
        {zoom && (
          <p className="flex flex-wrap items-center gap-2" role="status">
            Showing {view.xKind === 'epoch' ? 'epochs' : ''} {format(zoom[0])} to {format(zoom[1])}.
            {numNewer > 0 && ` ${formatCount(numNewer)} newer ${numNewer === 1 ? 'point' : 'points'} outside the view.`}
            <Button size="sm" onClick={() => onZoom(null)}>
              <X /> Show all
            </Button>
          </p>
        )}
      </div>
    </div>
  )
}

interface Drag {
  /** Where it began, and the window that is moved; without one, a window is drawn. */
  from: number
  moved: readonly [number, number] | null
  window: readonly [number, number]
}

const shareOf = (x: number, [low, high]: readonly [number, number]): number =>
  Math.min(1, Math.max(0, (x - low) / (high - low)))

function startDrag(at: number, window: readonly [number, number] | null): Drag {
  const isInside = window !== null && at > window[0] && at < window[1]
  return { from: at, moved: isInside ? window : null, window: isInside ? window : [at, at] }
}

function moveDrag(drag: Drag, at: number): Drag {
  const { from, moved } = drag
  if (!moved) return { ...drag, window: [from, at] }
  const by = Math.min(1 - moved[1], Math.max(-moved[0], at - from))
  return { ...drag, window: [moved[0] + by, moved[1] + by] }
}

function pathOf(runs: ChartView['runs'], xKind: ChartView['xKind'], [low, high]: [number, number]) {
  return runs.map((run) => {
    const x = makeX(xKind, run.job.started_at, run.rows)
    const points = thin(curveOf(run.rows, 'val_loss', x).points, 200)
    const values = points.map((point) => point.y)
    const floor = Math.min(...values)
    const height = Math.max(...values) - floor || 1
    const place = points.map(
      (point) =>
        `${(((point.x - low) / (high - low)) * VIEW_WIDTH).toFixed(1)} ${(HEIGHT - 4 - ((point.y - floor) / height) * (HEIGHT - 8)).toFixed(1)}`,
    )
    return {
      id: run.job.id,
      d: place.length > 1 ? `M${place.join('L')}` : '',
      color: runs.length === 1 ? 'var(--chart-red)' : run.color,
    }
  })
}
