import { useEffect, useState } from 'react'
import { type ApiError, toApiError } from '@/api/client'
import { previewDataset } from '@/api/training'
import type { Dataset, DatasetPreview } from '@/api/types'

/** A radius is typed digit by digit: the engine is asked when the person rests. */
const REST_MS = 400

interface Answer {
  datasetId: string
  target_m: number
  preview: DatasetPreview | null
  error: ApiError | null
}

export interface Reachable {
  /** Of this data set; of the radius asked before while the next one is computed. */
  preview: DatasetPreview | null
  error: ApiError | null
  isLoading: boolean
  retry: () => void
}

/** What can be reached with a synthetic data set; asked only while wanted and while the radius can be read. */
export function useReachable(dataset: Dataset, target_m: number | null, isWanted: boolean): Reachable {
  const [answer, setAnswer] = useState<Answer | null>(null)
  const own = answer?.datasetId === dataset.id ? answer : null
  const isLoading = isWanted && target_m !== null && own?.target_m !== target_m
  const hasAnswer = own !== null
  useEffect(() => {
    if (!isLoading) return
    const abort = new AbortController()
    const ask = async () => {
      const asked = { datasetId: dataset.id, target_m }
      try {
        const preview = await previewDataset(dataset, target_m, abort.signal)
        if (!abort.signal.aborted) setAnswer({ ...asked, preview, error: null })
      } catch (error) {
        if (!abort.signal.aborted) setAnswer({ ...asked, preview: null, error: toApiError(error) })
      }
    }
    const timer = setTimeout(() => void ask(), hasAnswer ? REST_MS : 0)
    return () => {
      clearTimeout(timer)
      abort.abort()
    }
  }, [isLoading, hasAnswer, dataset, target_m])
  return {
    preview: own?.preview ?? null,
    error: isLoading ? null : (own?.error ?? null),
    isLoading,
    retry: () => setAnswer(null),
  }
}
