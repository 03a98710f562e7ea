import { useVirtualizer } from '@tanstack/react-virtual'
import { ArrowDownToLine, Download } from 'lucide-react'
import { memo, useEffect, useRef, useState } from 'react'
import type { TrainingJob } from '@/api/types'
import { CopyButton } from '@/components/feedback/CopyButton'
import { Button } from '@/components/ui/button'
import { fileStem, saveBlob } from '@/lib/download'
import { plural } from '@/lib/format'
import { readLogLine } from '@/lib/log-line'
import { isFinal } from '../../hooks/useJobActions'
import { useJobLog } from '../../hooks/useJobLog'

const LINE_HEIGHT = 20

/** Follows the newest line until the reader scrolls up. */
export function JobLog({ job }: { job: TrainingJob }) {
  const isLive = !isFinal(job)
  const { lines, error, isLoaded } = useJobLog(job.id, isLive)
  const scroller = useRef<HTMLElement>(null)
  const [isFollowing, setFollowing] = useState(true)
  const virtualizer = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 20,
  })
  useEffect(() => {
    if (isFollowing && lines.length > 0) virtualizer.scrollToIndex(lines.length - 1, { align: 'end' })
  }, [isFollowing, lines.length, virtualizer])
  const onScroll = () => {
    const box = scroller.current
    if (box) setFollowing(box.scrollHeight - box.scrollTop - box.clientHeight < LINE_HEIGHT * 2)
  }
  const text = lines.join('\n')
  return (
    <>
      <div className="flex min-h-12 items-center gap-2 border-b px-5 py-1.5 text-sm text-muted">
        <span role="status">{isLoaded ? plural(lines.length, 'line') : 'Loading the log'}</span>
        {isLive && <span>· {isFollowing ? 'following' : 'paused while you read'}</span>}
        <div className="ml-auto flex gap-1">
          {!isFollowing && (
            <Button size="sm" onClick={() => setFollowing(true)}>
              <ArrowDownToLine /> Newest
            </Button>
          )}
          <CopyButton text={text} label="Copy the log" />
          <Button
            variant="ghost"
            size="icon"
            aria-label="Download the log"
            onClick={() => saveBlob(new Blob([text], { type: 'text/plain' }), `${fileStem(job.name) || job.id}.log`)}
          >
            <Download />
          </Button>
        </div>
      </div>
      {error && (
        <p role="alert" className="px-5 py-2 text-sm text-failed">
          {error}
        </p>
      )}
      {isLoaded && lines.length === 0 && (
        <p className="px-5 py-6 text-muted">
          {isLive ? 'No line yet. The worker writes here as soon as it starts.' : 'This job wrote no log.'}
        </p>
      )}
      <section
        ref={scroller}
        onScroll={onScroll}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
        tabIndex={0}
        aria-label="Log lines"
        className="min-h-0 flex-1 overflow-auto py-2"
      >
        <div className="relative" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map((line) => (
            <div
              key={line.key}
              ref={virtualizer.measureElement}
              data-index={line.index}
              className="absolute inset-x-0 flex font-mono text-xs leading-5"
              style={{ transform: `translateY(${line.start}px)` }}
            >
              <LineText line={lines[line.index] ?? ''} number={line.index + 1} />
            </div>
          ))}
        </div>
      </section>
    </>
  )
}

/** Wrapped, with its time of day; the copied and the downloaded log are as they were stored. */
const LineText = memo(function LineText({ line, number }: { line: string; number: number }) {
  const { clock, text } = readLogLine(line)
  return (
    <>
      <span className="w-12 shrink-0 pr-3 text-right text-muted select-none max-sm:hidden">{number}</span>
      <span className="shrink-0 pr-3 text-muted tabular-nums max-sm:pl-5">{clock}</span>
      <span className="min-w-0 pr-5 break-words whitespace-pre-wrap">{text}</span>
    </>
  )
})
