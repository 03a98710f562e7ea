import type { EventFrame } from './types'

export type LinkState = 'connecting' | 'live' | 'reconnecting' | 'gone'

/** Only what is used of a WebSocket, so that tests can count and cut them. */
export interface SocketLike {
  readyState: number
  onopen: ((event: Event) => void) | null
  onmessage: ((event: MessageEvent) => void) | null
  onclose: ((event: CloseEvent) => void) | null
  onerror: ((event: Event) => void) | null
  send(text: string): void
  close(code?: number): void
}

export interface ConnectionOptions {
  /** Path and query; asked again at each attempt, because `since` moves. */
  url(): string
  onFrame(frame: EventFrame): void
  onState(state: LinkState): void
  open?(url: string): SocketLike
}

const UNKNOWN_JOB = 4404
const FIRST_DELAY_MS = 300
const LONGEST_DELAY_MS = 15_000
const PING_EVERY_MS = 15_000
/** Two pings unanswered: the connection is dead even where TCP has not noticed. */
const SILENCE_LIMIT_MS = 35_000

export function reconnectDelay(attempt: number, random: number): number {
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt)
  return ceiling / 2 + (ceiling / 2) * random
}

export function socketOrigin(location: Pick<Location, 'protocol' | 'host'>): string {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`
}

/** One WebSocket that comes back by itself, with growing and jittered delays, until it is closed. It never gives up. */
export class SocketConnection {
  private socket: SocketLike | null = null
  private attempts = 0
  private retryTimer: ReturnType<typeof setTimeout> | undefined
  private pingTimer: ReturnType<typeof setInterval> | undefined
  private heardAt = 0
  private closed = false

  constructor(private readonly options: ConnectionOptions) {
    addEventListener('online', this.retryNow)
    document.addEventListener('visibilitychange', this.retryNow)
    options.onState('connecting')
    this.connect()
  }

  close(): void {
    this.closed = true
    removeEventListener('online', this.retryNow)
    document.removeEventListener('visibilitychange', this.retryNow)
    clearTimeout(this.retryTimer)
    this.drop()
  }

  private connect(): void {
    const open = this.options.open ?? ((url: string) => new WebSocket(url))
    const socket = open(socketOrigin(location) + this.options.url())
    this.socket = socket
    this.heardAt = Date.now()
    socket.onmessage = (event) => {
      this.heardAt = Date.now()
      this.read(String(event.data))
    }
    socket.onclose = (event) => this.lost(event.code)
    // A close always follows an error, and the close says more.
    socket.onerror = null
    this.pingTimer = setInterval(() => this.ping(), PING_EVERY_MS)
  }

  private read(text: string): void {
    const frame = JSON.parse(text) as EventFrame
    if (frame.event === 'connected') {
      this.attempts = 0
      this.options.onState('live')
    }
    if (frame.event !== 'pong') this.options.onFrame(frame)
  }

  private ping(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) return
    if (Date.now() - this.heardAt > SILENCE_LIMIT_MS) {
      this.drop()
      this.lost(1006)
    } else this.socket.send('{"event":"ping"}')
  }

  private lost(code: number): void {
    this.drop()
    if (this.closed) return
    if (code === UNKNOWN_JOB) {
      this.options.onState('gone')
      return
    }
    this.options.onState('reconnecting')
    const delay = reconnectDelay(this.attempts++, Math.random())
    this.retryTimer = setTimeout(() => this.connect(), delay)
  }

  /** The network or the person came back: no reason to wait out the delay. */
  private readonly retryNow = (): void => {
    if (document.hidden || this.socket || this.closed || this.retryTimer === undefined) return
    clearTimeout(this.retryTimer)
    this.connect()
  }

  private drop(): void {
    clearInterval(this.pingTimer)
    const socket = this.socket
    this.socket = null
    if (!socket) return
    socket.onmessage = null
    socket.onclose = null
    if (socket.readyState === WebSocket.CONNECTING) {
      // Closing before the handshake is done prints an error in the console; let it open, then close.
      socket.onopen = () => socket.close(1000)
    } else socket.close(1000)
  }
}
