import { Dialog as SheetParts } from 'radix-ui'
import type { TrainingJob } from '@/api/types'
import { StatusBadge } from '@/components/feedback/StatusBadge'
import { Sheet, SheetContent } from '@/components/ui/sheet'
import { Tabs, TabsContent, TabsList, TabsTrigger } from '@/components/ui/tabs'
import { useJob } from '@/stores/jobIndex'
import type { Panel, SetView, ViewState } from '../../hooks/useViewState'
import { JobDetails } from './JobDetails'
import { JobLog } from './JobLog'

/** Details and log of one job, beside the page. */
export function JobDrawer({ view, setView }: { view: ViewState; setView: SetView }) {
  const job = useJob(view.open)
  if (!job) return null
  return (
    <Sheet open onOpenChange={(open) => !open && setView({ open: null })}>
      <SheetContent aria-describedby={undefined}>
        <DrawerHead job={job} />
        <Tabs
          value={view.panel}
          onValueChange={(panel) => setView({ panel: panel as Panel }, { replace: true })}
          className="flex min-h-0 flex-1 flex-col"
        >
          <TabsList className="px-5">
            <TabsTrigger value="details">Details</TabsTrigger>
            <TabsTrigger value="log">Log</TabsTrigger>
          </TabsList>
          <TabsContent value="details" className="min-h-0 flex-1 overflow-y-auto px-5 pt-4 pb-6">
            <JobDetails job={job} />
          </TabsContent>
          <TabsContent value="log" className="flex min-h-0 flex-1 flex-col pt-0">
            <JobLog key={job.id} job={job} />
          </TabsContent>
        </Tabs>
      </SheetContent>
    </Sheet>
  )
}

function DrawerHead({ job }: { job: TrainingJob }) {
  return (
    <div className="flex flex-col items-start gap-1.5 px-5 pt-4 pr-16 sm:pr-14 pb-2">
      <SheetParts.Title className="text-lg font-semibold">{job.name}</SheetParts.Title>
      <StatusBadge status={job.status} pending_action={job.pending_action} />
    </div>
  )
}
