import { FileUp } from 'lucide-react'
import { useEffect, useState } from 'react'
import { tellError } from '@/lib/notify'

/** Takes a .heimdall file dropped anywhere on the page. */
export function DropZone({ onDrop }: { onDrop: (file: File) => void }) {
  const [isOver, setOver] = useState(false)
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return
      event.preventDefault()
      setOver(true)
    }
    const leave = (event: DragEvent) => {
      // Leaving towards a child is no leaving; only the window's edge has no related target.
      if (event.relatedTarget === null) setOver(false)
    }
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return
      event.preventDefault()
      setOver(false)
      const files = [...(event.dataTransfer?.files ?? [])]
      const file = files.find((one) => one.name.endsWith('.heimdall'))
      if (files.length > 1) {
        tellError(
          'Nothing was imported',
          new Error(`${files.length} files were dropped. Drop one .heimdall file at a time.`),
        )
      } else if (file) onDrop(file)
      else tellError('Nothing was imported', new Error('Drop a file whose name ends in .heimdall.'))
    }
    addEventListener('dragover', over)
    addEventListener('dragleave', leave)
    addEventListener('drop', drop)
    return () => {
      removeEventListener('dragover', over)
      removeEventListener('dragleave', leave)
      removeEventListener('drop', drop)
    }
  }, [onDrop])
  if (!isOver) return null
  return (
    <div className="pointer-events-none fixed inset-3 z-[80] grid place-items-center rounded-card border-2 border-dashed border-accent bg-ground/85">
      <p className="flex items-center gap-2 text-lg font-semibold">
        <FileUp className="size-6" aria-hidden /> Drop to import and verify
      </p>
    </div>
  )
}
