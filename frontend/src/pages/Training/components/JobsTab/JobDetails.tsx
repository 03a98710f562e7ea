import { ChevronRight } from 'lucide-react'
import type { ReactNode } from 'react'
import type { TrainingJob } from '@/api/types'
import { CopyButton } from '@/components/feedback/CopyButton'
import { Facts } from '@/components/feedback/Facts'
import { RelativeTime } from '@/components/feedback/RelativeTime'
import { formatBytes, formatMetres, formatNumber, plural } from '@/lib/format'
import { JOB_LIMITS } from '@/lib/limits'
import { inPageQuotes } from '@/lib/sentence'
import { useDatasetName } from '../../hooks/useCatalogue'

export function JobDetails({ job }: { job: TrainingJob }) {
  const dataset = useDatasetName(job.dataset_id)
  const { checkpoint, device } = job
  return (
    <div className="flex flex-col gap-6">
      {job.error_message && <Failure job={job} />}
      {job.notice && <p className="rounded-control bg-paused-fill/12 p-3 font-medium">{inPageQuotes(job.notice)}</p>}
      <Section title="Run">
        <Facts
          items={[
            ['Progress', `epoch ${job.current_epoch} of ${job.total_epochs}`],
            job.best_epoch !== null && ['Best epoch', job.best_epoch],
            job.best_val_loss !== null && ['Best validation loss', formatNumber(job.best_val_loss)],
            job.best_val_error_median_m !== null && ['Median error there', formatMetres(job.best_val_error_median_m)],
            ['Created', <RelativeTime key="t" at={job.created_at} />],
            job.started_at && ['Started', <RelativeTime key="t" at={job.started_at} />],
            job.completed_at && ['Ended', <RelativeTime key="t" at={job.completed_at} />],
            ['Attempts', job.attempt],
            job.resume_is_exact !== null && [
              'Last resume',
              job.resume_is_exact ? 'bit-exact' : 'not bit-exact: another machine or library version',
            ],
            checkpoint && [
              'Checkpoint',
              `after epoch ${checkpoint.epoch}, step ${checkpoint.step}, ${formatBytes(checkpoint.size_bytes)}`,
            ],
            device && [
              'Device',
              [
                device.name,
                device.threads && plural(device.threads, 'thread'),
                device.memory_total_bytes && formatBytes(device.memory_total_bytes),
              ]
                .filter(Boolean)
                .join(', '),
            ],
            job.worker_seen_at &&
              job.status === 'running' && ['Worker last seen', <RelativeTime key="t" at={job.worker_seen_at} />],
            job.continued_from && ['Continued from', job.continued_from],
          ]}
        />
      </Section>
      <Section title="Configuration, as saved with the run">
        <Facts
          items={[
            ['Data set', dataset],
            ...Object.entries(job.config)
              .filter(([name, value]) => name !== 'job_name' && value !== null)
              .map(([name, value]) => [name, <ConfigValue key={name} name={name} value={value} />] as const),
          ]}
        />
      </Section>
      <div className="flex items-center gap-2 text-sm text-muted">
        <code className="font-mono text-xs">{job.id}</code>
        <CopyButton text={job.id} label="Copy the id" />
      </div>
    </div>
  )
}

function ConfigValue({ name, value }: { name: string; value: unknown }) {
  const help = name in JOB_LIMITS ? JOB_LIMITS[name as keyof typeof JOB_LIMITS].help : undefined
  return <span title={help}>{String(value)}</span>
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <h3 className="mb-2 font-semibold">{title}</h3>
      {children}
    </section>
  )
}

/** The sentence first; the traceback folded, for those who want it. */
function Failure({ job }: { job: TrainingJob }) {
  return (
    <section className="rounded-control bg-failed-fill/8 p-3">
      <p className="font-medium">{inPageQuotes(job.error_message ?? '')}</p>
      {job.error_detail && (
        <details className="group mt-2">
          <summary className="flex min-h-8 list-none max-sm:min-h-11 items-center gap-1 text-sm text-failed">
            <ChevronRight className="size-4 transition-transform group-open:rotate-90" aria-hidden /> Traceback
          </summary>
          <pre className="mt-1 max-h-80 overflow-auto rounded-control bg-card p-3 font-mono text-xs whitespace-pre">
            {job.error_detail}
          </pre>
          <div className="mt-2">
            <CopyButton text={job.error_detail} label="Copy the traceback">
              Copy the traceback
            </CopyButton>
          </div>
        </details>
      )}
    </section>
  )
}
