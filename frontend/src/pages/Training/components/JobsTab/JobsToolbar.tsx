import { Search } from 'lucide-react'
import { startTransition, useEffect, useRef, useState } from 'react'
import { useNavigationType } from 'react-router'
import { useShallow } from 'zustand/react/shallow'
import type { TrainingJob } from '@/api/types'
import { STATUS_ORDER, statusWord } from '@/components/feedback/StatusBadge'
import { Input } from '@/components/ui/input'
import { Select, SelectContent, SelectItem, SelectTrigger, SelectValue } from '@/components/ui/select'
import { JOB_SORTS, type JobSort, SEARCH_NUMBERS } from '@/lib/job-query'
import { countStatuses } from '@/stores/jobIndex'
import { useTrainingStore } from '@/stores/trainingStore'
import type { SetView, ViewState } from '../../hooks/useViewState'

interface JobsToolbarProps {
  view: ViewState
  setView: SetView
}

const ALL = 'all'

export function JobsToolbar({ view, setView }: JobsToolbarProps) {
  const counts = useTrainingStore(useShallow((state) => countStatuses(state.jobs)))
  const present = STATUS_ORDER.filter((status) => counts[status])
  return (
    <div className="mb-4 grid grid-cols-2 items-center gap-2 sm:flex sm:flex-wrap print:hidden">
      <div className="relative col-span-2 sm:w-72">
        <Search
          className="pointer-events-none absolute top-1/2 left-2.5 size-4 -translate-y-1/2 text-muted"
          aria-hidden
        />
        <SearchField view={view} setView={setView} />
      </div>
      <Select
        value={view.status ?? ALL}
        onValueChange={(value) => setView({ status: value === ALL ? null : (value as TrainingJob['status']) })}
      >
        <SelectTrigger aria-label="Filter by status" className="sm:w-48">
          <SelectValue />
        </SelectTrigger>
        <SelectContent>
          <SelectItem value={ALL}>All statuses</SelectItem>
          {STATUS_ORDER.map((status) => (
            <SelectItem key={status} value={status}>
              {statusWord(status)} ({counts[status] ?? 0})
            </SelectItem>
          ))}
        </SelectContent>
      </Select>
      <Select value={view.sort} onValueChange={(value) => setView({ sort: value as JobSort })}>
        <SelectTrigger aria-label="Sort" className="sm:w-36">
          <SelectValue />
        </SelectTrigger>
        <SelectContent>
          {Object.entries(JOB_SORTS).map(([sort, label]) => (
            <SelectItem key={sort} value={sort}>
              {label}
            </SelectItem>
          ))}
        </SelectContent>
      </Select>
      <p className="col-span-2 text-sm text-muted max-lg:w-full lg:ml-auto">
        {present.map((status) => `${counts[status]} ${status}`).join(' · ')}
      </p>
    </div>
  )
}

/** Holds its own text: the list behind it may take a moment to follow, a key must not. */
function SearchField({ view, setView }: JobsToolbarProps) {
  const field = useRef<HTMLInputElement>(null)
  const [text, setText] = useState(view.q)
  const isHistory = useNavigationType() === 'POP'
  // Another address brings another search; while someone types, the address only follows.
  useEffect(() => {
    if (isHistory || document.activeElement !== field.current) setText(view.q)
  }, [view.q, isHistory])
  return (
    <Input
      ref={field}
      type="search"
      data-hotkey="/"
      className="pl-8"
      placeholder="Search, or loss<0.1"
      aria-label="Search jobs"
      title={`Words of name, architecture or data set; or a comparison of ${SEARCH_NUMBERS.join(', ')}, such as loss<0.1`}
      value={text}
      onChange={(event) => {
        const { value } = event.target
        setText(value)
        startTransition(() => setView({ q: value }, { replace: true }))
      }}
    />
  )
}
