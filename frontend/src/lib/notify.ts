import { toast } from 'sonner'

interface Link {
  label: string
  onClick: () => void
}

/** One toast per action of the person; each can link to its object. */
export function tellSuccess(title: string, options: { description?: string; link?: Link } = {}): void {
  toast.success(title, {
    ...(options.description ? { description: options.description } : {}),
    ...(options.link ? { action: options.link } : {}),
  })
}

export function tellError(title: string, error: unknown, options: { link?: Link } = {}): void {
  const description = error instanceof Error ? error.message : String(error)
  toast.error(title, {
    description,
    duration: Number.POSITIVE_INFINITY,
    ...(options.link ? { action: options.link } : {}),
  })
}
