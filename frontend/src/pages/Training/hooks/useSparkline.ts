import { useEffect, useMemo } from 'react'
import type { TrainingJob } from '@/api/types'
import { type Point, thin } from '@/lib/series'
import { useTrainingStore } from '@/stores/trainingStore'

const SPARK_POINTS = 64
/** Cards that only pass by while scrolling ask for nothing. */
const SETTLE_MS = 250

/** The validation curve of a card, at low resolution; the charts' finer rows are used where they are known. */
export function useSparkline(job: TrainingJob): readonly Point[] {
  const rows = useTrainingStore((state) => state.metrics.get(job.id))
  const isAsked = useTrainingStore((state) => state.metricsInfo.has(job.id))
  const fetchMetrics = useTrainingStore((state) => state.fetchMetrics)
  const hasRows = job.current_epoch > 0
  useEffect(() => {
    if (isAsked || !hasRows) return
    const timer = setTimeout(() => void fetchMetrics(job.id, SPARK_POINTS, 'val_loss'), SETTLE_MS)
    return () => clearTimeout(timer)
  }, [job.id, isAsked, hasRows, fetchMetrics])
  return useMemo(() => {
    const points = (rows ?? []).flatMap(({ epoch, val_loss }) =>
      typeof val_loss !== 'number' ? [] : [{ x: epoch, y: val_loss }],
    )
    return thin(points, SPARK_POINTS)
  }, [rows])
}
