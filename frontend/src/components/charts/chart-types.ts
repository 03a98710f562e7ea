import type { Broken } from '@/lib/curves'
import type { Point } from '@/lib/series'

export interface ChartSeries {
  id: string
  /** What is drawn: of several runs' lines the part that tells train from validation, which is never cut. */
  name: string
  /** The id of whose line it is, and the name, where several are compared. */
  source?: string
  run?: string
  /** What the name needs to be true, and is never cut: under which terms this run's values were measured. */
  qualifier?: string
  /** A CSS colour, normally a token. */
  color: string
  /** SVG dash pattern: validation is dashed, so that colour is never alone. */
  dash?: string
  points: readonly Point[]
  /** Where a value was measured that is no finite number, and what it was. */
  broken?: readonly Broken[]
  /** The raw line behind a smoothed one. */
  faint?: boolean
}

export interface ChartMark {
  x: number
  kind: 'pause' | 'resume' | 'crash' | 'best' | 'broken'
  label: string
  /** The id of whom it happened to. */
  source?: string
  /** The name and the colour of the run, where several are compared; else the kind has its own colour. */
  run?: string
  color?: string
}

/** The whole name, wherever there is room for it. */
export const nameOf = ({ run, name, qualifier }: Pick<ChartSeries, 'run' | 'name' | 'qualifier'>): string =>
  [[run, name].filter(Boolean).join(' '), qualifier].filter(Boolean).join(', ')

const RAW = ':raw'
export const rawIdOf = (id: string): string => `${id}${RAW}`

/** The lines that are shown; the raw one behind a smoothed one goes with it. */
export const shownOf = (series: readonly ChartSeries[], hidden: ReadonlySet<string>): ChartSeries[] =>
  series.filter((one) => !hidden.has(one.faint ? one.id.slice(0, -RAW.length) : one.id))

/** Whether anything of a series can be seen: a point, or the mark of a value that is no finite number. */
export const isDrawn = ({ points, broken = [] }: Pick<ChartSeries, 'points' | 'broken'>): boolean =>
  points.length + broken.length > 0

/** A level to stand beside: a baseline, a bound. */
export interface ChartReference {
  y: number
  name: string
}

export interface ChartModel {
  title: string
  series: ChartSeries[]
  marks: ChartMark[]
  references: ChartReference[]
  xDomain: [number, number]
  isLogY: boolean
  isWholeX: boolean
  xLabel: string
  /** Points are still coming: the axes then move seldom, to leave the time to the lines. */
  isLive?: boolean
  formatX: (x: number) => string
  /** For the table, where the axis' form is too coarse to tell rows apart. */
  formatRowX?: (x: number) => string
  /** The points are a choice of the measured epochs. */
  isThinned?: boolean
  formatY: (y: number) => string
  /** At the axis, where the title has said the unit and there is little room. */
  formatTick?: (y: number) => string
}

/** The plot's place inside the chart; the hover layer and the SVG share these figures. Levels are named in more room on the right. */
export const PLOT = { left: 58, right: 18, top: 14, bottom: 26 } as const
