import { useCallback, useEffect, useRef, useState } from 'react'
import { toApiError } from '@/api/client'
import { getLog } from '@/api/training'
import { usePolling } from '@/lib/polling'

/** The text log of a job, followed while `isLive`: each look asks only for the lines after the last one. */
export function useJobLog(jobId: string, isLive: boolean) {
  const [lines, setLines] = useState<string[]>([])
  const [error, setError] = useState<string | null>(null)
  const [isLoaded, setLoaded] = useState(false)
  const last = useRef(0)
  const read = useCallback(async () => {
    try {
      for (;;) {
        const chunk = await getLog(jobId, last.current)
        setError(null)
        setLoaded(true)
        if (chunk.lines.length === 0 || chunk.lastLine <= last.current) return
        last.current = chunk.lastLine
        setLines((old) => [...old, ...chunk.lines])
      }
    } catch (fault) {
      setError(toApiError(fault).message)
    }
  }, [jobId])
  usePolling(read, 1000, isLive)
  // The last lines come with or just after the end, so a finished log is read once more.
  useEffect(() => {
    if (!isLive) void read()
  }, [isLive, read])
  return { lines, error, isLoaded }
}
