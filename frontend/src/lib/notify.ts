import { toast } from 'sonner'

interface Link {
  label: string
  onClick: () => void
}

interface ErrorToast {
  title: string
  description: string
  count: number
}

/** Errors stay until they are closed; of more than these the oldest goes. */
export const MAX_ERRORS = 3

const errors = new Map<string, ErrorToast>()

/** One toast per action of the person; each can link to its object. */
export function tellSuccess(title: string, options: { description?: string; link?: Link } = {}): void {
  toast.success(title, {
    ...(options.description ? { description: options.description } : {}),
    ...(options.link ? { action: options.link } : {}),
  })
}

/** What has been read by whoever goes on to something else. */
export function closeSuccesses(): void {
  for (const one of toast.getToasts()) if ('type' in one && one.type === 'success') toast.dismiss(one.id)
}

/** News that nobody asked for: longer to be read, and the same again takes the place of the first. */
export function tellNotice(id: string, title: string, link: Link): void {
  toast.warning(title, { id, duration: 10_000, action: link })
}

/** The same error again is counted in its toast instead of standing there twice. */
export function tellError(title: string, error: unknown, options: { link?: Link } = {}): void {
  const description = error instanceof Error ? error.message : String(error)
  const id = `${title}\n${description}`
  const count = (errors.get(id)?.count ?? 0) + 1
  errors.delete(id)
  errors.set(id, { title, description, count })
  toast.error(count > 1 ? `${title} (${count} times)` : title, {
    id,
    description,
    duration: Number.POSITIVE_INFINITY,
    onDismiss: () => errors.delete(id),
    ...(options.link ? { action: options.link } : {}),
  })
  for (const oldest of errors.keys()) {
    if (errors.size <= MAX_ERRORS) break
    close(oldest)
  }
}

/** Closes the error that came last; false where there is none. */
export function closeNewestError(): boolean {
  const newest = [...errors.keys()].at(-1)
  if (newest !== undefined) close(newest)
  return newest !== undefined
}

function close(id: string): void {
  errors.delete(id)
  toast.dismiss(id)
}
