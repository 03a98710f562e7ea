import { Check, GitCompare, X } from 'lucide-react'
import { memo, useId, useState } from 'react'
import { useShallow } from 'zustand/react/shallow'
import { Button } from '@/components/ui/button'
import { DropdownMenu, DropdownMenuContent, DropdownMenuItem, DropdownMenuTrigger } from '@/components/ui/dropdown-menu'
import { LongName } from '@/components/ui/long-name'
import { Select, SelectContent, SelectItem, SelectTrigger, SelectValue } from '@/components/ui/select'
import { formatCount } from '@/lib/format'
import { jobsById } from '@/stores/jobIndex'
import { useTrainingStore } from '@/stores/trainingStore'
import { MAX_RUNS, type SetView, type ViewState } from '../../hooks/useViewState'
import { RUN_COLORS } from './chart-model'
import { describeChoice, sayNoEpoch } from './run-choices'
import { ViewOptions } from './ViewOptions'

/** A longer list helps nobody; older runs are found in the Jobs tab and opened from there. */
const MAX_CHOICES = 300

interface MetricsToolbarProps {
  runIds: string[]
  view: ViewState
  setView: SetView
}

export const MetricsToolbar = memo(function MetricsToolbar({ runIds, view, setView }: MetricsToolbarProps) {
  const [first, ...others] = runIds
  const names = useTrainingStore(useShallow((state) => runIds.map((id) => jobsById(state.jobs).get(id)?.name ?? id)))
  const select = (jobId: string) => setView({ runs: [jobId, ...others.filter((id) => id !== jobId)], zoom: null })
  const toggle = (jobId: string) =>
    setView({
      runs: others.includes(jobId) ? runIds.filter((id) => id !== jobId) : [...runIds, jobId].slice(0, MAX_RUNS),
    })
  return (
    <div className="flex flex-wrap items-center gap-2 print:hidden">
      <JobSelect
        jobId={first}
        name={names[0]}
        color={others.length > 0 ? RUN_COLORS[0] : undefined}
        onSelect={select}
      />
      {first && (
        <DropdownMenu onOpenChange={askForNews}>
          <DropdownMenuTrigger asChild>
            <Button>
              <GitCompare /> Compare
            </Button>
          </DropdownMenuTrigger>
          <DropdownMenuContent align="start" className="max-h-96 max-w-[min(26rem,92vw)] overflow-y-auto">
            <Rivals runIds={runIds} onToggle={toggle} />
          </DropdownMenuContent>
        </DropdownMenu>
      )}
      {others.map((id, index) => (
        <RunChip
          key={id}
          name={names[index + 1] ?? id}
          color={RUN_COLORS[index + 1] ?? ''}
          onRemove={() => toggle(id)}
        />
      ))}
      {first && <ViewOptions view={view} setView={setView} />}
    </div>
  )
})

/** Who opens a list of jobs expects the one made a moment ago, also by the command line. */
const askForNews = (isOpen: boolean) => {
  if (isOpen) void useTrainingStore.getState().fetchJobs()
}

/** The choices move with every running job, so they are there only while someone looks at them. */
function useChoices(runIds: readonly string[]) {
  return useTrainingStore(
    useShallow((state) => state.jobs.filter((job, index) => index < MAX_CHOICES || runIds.includes(job.id))),
  )
}

interface JobSelectProps {
  jobId: string | undefined
  name: string | undefined
  /** Of its lines, where others stand beside them. */
  color: string | undefined
  onSelect: (jobId: string) => void
}

function JobSelect({ jobId, name, color, onSelect }: JobSelectProps) {
  const [isOpen, setOpen] = useState(false)
  const open = (isToOpen: boolean) => {
    setOpen(isToOpen)
    askForNews(isToOpen)
  }
  return (
    <Select value={jobId ?? ''} onValueChange={onSelect} open={isOpen} onOpenChange={open}>
      <SelectTrigger aria-label="Training job" className="w-80 max-sm:w-full">
        <SelectValue placeholder="Choose a training job">
          {name !== undefined && (
            <span className="flex items-center gap-2">
              {color && <ColorDot color={color} />}
              <LongName name={name} />
            </span>
          )}
        </SelectValue>
      </SelectTrigger>
      {isOpen && (
        <SelectContent>
          <JobChoices runIds={jobId ? [jobId] : []} />
        </SelectContent>
      )}
    </Select>
  )
}

function JobChoices({ runIds }: { runIds: string[] }) {
  return (
    <>
      {useChoices(runIds).map((job) => (
        <SelectItem key={job.id} value={job.id} note={describeChoice(job)}>
          {job.name}
        </SelectItem>
      ))}
      <OlderRuns />
    </>
  )
}

function OlderRuns() {
  const numOlder = useTrainingStore((state) => Math.max(0, state.jobs.length - MAX_CHOICES))
  if (numOlder === 0) return null
  return (
    <p className="p-2 text-sm text-muted">
      {formatCount(numOlder)} older runs are not listed here. Find them by name in the Jobs tab and open their curves
      there.
    </p>
  )
}

function Rivals({ runIds, onToggle }: { runIds: string[]; onToggle: (jobId: string) => void }) {
  const choices = useChoices(runIds).filter((job) => job.id !== runIds[0])
  const limit = useId()
  const isFull = runIds.length >= MAX_RUNS
  if (choices.length === 0) return <p className="p-2 text-sm text-muted">There is no other job to compare with.</p>
  const items = choices.map((job) => {
    const isShown = runIds.includes(job.id)
    return (
      <DropdownMenuItem
        key={job.id}
        role="menuitemcheckbox"
        aria-checked={isShown}
        aria-describedby={isFull && !isShown ? limit : undefined}
        disabled={isFull && !isShown}
        className="h-auto min-h-8 py-1.5 max-sm:h-auto max-sm:min-h-11"
        onSelect={(event) => {
          event.preventDefault()
          onToggle(job.id)
        }}
      >
        <Check className={isShown ? '' : 'invisible'} />
        <span className="min-w-0">
          {job.name} <span className="text-muted">{sayNoEpoch(job)}</span>
        </span>
      </DropdownMenuItem>
    )
  })
  return (
    <>
      {isFull && (
        <p id={limit} className="sticky -top-1 z-10 border-b bg-raised p-2 text-sm">
          At most {MAX_RUNS} runs are compared. Take one away to add another.
        </p>
      )}
      {items}
      <OlderRuns />
    </>
  )
}

const ColorDot = ({ color }: { color: string }) => (
  <span className="size-2.5 shrink-0 rounded-full" style={{ background: color }} aria-hidden />
)

function RunChip({ name, color, onRemove }: { name: string; color: string; onRemove: () => void }) {
  return (
    <span className="inline-flex h-8 max-w-60 items-center gap-1.5 rounded-full border bg-card pr-1 pl-3 text-sm max-sm:h-11">
      <ColorDot color={color} />
      <LongName name={name} />
      <button
        type="button"
        className="grid size-6 place-items-center rounded-full hover:bg-subtle max-sm:size-11"
        aria-label={`Remove ${name}`}
        onClick={onRemove}
      >
        <X className="size-3.5" />
      </button>
    </span>
  )
}
