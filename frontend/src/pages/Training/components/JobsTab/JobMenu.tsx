import { ChartLine, Copy, CopyPlus, Ellipsis, FileText, Info, StepForward, Trash2, X } from 'lucide-react'
import { type ComponentProps, useState } from 'react'
import type { TrainingJob } from '@/api/types'
import { Button } from '@/components/ui/button'
import {
  DropdownMenu,
  DropdownMenuContent,
  DropdownMenuItem,
  DropdownMenuSeparator,
  DropdownMenuTrigger,
} from '@/components/ui/dropdown-menu'
import { copyText } from '@/lib/download'
import { tellSuccess } from '@/lib/notify'
import { canCancel, canContinue, canDelete, useJobActions } from '../../hooks/useJobActions'

/** Hundreds of cards, one menu open at most: until it is asked for, a card carries only its button. */
export function JobMenu({ job }: { job: TrainingJob }) {
  const [isOpen, setOpen] = useState<boolean | null>(null)
  if (isOpen === null)
    return <MenuButton job={job} aria-haspopup="menu" aria-expanded={false} onClick={() => setOpen(true)} />
  return (
    <DropdownMenu open={isOpen} onOpenChange={setOpen}>
      <DropdownMenuTrigger asChild>
        <MenuButton job={job} />
      </DropdownMenuTrigger>
      <MenuItems job={job} />
    </DropdownMenu>
  )
}

function MenuButton({ job, ...props }: ComponentProps<'button'> & { job: TrainingJob }) {
  return (
    <Button variant="ghost" size="icon" aria-label={`More for ${job.name}`} {...props}>
      <Ellipsis />
    </Button>
  )
}

function MenuItems({ job }: { job: TrainingJob }) {
  const actions = useJobActions()
  const copyId = async () => {
    await copyText(job.id)
    tellSuccess('Copied the job’s id', { description: job.id })
  }
  return (
    <DropdownMenuContent>
      <DropdownMenuItem onSelect={() => actions.showMetrics([job.id])}>
        <ChartLine /> Open metrics
      </DropdownMenuItem>
      <DropdownMenuItem onSelect={() => actions.showPanel(job, 'details')}>
        <Info /> Details
      </DropdownMenuItem>
      <DropdownMenuItem onSelect={() => actions.showPanel(job, 'log')}>
        <FileText /> Log
      </DropdownMenuItem>
      <DropdownMenuSeparator />
      <DropdownMenuItem onSelect={() => actions.create(job)}>
        <CopyPlus /> New from this
      </DropdownMenuItem>
      {canContinue(job) && (
        <DropdownMenuItem onSelect={() => actions.continueFrom(job)}>
          <StepForward /> Continue from its checkpoint
        </DropdownMenuItem>
      )}
      <DropdownMenuItem onSelect={copyId}>
        <Copy /> Copy id
      </DropdownMenuItem>
      <DropdownMenuSeparator />
      {canCancel(job) && (
        <DropdownMenuItem isDestructive onSelect={() => actions.cancel([job])}>
          <X /> Cancel the job
        </DropdownMenuItem>
      )}
      {canDelete(job) && (
        <DropdownMenuItem isDestructive onSelect={() => actions.remove([job])}>
          <Trash2 /> Delete
        </DropdownMenuItem>
      )}
    </DropdownMenuContent>
  )
}
