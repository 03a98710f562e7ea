import { FileUp, LoaderCircle } from 'lucide-react'
import { useEffect, useRef, useState } from 'react'
import { type ApiError, toApiError } from '@/api/client'
import type { ImportResult } from '@/api/training'
import type { VerificationCheck } from '@/api/types'
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
import { Input, Label } from '@/components/ui/input'
import { Progress } from '@/components/ui/progress'
import { formatBytes, formatProgress } from '@/lib/format'
import { tellError, tellSuccess } from '@/lib/notify'
import { inWords } from '@/lib/sentence'
import { useTrainingStore } from '@/stores/trainingStore'
import { describeVerification, VerificationChecks, VerificationSeal } from './VerificationSeal'

interface ImportDialogProps {
  /** A file dropped on the page: its import starts at once. */
  dropped: File | null
  onClose: () => void
  onShow: (modelId: string) => void
}

type Stage =
  | { kind: 'choosing' }
  | { kind: 'sending'; share: number; checks: VerificationCheck[] }
  | { kind: 'done'; result: ImportResult; checks: VerificationCheck[] }
  | { kind: 'refused'; error: ApiError; checks: VerificationCheck[] }

export default function ImportDialog({ dropped, onClose, onShow }: ImportDialogProps) {
  const importModel = useTrainingStore((state) => state.importModel)
  const [file, setFile] = useState<File | null>(dropped)
  const [stage, setStage] = useState<Stage>({ kind: 'choosing' })
  const upload = async (chosen: File) => {
    let [share, checks]: [number, VerificationCheck[]] = [0, []]
    const show = () => setStage({ kind: 'sending', share, checks })
    show()
    try {
      const result = await importModel(chosen, {
        onProgress: (sent) => {
          share = sent
          show()
        },
        onChecks: (done) => {
          checks = done
          show()
        },
      })
      setStage({ kind: 'done', result, checks })
      tellSuccess(result.existed ? 'This model is already here' : 'Model imported', {
        description: describeVerification(result.verification),
        link: { label: 'Show', onClick: () => onShow(result.model_id) },
      })
    } catch (error) {
      const fault = toApiError(error)
      setStage({ kind: 'refused', error: fault, checks })
      tellError(`“${chosen.name}” was not imported`, fault)
    }
  }
  useOnceOnDrop(dropped, upload)
  const isBusy = stage.kind === 'sending'
  return (
    <Dialog open onOpenChange={(open) => !open && !isBusy && onClose()}>
      <DialogContent>
        <DialogHeader>
          <DialogTitle>Import model</DialogTitle>
          <DialogDescription>
            A .heimdall file is checked and run in a closed room before it becomes a model. A refused file leaves
            nothing behind.
          </DialogDescription>
        </DialogHeader>
        <DialogBody className="flex flex-col gap-4">
          <div className="flex flex-col gap-1">
            {/* A browser's own field cannot show a file that was dropped: it would say that none was chosen. */}
            {dropped === null && <Label htmlFor="bundle">File</Label>}
            {dropped === null && (
              <Input
                id="bundle"
                type="file"
                accept=".heimdall"
                disabled={isBusy}
                className="cursor-pointer py-1.5 file:mr-3 file:h-full file:cursor-pointer file:rounded-[6px] file:bg-subtle file:px-2 file:text-sm file:font-medium"
                onChange={(event) => {
                  setFile(event.target.files?.[0] ?? null)
                  setStage({ kind: 'choosing' })
                }}
              />
            )}
            {file && (
              <p className="text-xs text-muted">
                {file.name}, {formatBytes(file.size)}
              </p>
            )}
          </div>
          <StageView stage={stage} />
        </DialogBody>
        <DialogFooter>
          {stage.kind === 'done' ? (
            <>
              <Button onClick={onClose}>Close</Button>
              <Button variant="primary" onClick={() => onShow(stage.result.model_id)}>
                Show the model
              </Button>
            </>
          ) : (
            <>
              <Button onClick={onClose} disabled={isBusy}>
                Close
              </Button>
              <Button variant="primary" disabled={!file || isBusy} onClick={() => file && upload(file)}>
                {isBusy ? <LoaderCircle className="animate-spin" /> : <FileUp />} Upload
              </Button>
            </>
          )}
        </DialogFooter>
      </DialogContent>
    </Dialog>
  )
}

function StageView({ stage }: { stage: Stage }) {
  if (stage.kind === 'sending') {
    const isSent = stage.share >= 1
    return (
      <div className="flex flex-col gap-3">
        <div className="flex flex-col gap-1.5">
          <Progress value={stage.share * 100} aria-label="Upload" />
          <p className="text-sm text-muted" role="status">
            {isSent
              ? 'Sent. Checking the file and running its samples…'
              : `Sending, ${formatProgress(stage.share * 100)}`}
          </p>
        </div>
        <VerificationChecks checks={stage.checks} />
      </div>
    )
  }
  if (stage.kind === 'done')
    return (
      <div className="flex flex-col gap-3" role="status">
        {stage.result.existed && (
          <>
            <p>This very model is already here; nothing was added. The file passed these checks:</p>
            <VerificationChecks checks={stage.checks} />
            <p>The model itself was checked before:</p>
          </>
        )}
        <VerificationSeal verification={stage.result.verification} />
        {!stage.result.existed && <VerificationChecks checks={stage.result.verification.checks} />}
      </div>
    )
  if (stage.kind === 'refused')
    return (
      <div className="flex flex-col gap-3">
        <div role="alert" className="flex flex-col gap-1 rounded-control bg-failed-fill/10 px-3 py-2">
          <p className="font-medium text-failed">{stage.error.message}</p>
          <p className="text-xs text-muted">
            Check: {inWords(stage.error.code)}
            {stage.error.field ? `, at ${stage.error.field}` : ''}. Nothing was stored.
          </p>
        </div>
        <VerificationChecks checks={stage.checks} />
      </div>
    )
  return null
}

/** StrictMode runs effects twice; a dropped file is still sent once. */
function useOnceOnDrop(dropped: File | null, upload: (file: File) => void): void {
  const sent = useRef<File | null>(null)
  useEffect(() => {
    if (!dropped || sent.current === dropped) return
    sent.current = dropped
    upload(dropped)
  })
}
