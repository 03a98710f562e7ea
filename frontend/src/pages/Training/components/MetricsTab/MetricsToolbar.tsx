import { Check, GitCompare, X } from 'lucide-react'
import { statusWord } from '@/components/feedback/StatusBadge'
import { Button } from '@/components/ui/button'
import { Checkbox } from '@/components/ui/checkbox'
import { DropdownMenu, DropdownMenuContent, DropdownMenuItem, DropdownMenuTrigger } from '@/components/ui/dropdown-menu'
import { Select, SelectContent, SelectItem, SelectTrigger, SelectValue } from '@/components/ui/select'
import { formatProgress } from '@/lib/format'
import { MAX_RUNS, type SetView, type ViewState } from '../../hooks/useViewState'
import type { TrainingJob } from '../../types'
import { RUN_COLORS } from './chart-model'

/** A list of hundreds helps nobody; older runs are found in the Jobs tab and opened from there. */
const MAX_CHOICES = 100

interface MetricsToolbarProps {
  jobs: TrainingJob[]
  runIds: string[]
  view: ViewState
  setView: SetView
}

export function MetricsToolbar({ jobs, runIds, view, setView }: MetricsToolbarProps) {
  const [first, ...others] = runIds
  const choices = jobs.filter((job, index) => index < MAX_CHOICES || runIds.includes(job.id))
  const select = (jobId: string) => setView({ runs: [jobId, ...others.filter((id) => id !== jobId)], zoom: null })
  const toggle = (jobId: string) =>
    setView({
      runs: others.includes(jobId) ? runIds.filter((id) => id !== jobId) : [...runIds, jobId].slice(0, MAX_RUNS),
    })
  return (
    <div className="flex flex-wrap items-center gap-2">
      <Select value={first ?? ''} onValueChange={select}>
        <SelectTrigger aria-label="Training job" className="w-80 max-sm:w-full">
          <SelectValue placeholder="Choose a training job" />
        </SelectTrigger>
        <SelectContent>
          {choices.map((job) => (
            <SelectItem
              key={job.id}
              value={job.id}
              note={`${statusWord(job.status)}, ${formatProgress(job.progress_percent)}`}
            >
              {job.name}
            </SelectItem>
          ))}
        </SelectContent>
      </Select>
      {first && (
        <DropdownMenu>
          <DropdownMenuTrigger asChild>
            <Button>
              <GitCompare /> Compare
            </Button>
          </DropdownMenuTrigger>
          <DropdownMenuContent align="start" className="max-h-96 max-w-[min(26rem,92vw)] overflow-y-auto">
            {choices
              .filter((job) => job.id !== first)
              .map((job) => (
                <DropdownMenuItem
                  key={job.id}
                  role="menuitemcheckbox"
                  aria-checked={others.includes(job.id)}
                  disabled={runIds.length >= MAX_RUNS && !others.includes(job.id)}
                  onSelect={(event) => {
                    event.preventDefault()
                    toggle(job.id)
                  }}
                >
                  <Check className={others.includes(job.id) ? '' : 'invisible'} />
                  <span className="truncate">{job.name}</span>
                </DropdownMenuItem>
              ))}
            {choices.length < 2 && <p className="p-2 text-sm text-muted">There is no other job to compare with.</p>}
          </DropdownMenuContent>
        </DropdownMenu>
      )}
      {others.map((id, index) => {
        const job = jobs.find((one) => one.id === id)
        return (
          <span
            key={id}
            className="inline-flex h-8 max-w-60 items-center gap-1.5 rounded-full border bg-card pr-1 pl-3 text-sm max-sm:h-11"
          >
            <span
              className="size-2.5 shrink-0 rounded-full"
              style={{ background: RUN_COLORS[index + 1] }}
              aria-hidden
            />
            <span className="truncate">{job?.name ?? id.slice(0, 8)}</span>
            <button
              type="button"
              className="grid size-6 place-items-center rounded-full hover:bg-subtle max-sm:size-11"
              aria-label={`Remove ${job?.name ?? id}`}
              onClick={() => toggle(id)}
            >
              <X className="size-3.5" />
            </button>
          </span>
        )
      })}
      {first && <ViewOptions view={view} setView={setView} />}
    </div>
  )
}

function ViewOptions({ view, setView }: Pick<MetricsToolbarProps, 'view' | 'setView'>) {
  return (
    <div className="flex flex-wrap items-center gap-x-4 gap-y-2 text-sm sm:ml-auto">
      <Select value={view.x} onValueChange={(x) => setView({ x: x === 'time' ? 'time' : 'epoch', zoom: null })}>
        <SelectTrigger aria-label="Horizontal axis">
          <SelectValue />
        </SelectTrigger>
        <SelectContent>
          <SelectItem value="epoch">by epoch</SelectItem>
          <SelectItem value="time">by time</SelectItem>
        </SelectContent>
      </Select>
      <label
        className="flex items-center gap-2"
        title="Weight of the past in an exponential moving average; 0 shows the measured values. CSV always holds the measured ones."
      >
        smoothing
        <input
          type="range"
          min={0}
          max={0.95}
          step={0.05}
          value={view.smooth}
          className="h-8 w-24 accent-accent max-sm:h-11"
          onChange={(event) => setView({ smooth: Number(event.target.value) }, { replace: true })}
        />
        <output className="w-8">{view.smooth === 0 ? 'off' : view.smooth}</output>
      </label>
      <span className="flex items-center gap-2">
        <Checkbox
          id="log-y"
          checked={view.log}
          onCheckedChange={(checked) => setView({ log: checked === true }, { replace: true })}
        />
        <label htmlFor="log-y">log y</label>
      </span>
    </div>
  )
}
