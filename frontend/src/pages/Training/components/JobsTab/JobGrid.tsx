import { useWindowVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useLayoutEffect, useRef, useState } from 'react'

/** Up to here every card is in the page; past it only those near the view. */
const VIRTUAL_FROM = 100
const CARD_HEIGHT = 256
const GAP = 16

interface JobGridProps {
  jobIds: readonly string[]
  renderCard: (jobId: string) => ReactNode
}

const COLUMNS = 'grid grid-cols-1 gap-4 md:grid-cols-2 lg:grid-cols-3'

export function JobGrid({ jobIds, renderCard }: JobGridProps) {
  if (jobIds.length > VIRTUAL_FROM) return <VirtualGrid jobIds={jobIds} renderCard={renderCard} />
  return (
    <ul className={COLUMNS} aria-label="Training jobs">
      {jobIds.map((id) => (
        <li key={id}>{renderCard(id)}</li>
      ))}
    </ul>
  )
}

function VirtualGrid({ jobIds, renderCard }: JobGridProps) {
  const list = useRef<HTMLUListElement>(null)
  const { columns, top } = useGridShape(list)
  const rows = Math.ceil(jobIds.length / columns)
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
          {jobIds.slice(row.index * columns, (row.index + 1) * columns).map((id) => (
            <div key={id}>{renderCard(id)}</div>
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
