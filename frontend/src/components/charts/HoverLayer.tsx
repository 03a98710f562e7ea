import { type KeyboardEvent, type PointerEvent, useEffect, useRef, useState } from 'react'
import { type ChartModel, PLOT } from './chart-types'
import { useHoverLine, useHoverX } from './hover'
import { describePoint, pointAt } from './LegendRow'
import { stopsOf } from './stops'

export type Zoom = [number, number] | null

interface HoverLayerProps extends ChartModel {
  width: number
  right: number
  yDomain: [number, number]
  zoom: Zoom
  onZoom: (zoom: Zoom) => void
}

const DRAG_FROM_PX = 5
const STEP_FACTOR = 0.6

/** Catches mouse, touch and keys over a plot: moves the shared cursor, drags a new window, double click shows all. */
export function HoverLayer(props: HoverLayerProps) {
  const { title, series, xDomain, right, zoom, onZoom } = props
  const line = useHoverLine()
  const hoverX = useHoverX()
  const layer = useRef<HTMLDivElement>(null)
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null)
  useEffect(() => () => line.set(null), [line])
  const stops = stopsOf(series, xDomain)

  const shareOf = (event: PointerEvent) => {
    const box = layer.current?.getBoundingClientRect()
    return box ? Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) : 0
  }
  const xOf = (share: number) => xDomain[0] + share * (xDomain[1] - xDomain[0])

  const onPointerMove = (event: PointerEvent) => {
    const share = shareOf(event)
    if (drag) setDrag({ ...drag, to: share })
    line.set(stops.nearest(xOf(share)))
  }
  const onPointerDown = (event: PointerEvent) => {
    // A finger that taps reads; it zooms on the strip, for here it scrolls the page.
    if (event.pointerType === 'touch') return line.set(stops.nearest(xOf(shareOf(event))))
    if (event.button !== 0) return
    layer.current?.setPointerCapture(event.pointerId)
    setDrag({ from: shareOf(event), to: shareOf(event) })
  }
  const onPointerUp = () => {
    if (!drag) return
    setDrag(null)
    const width = layer.current?.clientWidth ?? 0
    const [low, high] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)]
    if ((high - low) * width >= DRAG_FROM_PX) onZoom([xOf(low), xOf(high)])
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.shiftKey ? 10 : 1
    const moves: Record<string, () => number | null> = {
      ArrowLeft: () => stops.after(hoverX ?? stops.last, -step),
      ArrowRight: () => stops.after(hoverX ?? stops.last, step),
      Home: () => stops.first,
      End: () => stops.last,
    }
    const move = moves[event.key]
    if (move) line.set(move())
    else if (event.key === '+' || event.key === '=') onZoom(around(hoverX, xDomain, STEP_FACTOR))
    else if (event.key === '-' && zoom) onZoom(around(hoverX, xDomain, 1 / STEP_FACTOR))
    else if ((event.key === 'Escape' || event.key === '0') && zoom) onZoom(null)
    else return
    event.preventDefault()
    event.stopPropagation()
  }
  const [first, last] = [stops.first ?? 0, stops.last ?? 0]
  const place = (share: number) => `${share * 100}%`
  return (
    <div
      ref={layer}
      role="slider"
      tabIndex={0}
      aria-label={`${title}: cursor. Arrows move, plus zooms, Escape shows all.`}
      aria-valuemin={first}
      aria-valuemax={last}
      aria-valuenow={hoverX ?? last}
      aria-valuetext={describePoint(props, hoverX ?? last)}
      className="absolute cursor-crosshair touch-pan-y outline-offset-0"
      style={{ left: PLOT.left, right, top: PLOT.top, bottom: PLOT.bottom }}
      onPointerMove={onPointerMove}
      onPointerDown={onPointerDown}
      onPointerUp={onPointerUp}
      onPointerLeave={(event) => event.pointerType !== 'touch' && line.set(null)}
      onBlur={() => line.set(null)}
      onDoubleClick={() => onZoom(null)}
      onKeyDown={onKeyDown}
    >
      {drag && (
        <div
          className="absolute inset-y-0 border-x border-accent bg-accent/12"
          style={{ left: place(Math.min(drag.from, drag.to)), width: place(Math.abs(drag.to - drag.from)) }}
        />
      )}
      <Cursor {...props} x={hoverX} />
    </div>
  )
}

function around(center: number | null, [low, high]: [number, number], factor: number): Zoom {
  const middle = center ?? (low + high) / 2
  return [middle - (middle - low) * factor, middle + (high - middle) * factor]
}

function Cursor({
  x,
  series,
  width,
  right,
  xDomain,
  xLabel,
  formatX,
  yDomain,
  isLogY,
}: HoverLayerProps & { x: number | null }) {
  if (x === null || x < xDomain[0] || x > xDomain[1]) return null
  const share = (x - xDomain[0]) / (xDomain[1] - xDomain[0])
  const toEdge = (1 - share) * (width - PLOT.left - right) + right - 2
  const scale = isLogY ? Math.log : (value: number) => value
  const [low, high] = [scale(yDomain[0]), scale(yDomain[1])]
  return (
    <div className="pointer-events-none absolute inset-y-0 w-px bg-muted/60" style={{ left: `${share * 100}%` }}>
      {/* At the axis, where it moves nothing; toward the right edge it leans inward. */}
      <span
        className="absolute top-full mt-1 rounded-[4px] bg-text px-1.5 text-xs whitespace-nowrap text-ground"
        style={{ transform: `translateX(min(-50%, calc(-100% + ${toEdge}px)))` }}
        data-testid="cursor-x"
      >
        {xLabel} {formatX(x)}
      </span>
      {series.map((one) => {
        const point = one.faint ? null : pointAt(one, x, xDomain)
        if (!point || (isLogY && point.y <= 0)) return null
        const top = `${(1 - (scale(point.y) - low) / (high - low)) * 100}%`
        return (
          <span
            key={one.id}
            className="absolute size-2 -translate-1/2 rounded-full ring-2 ring-card"
            style={{ top, background: one.color }}
          />
        )
      })}
    </div>
  )
}
