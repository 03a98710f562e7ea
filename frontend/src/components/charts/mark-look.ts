import type { ChartMark } from './chart-types'

export const MARK_COLOR: Record<ChartMark['kind'], string> = {
  pause: 'var(--paused)',
  resume: 'var(--running)',
  crash: 'var(--failed)',
  best: 'var(--completed)',
  broken: 'var(--failed)',
}
export const MARK_SIGN: Record<ChartMark['kind'], string> = {
  pause: '❚❚',
  resume: '▶',
  crash: '✕',
  best: '◆',
  broken: '✕',
}
