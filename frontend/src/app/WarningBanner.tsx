import { TriangleAlert } from 'lucide-react'
import { useState } from 'react'
import { listWarnings } from '@/api/training'
import { usePolling } from '@/lib/polling'

const ASK_EVERY_MS = 30_000

/** What a person should see to before it stops the work, such as a disk that is nearly full. */
export function WarningBanner() {
  const [warnings, setWarnings] = useState<Awaited<ReturnType<typeof listWarnings>>>([])
  usePolling(async () => {
    try {
      setWarnings(await listWarnings())
    } catch {
      // A server that does not answer is said by the badge; the last warning still holds.
    }
  }, ASK_EVERY_MS)
  if (warnings.length === 0) return null
  return (
    <section aria-label="Warnings" className="border-b bg-paused-fill/12">
      {warnings.map(({ name, detail }) => (
        <p
          key={name}
          role="status"
          data-testid="warning"
          className="mx-auto flex max-w-[1600px] items-start gap-2.5 px-4 py-2.5 text-sm sm:px-6"
        >
          <TriangleAlert className="mt-0.5 size-4 shrink-0 text-paused" aria-hidden />
          <span className="min-w-0 wrap-anywhere">{detail}</span>
        </p>
      ))}
    </section>
  )
}
