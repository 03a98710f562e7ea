import { formatClock } from './format'

export interface LogLine {
  /** Local time of day; empty for a line that carries none, such as one of a traceback. */
  clock: string
  text: string
}

/** When the line was stored, then what the job's process wrote: its own clock and its name say nothing new here. */
const STORED = /^(\d{4}-\d\d-\d\dT\S+Z) (?:\d\d:\d\d:\d\d job\s+)?(.*)$/

export function readLogLine(line: string): LogLine {
  const [, at, text] = STORED.exec(line) ?? []
  return at === undefined || text === undefined ? { clock: '', text: line } : { clock: formatClock(at), text }
}
