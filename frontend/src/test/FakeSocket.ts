import type { SocketLike } from '@/api/socket-connection'
import type { EventFrame } from '@/api/types'

/** A server's end of a socket, in the hands of a test. */
export class FakeSocket implements SocketLike {
  static all: FakeSocket[] = []
  static readonly open = (url: string): FakeSocket => new FakeSocket(url)

  readyState = 1
  onopen: ((event: Event) => void) | null = null
  onmessage: ((event: MessageEvent) => void) | null = null
  onclose: ((event: CloseEvent) => void) | null = null
  onerror: ((event: Event) => void) | null = null
  sent: string[] = []
  isClosed = false

  constructor(readonly url: string) {
    FakeSocket.all.push(this)
  }

  static get live(): FakeSocket[] {
    return FakeSocket.all.filter((socket) => !socket.isClosed)
  }

  say(frame: EventFrame): void {
    this.onmessage?.(new MessageEvent('message', { data: JSON.stringify(frame) }))
  }

  greet(lastSeq = 0, jobId: string | null = null): void {
    this.say({
      event: 'connected',
      seq: null,
      job_seq: null,
      job_id: jobId,
      timestamp: new Date().toISOString(),
      data: { last_seq: lastSeq },
    })
  }

  /** The connection breaks, or the server ends it with `code`. */
  cut(code = 1006): void {
    this.isClosed = true
    this.readyState = 3
    this.onclose?.(new CloseEvent('close', { code }))
  }

  send(text: string): void {
    this.sent.push(text)
  }

  close(): void {
    this.isClosed = true
    this.readyState = 3
  }
}
