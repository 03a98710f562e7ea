import { useWindowVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useLayoutEffect, useRef, useState } from 'react'
import type { TrainingJob } from '@/api/types'

/** Up to here every card is in the page; past it only those near the view. */
const VIRTUAL_FROM = 100
const CARD_HEIGHT = 244
const GAP = 16

interface JobGridProps {
  jobs: TrainingJob[]
  renderCard: (job: TrainingJob) => ReactNode
}

const COLUMNS = 'grid grid-cols-1 gap-4 md:grid-cols-2 lg:grid-cols-3'

export function JobGrid({ jobs, renderCard }: JobGridProps) {
  if (jobs.length > VIRTUAL_FROM) return <VirtualGrid jobs={jobs} renderCard={renderCard} />
  return (
    <ul className={COLUMNS} aria-label="Training jobs">
      {jobs.map((job) => (
        <li key={job.id}>{renderCard(job)}</li>
      ))}
    </ul>
  )
}

function VirtualGrid({ jobs, renderCard }: JobGridProps) {
  const list = useRef<HTMLUListElement>(null)
  const { columns, top } = useGridShape(list)
  const rows = Math.ceil(jobs.length / columns)
  const virtualizer = useWindowVirtualizer({
    count: rows,
    estimateSize: () => CARD_HEIGHT,
    gap: GAP,
    overscan: 3,
    scrollMargin: top,
  })
  return (
    <ul ref={list} className="relative" style={{ height: virtualizer.getTotalSize() }} aria-label="Training jobs">
      {virtualizer.getVirtualItems().map((row) => (
        <li
          key={row.key}
          ref={virtualizer.measureElement}
          data-index={row.index}
          className={`absolute inset-x-0 top-0 ${COLUMNS}`}
          style={{ transform: `translateY(${row.start - top}px)` }}
        >
          {jobs.slice(row.index * columns, (row.index + 1) * columns).map((job) => (
            <div key={job.id}>{renderCard(job)}</div>
          ))}
        </li>
      ))}
    </ul>
  )
}

/** How many columns the CSS grid shows now, and where the list starts in the page. */
function useGridShape(list: React.RefObject<HTMLUListElement | null>): { columns: number; top: number } {
  const [shape, setShape] = useState({ columns: 1, top: 0 })
  useLayoutEffect(() => {
    const measure = () => {
      const columns = matchMedia('(min-width: 64rem)').matches ? 3 : matchMedia('(min-width: 48rem)').matches ? 2 : 1
      const top = (list.current?.getBoundingClientRect().top ?? 0) + scrollY
      setShape((old) => (old.columns === columns && Math.abs(old.top - top) < 1 ? old : { columns, top }))
    }
    measure()
    addEventListener('resize', measure)
    return () => removeEventListener('resize', measure)
  }, [list])
  return shape
}
