import { Trash2 } from 'lucide-react'
import { useState } from 'react'
import { toApiError } from '@/api/client'
import { deleteDataset } from '@/api/training'
import type { Dataset } from '@/api/types'
import { Button } from '@/components/ui/button'
import { Fold } from '@/components/ui/fold'
import { plural } from '@/lib/format'
import { inPageQuotes } from '@/lib/sentence'
import { useCatalogueStore } from '../../hooks/useCatalogue'

/** Data sets that could not be made: why, and away with them. There is nothing in them to lose. */
export function FailedDatasets({ datasets }: { datasets: readonly Dataset[] }) {
  const failed = datasets.filter((dataset) => dataset.status === 'failed')
  if (failed.length === 0) return null
  return (
    <Fold title={`${plural(failed.length, 'data set')} could not be made`}>
      <ul aria-label="Data sets that could not be made" className="flex flex-col gap-2 px-3 pb-3">
        {failed.map((dataset) => (
          <FailedDataset key={dataset.id} dataset={dataset} />
        ))}
      </ul>
    </Fold>
  )
}

function FailedDataset({ dataset }: { dataset: Dataset }) {
  const load = useCatalogueStore((state) => state.load)
  const [isBusy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<string | null>(null)
  const remove = async () => {
    setBusy(true)
    try {
      await deleteDataset(dataset.id)
      await load()
    } catch (error) {
      setRefusal(toApiError(error).message)
    } finally {
      setBusy(false)
    }
  }
  return (
    <li className="flex items-start gap-3 rounded-control bg-failed-fill/8 px-3 py-2 text-sm max-sm:flex-col">
      <div className="min-w-0 flex-1">
        <p className="line-clamp-2" title={dataset.name}>
          “{dataset.name}” could not be made.
        </p>
        <p className="text-muted">{inPageQuotes(dataset.error_message ?? 'No reason was stored.')}</p>
        {refusal && (
          <p role="alert" className="text-failed">
            {refusal}
          </p>
        )}
      </div>
      <Button size="sm" className="max-sm:w-full" disabled={isBusy} onClick={remove}>
        <Trash2 /> Remove it
      </Button>
    </li>
  )
}
