import { useState } from 'react'
import { toApiError } from '@/api/client'
import { ConfirmDialog } from '@/components/ui/alert-dialog'
import { Field } from '@/components/ui/field'
import { Input } from '@/components/ui/input'
import { formatBytes } from '@/lib/format'
import { tellSuccess } from '@/lib/notify'
import { jobsById } from '@/stores/jobIndex'
import { useTrainingStore } from '@/stores/trainingStore'
import type { TrainedModel } from '../../types'

/** The engine says whether the model is in use; then its name must be typed. */
export function DeleteModelDialog({ model, onClose }: { model: TrainedModel; onClose: () => void }) {
  const deleteModel = useTrainingStore((state) => state.deleteModel)
  const maker = useTrainingStore((state) => jobsById(state.jobs).get(model.training_job_id ?? '')?.name)
  // What the engine would refuse without its name is asked for at once; what this page does not know of, the engine says.
  const [refusal, setRefusal] = useState(
    maker === undefined ? null : `The model is in use: the job “${maker}” shows it.`,
  )
  const [typed, setTyped] = useState('')
  const remove = async () => {
    try {
      await deleteModel(model.id, refusal === null ? undefined : typed)
      onClose()
      tellSuccess(`Deleted “${model.name}” v${model.version}`)
    } catch (fault) {
      setRefusal(toApiError(fault).message)
    }
  }
  return (
    <ConfirmDialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={`Delete “${model.name}” v${model.version}?`}
      action="Delete the model"
      keep="Keep it"
      isBlocked={refusal !== null && typed !== model.name}
      onConfirm={remove}
    >
      <p>
        Its network ({formatBytes(model.size_bytes)}), samples and verification are deleted for good. The job it came
        from keeps its history.
      </p>
      {refusal && (
        <>
          <p role="alert" className="text-failed wrap-anywhere">
            {refusal}
          </p>
          <Field label={`Type “${model.name}” to delete it all the same`}>
            <Input value={typed} onChange={(event) => setTyped(event.target.value)} autoComplete="off" />
          </Field>
        </>
      )}
    </ConfirmDialog>
  )
}
