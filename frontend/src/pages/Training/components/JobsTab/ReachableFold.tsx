import { LoaderCircle, RotateCw } from 'lucide-react'
import { useState } from 'react'
import type { ApiError } from '@/api/client'
import type { Dataset, DatasetPreview } from '@/api/types'
import { Facts } from '@/components/feedback/Facts'
import { Button } from '@/components/ui/button'
import { Field } from '@/components/ui/field'
import { Fold } from '@/components/ui/fold'
import { Input } from '@/components/ui/input'
import { cn } from '@/lib/cn'
import { formatCount, formatMetres } from '@/lib/format'
import { PREVIEW_LIMITS } from '@/lib/limits'
import { arrivalCauses, explainFewReceivers, reachRows, readTarget } from '@/lib/reach'
import { useReachable } from '../../hooks/useReachable'

/** What the receivers, clocks and signals of a synthetic data set allow: told before anybody trains, computed when opened. */
export function ReachableFold({ dataset }: { dataset: Dataset }) {
  const [isOpen, setOpen] = useState(false)
  const [text, setText] = useState(String(PREVIEW_LIMITS.target_m.default))
  const target = readTarget(text)
  const { preview, error, isLoading, retry } = useReachable(dataset, target.value_m, isOpen)
  return (
    <Fold title="What can be reached" onToggle={setOpen}>
      <div className="flex flex-col gap-4 px-3 pb-4">
        <Field
          label="Target radius (m)"
          help="68 % of the positions shall lie within it."
          error={target.error ?? undefined}
          className="sm:w-64"
        >
          <Input
            value={text}
            onChange={(event) => setText(event.target.value)}
            // The dialog's form would start the training.
            onKeyDown={(event) => event.key === 'Enter' && event.preventDefault()}
            inputMode="decimal"
            autoComplete="off"
          />
        </Field>
        <Progress isLoading={isLoading} isOverTerrain={dataset.config.propagation === 'terrain'} />
        {error && <Refusal error={error} onRetry={retry} />}
        {preview && (
          <div className={cn('flex flex-col gap-4', isLoading && 'opacity-60')} aria-busy={isLoading}>
            <Figures preview={preview} dataset={dataset} />
          </div>
        )}
      </div>
    </Fold>
  )
}

/** Always there, so that a screen reader hears it change. */
function Progress({ isLoading, isOverTerrain }: { isLoading: boolean; isOverTerrain: boolean }) {
  return (
    <p role="status" className={cn('flex items-center gap-2 text-sm text-muted', !isLoading && 'sr-only')}>
      {isLoading ? (
        <>
          <LoaderCircle className="size-4 shrink-0 animate-spin" aria-hidden />
          {isOverTerrain
            ? 'Simulating transmissions over the terrain; this may take a minute.'
            : 'Simulating some thousand transmissions.'}
        </>
      ) : (
        'Computed.'
      )}
    </p>
  )
}

function Refusal({ error, onRetry }: { error: ApiError; onRetry: () => void }) {
  return (
    <div
      role="alert"
      className="flex items-start gap-3 rounded-control bg-failed-fill/8 px-3 py-2 text-sm max-sm:flex-col"
    >
      <p className="min-w-0 flex-1">
        What can be reached could not be computed; a job can be started all the same. {error.message}
      </p>
      <Button size="sm" className="max-sm:w-full" onClick={onRetry}>
        <RotateCw /> Try again
      </Button>
    </div>
  )
}

function Figures({ preview, dataset }: { preview: DatasetPreview; dataset: Dataset }) {
  const [first, ...others] = preview.sentences
  const { min_receivers } = dataset.config
  const minReceivers = typeof min_receivers === 'number' ? min_receivers : null
  return (
    <>
      <div className="flex flex-col gap-1 text-sm">
        <p className="font-medium">{first}</p>
        {others.map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
      </div>
      <ReachTable preview={preview} minReceivers={minReceivers} />
      <section aria-label="Error of an arrival by cause">
        <h3 className="mb-1.5 text-sm font-medium">Error of an arrival, median</h3>
        <Facts items={arrivalCauses(preview)} />
      </section>
      <Assumptions preview={preview} />
    </>
  )
}

function ReachTable({ preview, minReceivers }: { preview: DatasetPreview; minReceivers: number | null }) {
  const note = explainFewReceivers(preview, minReceivers)
  return (
    <table aria-label="What can be reached by number of receivers" className="w-full text-right text-sm">
      <thead>
        <tr className="border-b align-bottom text-muted">
          <th scope="col" className="py-1 text-left font-medium">
            heard by
          </th>
          <th scope="col" className="py-1 pl-3 font-medium">
            of all
          </th>
          <th scope="col" className="py-1 pl-3 font-medium">
            68 % within
          </th>
          <th scope="col" className="py-1 pl-3 font-medium">
            ±{formatMetres(preview.target_m)} needs
          </th>
        </tr>
      </thead>
      <tbody>
        {reachRows(preview).map((row) => (
          <tr
            key={row.numReceivers}
            className={cn('border-b', minReceivers !== null && row.numReceivers < minReceivers && 'text-muted')}
          >
            <th scope="row" className="py-1 text-left font-normal">
              {row.numReceivers}
            </th>
            {[row.share, row.within, row.timing].map((figure, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: three fixed columns
              <td key={index} className="py-1 pl-3 whitespace-nowrap">
                {figure}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
      {note && <caption className="caption-bottom pt-2 text-left text-xs text-muted">{note}</caption>}
    </table>
  )
}

function Assumptions({ preview }: { preview: DatasetPreview }) {
  const { assumptions, num_examples } = preview.physical_limit
  return (
    <p className="break-words text-xs text-muted">
      The best that any network could do, over {formatCount(num_examples)} simulated transmissions. {assumptions} Times
      of arrival after Knapp and Carter 1976 and Stein 1981; the derivation stands in
      docs/discussions/what-accuracy-is-possible.md.
    </p>
  )
}
