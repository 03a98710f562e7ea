import { type FormEvent, useState } from 'react'
import { toApiError } from '@/api/client'
import { Button } from '@/components/ui/button'
import {
  Dialog,
  DialogBody,
  DialogContent,
  DialogDescription,
  DialogFooter,
  DialogHeader,
  DialogTitle,
} from '@/components/ui/dialog'
import { Field } from '@/components/ui/field'
import { Input } from '@/components/ui/input'
import { tellSuccess } from '@/lib/notify'
import { useTrainingStore } from '@/stores/trainingStore'
import type { TrainedModel } from '../../types'

interface RenameModelDialogProps {
  model: TrainedModel
  onClose: () => void
  onShow: () => void
}

export function RenameModelDialog({ model, onClose, onShow }: RenameModelDialogProps) {
  const renameModel = useTrainingStore((state) => state.renameModel)
  const [name, setName] = useState(model.name)
  const [error, setError] = useState<string>()
  const save = async (event: FormEvent) => {
    event.preventDefault()
    try {
      await renameModel(model.id, name.trim())
      onClose()
      tellSuccess(`Renamed to “${name.trim()}”`, { link: { label: 'Show', onClick: onShow } })
    } catch (fault) {
      setError(toApiError(fault).message)
    }
  }
  return (
    <Dialog open onOpenChange={(open) => !open && onClose()}>
      <DialogContent>
        <form onSubmit={save}>
          <DialogHeader>
            <DialogTitle>Rename the model</DialogTitle>
            <DialogDescription>Its version is counted anew under the new name.</DialogDescription>
          </DialogHeader>
          <DialogBody>
            <Field label="Name" error={error}>
              <Input value={name} onChange={(event) => setName(event.target.value)} required autoFocus />
            </Field>
          </DialogBody>
          <DialogFooter>
            <Button onClick={onClose}>Close</Button>
            <Button variant="primary" type="submit" disabled={name.trim() === '' || name.trim() === model.name}>
              Rename
            </Button>
          </DialogFooter>
        </form>
      </DialogContent>
    </Dialog>
  )
}
