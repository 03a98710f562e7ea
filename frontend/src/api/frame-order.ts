import type { EventFrame } from './types'

export type FetchMissing = (since: number) => Promise<EventFrame[]>

/**
 * Puts the numbered frames of one job in order: each exactly once, none missing.
 * A jump in the numbers is filled from the event log before anything later is let through.
 */
export class FrameOrder {
  private held: EventFrame[] = []
  private isFilling = false

  constructor(
    public last: number,
    private readonly fetchMissing: FetchMissing,
    private readonly deliver: (frame: EventFrame) => void,
  ) {}

  /** `number` is the job's own position of the frame; ticks and greetings have none and pass at once. */
  accept(frame: EventFrame, number: number | null): void {
    if (number === null) {
      this.deliver(frame)
      return
    }
    if (number <= this.last) return
    if (!this.isFilling && number === this.last + 1) {
      this.last = number
      this.deliver(frame)
      return
    }
    this.held.push(frame)
    if (!this.isFilling) void this.fill()
  }

  /** The log ends before what was seen here: it is another database, so its numbers count from now on. */
  meet(newest: number): void {
    if (newest < this.last) this.last = newest
  }

  /** Asks the event log for what is newer than the last frame seen. */
  async fill(): Promise<void> {
    if (this.isFilling) return
    this.isFilling = true
    try {
      for (const frame of await this.fetchMissing(this.last)) this.step(frame)
    } catch {
      // The log does not answer now. The held frames stay held; the next frame or reconnect asks again.
    } finally {
      this.isFilling = false
      this.release()
    }
  }

  private release(): void {
    const waiting = this.held.sort((a, b) => numberOf(a) - numberOf(b))
    this.held = []
    for (const frame of waiting) {
      if (numberOf(frame) <= this.last + 1) this.step(frame)
      else this.held.push(frame)
    }
  }

  private step(frame: EventFrame): void {
    const number = numberOf(frame)
    if (number <= this.last) return
    this.last = number
    this.deliver(frame)
  }
}

export function numberOf(frame: EventFrame): number {
  return frame.job_seq ?? frame.seq ?? 0
}
