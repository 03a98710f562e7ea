import { ArrowRight, Moon, Plus } from 'lucide-react'
import { type KeyboardEvent, useMemo, useState } from 'react'
import { useNavigate } from 'react-router'
import { Dialog, DialogContent, DialogTitle } from '@/components/ui/dialog'
import { Input } from '@/components/ui/input'
import { cn } from '@/lib/cn'
import { searchJobs } from '@/lib/job-query'
import { setTheme, useTheme } from '@/lib/theme'
import { useTrainingStore } from '@/stores/trainingStore'

const MAX_FOUND = 8

const SHORTCUTS = 'n new job · / search · g j, g m, g o tabs · Ctrl K this list'

export default function CommandPalette({ onClose }: { onClose: () => void }) {
  const [query, setQuery] = useState('')
  const [active, setActive] = useState(0)
  const commands = useCommands(query)
  const run = (index: number) => {
    const command = commands[index]
    if (!command) return
    onClose()
    command.run()
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') setActive(Math.min(commands.length - 1, active + 1))
    else if (event.key === 'ArrowUp') setActive(Math.max(0, active - 1))
    else if (event.key === 'Enter') run(active)
    else return
    event.preventDefault()
  }
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()}>
      <DialogContent className="sm:mb-[20dvh]" aria-describedby={undefined}>
        <DialogTitle className="sr-only">Search and commands</DialogTitle>
        <div className="border-b p-3 pr-14">
          <Input
            autoFocus
            role="combobox"
            aria-expanded
            aria-controls="commands"
            aria-activedescendant={commands[active] ? `command-${active}` : undefined}
            aria-label="Search jobs, models and commands"
            placeholder="Search jobs, models and commands"
            value={query}
            onKeyDown={onKeyDown}
            onChange={(event) => {
              setQuery(event.target.value)
              setActive(0)
            }}
          />
        </div>
        <div id="commands" role="listbox" aria-label="Results" className="max-h-80 overflow-y-auto p-2">
          {commands.map((command, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the field above keeps the focus and handles the keys
            <div
              key={command.id}
              id={`command-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === active}
              className={cn('flex h-10 items-center gap-2 rounded-control px-3', index === active && 'bg-subtle')}
              onPointerMove={() => setActive(index)}
              onClick={() => run(index)}
            >
              {command.icon}
              <span className="truncate">{command.label}</span>
              <span className="ml-auto shrink-0 text-xs text-muted">{command.kind}</span>
            </div>
          ))}
          {commands.length === 0 && <p className="px-3 py-4 text-muted">Nothing matches “{query}”.</p>}
        </div>
        <p className="border-t px-5 py-2 text-xs text-muted">{SHORTCUTS}</p>
      </DialogContent>
    </Dialog>
  )
}

function useCommands(query: string) {
  const jobs = useTrainingStore((state) => state.jobs)
  const models = useTrainingStore((state) => state.models)
  const theme = useTheme()
  const navigate = useNavigate()
  return useMemo(() => {
    const other = theme === 'dark' ? 'light' : 'dark'
    const fixed = [
      {
        id: 'jobs',
        label: 'Go to jobs',
        kind: 'page',
        icon: <ArrowRight className="size-4" />,
        run: () => navigate('/training'),
      },
      {
        id: 'metrics',
        label: 'Go to metrics',
        kind: 'page',
        icon: <ArrowRight className="size-4" />,
        run: () => navigate('/training?tab=metrics'),
      },
      {
        id: 'models',
        label: 'Go to models',
        kind: 'page',
        icon: <ArrowRight className="size-4" />,
        run: () => navigate('/training?tab=models'),
      },
      {
        id: 'new',
        label: 'New training job',
        kind: 'action',
        icon: <Plus className="size-4" />,
        run: () => dispatchEvent(new KeyboardEvent('keydown', { key: 'n' })),
      },
      {
        id: 'theme',
        label: `Use the ${other} theme`,
        kind: 'action',
        icon: <Moon className="size-4" />,
        run: () => setTheme(other),
      },
    ]
    const word = query.toLowerCase()
    const foundJobs = searchJobs(jobs, query).slice(0, MAX_FOUND)
    const foundModels = models.filter((model) => model.name.toLowerCase().includes(word)).slice(0, MAX_FOUND)
    return [
      ...fixed.filter((command) => command.label.toLowerCase().includes(word)),
      ...(word ? foundJobs : foundJobs.slice(0, 4)).map((job) => ({
        id: job.id,
        label: job.name,
        kind: `job, ${job.status}`,
        icon: null,
        run: () => navigate(`/training?tab=metrics&runs=${job.id}`),
      })),
      ...(word ? foundModels : []).map((model) => ({
        id: model.id,
        label: `${model.name} v${model.version}`,
        kind: 'model',
        icon: null,
        run: () => navigate(`/training?tab=models&model=${model.id}`),
      })),
    ]
  }, [jobs, models, navigate, query, theme])
}
