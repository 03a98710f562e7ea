import type { Point } from '@/lib/series'
import { type ChartModel, type ChartReference, PLOT } from './chart-types'

/** Everything of a plot but its lines: what stands still while points arrive. */
export type PlotFrame = Pick<
  ChartModel,
  'marks' | 'xDomain' | 'isLogY' | 'isWholeX' | 'formatX' | 'formatY' | 'formatTick'
> & {
  width: number
  height: number
  /** The levels inside the view, and whether their names stand in a list instead of beside them. */
  levels: readonly ChartReference[]
  isListed: boolean
  /** px kept free on the right of the lines. */
  right: number
  yDomain: [number, number]
  /** Without any value the vertical axis has no figures: they would be made up. */
  hasLevels: boolean
}

export type ToPixels = (points: readonly Point[]) => Point[]

/** Where a point lies in the drawing: the same arithmetic as the axes beside it. Values that a log axis cannot show are left out. */
export function placeIn({ width, height, right, xDomain, yDomain, isLogY }: PlotFrame): ToPixels {
  const scale = isLogY ? Math.log : (value: number) => value
  const [left, low] = [xDomain[0], scale(yDomain[0])]
  const perX = (width - PLOT.left - right) / (xDomain[1] - left)
  const perY = (height - PLOT.top - PLOT.bottom) / (scale(yDomain[1]) - low)
  const round = (value: number) => Math.round(value * 10) / 10
  const bottom = height - PLOT.bottom
  return (points) =>
    (isLogY ? points.filter((point) => point.y > 0) : points).map(({ x, y }) => ({
      x: round(PLOT.left + (x - left) * perX),
      y: round(bottom - (scale(y) - low) * perY),
    }))
}
