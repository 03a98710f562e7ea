import { FrameOrder } from './frame-order'
import { type LinkState, SocketConnection, type SocketLike } from './socket-connection'
import { getEvents } from './training'
import type { EventFrame } from './types'

/** Above this many watched jobs one socket for all of them replaces the single ones. */
export const MAX_SINGLE_SOCKETS = 20
/** Going back waits for a clear drop, so that the page does not flip at the border. */
const BACK_TO_SINGLE = 8
/** StrictMode and tab changes unmount and mount again at once; the socket outlives that. */
const LINGER_MS = 1500

export interface SocketSink {
  onFrames(frames: EventFrame[]): void
  /** `closed`: nobody watches the job any more. */
  onState(jobId: string, state: LinkState | 'closed'): void
}

interface Watched {
  holders: number
  order: FrameOrder
  connection: SocketConnection | null
  lingerTimer?: ReturnType<typeof setTimeout>
}

export interface HubOptions {
  open?: (url: string) => SocketLike
  fetchEvents?: (jobId: string, since: number) => Promise<EventFrame[]>
  /** Runs `flush` once, soon: an animation frame, or a timer where the tab is hidden. */
  schedule?: (flush: () => void) => void
  /** Runs `arrange` after all of one render have said what they watch; else a long list opens 20 sockets only to close them. */
  defer?: (arrange: () => void) => void
}

/** One connection per job however many components look; frames reach the sink once per animation frame. */
export class TrainingSocketHub {
  private readonly watched = new Map<string, Watched>()
  private shared: SocketConnection | null = null
  private sharedSeq: number | null = null
  private queue: EventFrame[] = []
  private sink: SocketSink | null = null
  private isPlanned = false

  constructor(private options: HubOptions = {}) {}

  /** Other sockets than the browser's own, from now on; the gallery has none. */
  configure(options: HubOptions): void {
    this.options = options
  }

  attach(sink: SocketSink): void {
    this.sink = sink
  }

  /** Holds the job's connection open; returns how to let go. `since` is the last event already known. */
  retain(jobId: string, since: number): () => void {
    const entry = this.watched.get(jobId) ?? this.add(jobId, since)
    clearTimeout(entry.lingerTimer)
    entry.holders += 1
    let held = true
    return () => {
      if (!held) return
      held = false
      entry.holders -= 1
      if (entry.holders === 0) entry.lingerTimer = setTimeout(() => this.remove(jobId), LINGER_MS)
    }
  }

  /** Closes at once what nobody holds, without the time that a look at another tab is given. */
  closeIdle(): void {
    for (const [jobId, entry] of [...this.watched]) {
      if (entry.holders > 0) continue
      clearTimeout(entry.lingerTimer)
      this.remove(jobId)
    }
  }

  private add(jobId: string, since: number): Watched {
    const fetch = this.options.fetchEvents ?? fetchAllEvents
    const order = new FrameOrder(
      since,
      (last) => fetch(jobId, last),
      (frame) => this.enqueue(frame),
    )
    const entry: Watched = { holders: 0, order, connection: null }
    this.watched.set(jobId, entry)
    this.plan()
    if (this.shared) void order.fill()
    return entry
  }

  private remove(jobId: string): void {
    this.watched.get(jobId)?.connection?.close()
    this.watched.delete(jobId)
    this.sink?.onState(jobId, 'closed')
    this.plan()
  }

  private plan(): void {
    if (this.isPlanned) return
    this.isPlanned = true
    const defer = this.options.defer ?? queueMicrotask
    defer(() => {
      this.isPlanned = false
      this.arrange()
    })
  }

  private arrange(): void {
    const count = this.watched.size
    const wantsShared = count > MAX_SINGLE_SOCKETS || (this.shared !== null && count > BACK_TO_SINGLE)
    if (wantsShared && !this.shared) this.openShared()
    if (!wantsShared && this.shared) {
      this.shared.close()
      this.shared = null
      this.sharedSeq = null
    }
    for (const [jobId, entry] of this.watched) {
      if (wantsShared) {
        entry.connection?.close()
        entry.connection = null
      } else entry.connection ??= this.openSingle(jobId, entry)
    }
  }

  private openSingle(jobId: string, entry: Watched): SocketConnection {
    return new SocketConnection({
      ...(this.options.open ? { open: this.options.open } : {}),
      url: () => `/ws/training/${encodeURIComponent(jobId)}?since=${entry.order.last}`,
      onFrame: (frame) => {
        if (frame.event === 'connected') entry.order.meet(Number(frame.data.last_seq ?? entry.order.last))
        entry.order.accept(frame, frame.seq ?? null)
      },
      onState: (state) => this.sink?.onState(jobId, state),
    })
  }

  private openShared(): void {
    this.shared = new SocketConnection({
      ...(this.options.open ? { open: this.options.open } : {}),
      url: () => (this.sharedSeq === null ? '/ws/training' : `/ws/training?since=${this.sharedSeq}`),
      onFrame: (frame) => this.readShared(frame),
      onState: (state) => {
        for (const jobId of this.watched.keys()) this.sink?.onState(jobId, state)
      },
    })
  }

  private readShared(frame: EventFrame): void {
    if (frame.event === 'connected') {
      const isFirst = this.sharedSeq === null
      if (isFirst) this.sharedSeq = Number(frame.data.last_seq ?? 0)
      // The shared stream starts now; what happened to each job since its own last event comes from its log.
      if (isFirst) for (const entry of this.watched.values()) void entry.order.fill()
      return
    }
    if (typeof frame.seq === 'number') this.sharedSeq = Math.max(this.sharedSeq ?? 0, frame.seq)
    if (frame.job_id) this.watched.get(frame.job_id)?.order.accept(frame, frame.job_seq ?? null)
  }

  private enqueue(frame: EventFrame): void {
    this.queue.push(frame)
    if (this.queue.length > 1) return
    const schedule = this.options.schedule ?? scheduleFrame
    schedule(() => {
      const frames = this.queue
      this.queue = []
      this.sink?.onFrames(frames)
    })
  }
}

function scheduleFrame(flush: () => void): void {
  let isDone = false
  const once = () => {
    if (isDone) return
    isDone = true
    cancelAnimationFrame(frame)
    clearTimeout(timer)
    flush()
  }
  const frame = requestAnimationFrame(once)
  // A hidden tab gets no animation frames; there a second's batch is enough.
  const timer = setTimeout(once, 1000)
}

async function fetchAllEvents(jobId: string, since: number): Promise<EventFrame[]> {
  const frames: EventFrame[] = []
  for (let last = since; ; ) {
    const page = await getEvents(jobId, { since: last })
    frames.push(...page.events)
    const newest = page.events.at(-1)?.seq ?? null
    if (newest === null || newest >= page.last_seq) return frames
    last = newest
  }
}

export const trainingSockets = new TrainingSocketHub()
