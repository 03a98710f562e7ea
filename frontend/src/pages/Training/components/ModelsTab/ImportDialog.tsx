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
import { tellSuccess } from '@/lib/notify'
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
    }
  }
  useOnceOnDrop(dropped, upload)
  const isBusy = stage.kind === 'sending'
  // The same file would be refused again; a server that was away may well take it the second time.
  const isRefused = stage.kind === 'refused' && stage.error.code in FAULTS
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
              <Button variant="primary" disabled={!file || isBusy || isRefused} onClick={() => file && upload(file)}>
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
        <VerificationChecks checks={stage.checks} />
        <div role="alert" className="flex flex-col gap-1 rounded-control bg-failed-fill/10 px-3 py-2">
          <p className="font-medium text-failed">{stage.error.message}</p>
          <p className="text-xs text-muted">{describeFault(stage.error)} Nothing was stored.</p>
        </div>
      </div>
    )
  return null
}

/** What a refusal is about, in words. Others, as a server that is away, say all in their message. */
const FAULTS: Record<string, string> = {
  unsupported_media: 'This is no file of the expected kind',
  bundle_invalid: 'The file does not hold what a model needs',
  bundle_json: 'The file’s text is damaged or cut short',
  bundle_schema: 'The file’s contents are not laid out as they should be',
  bundle_integrity: 'The file’s contents do not match their checksums',
  onnx_opset: 'The network is of a version that cannot be run here',
  onnx_invalid: 'The network is not a valid ONNX file',
  onnx_external_data: 'The network keeps its values in another file',
  onnx_domain: 'The network uses operators that cannot be run here',
  onnx_load: 'The network cannot be loaded here',
  sample_mismatch: 'The network does not give the answers that its samples promise',
  limits: 'The network needs more time or memory than a check may take',
  too_large: 'The file is too large',
}

/** The place within the file is told as such; `file` is only the name of the form's field. */
function describeFault({ code, field }: ApiError): string {
  const about = FAULTS[code]
  if (about === undefined) return ''
  return field && field !== 'file' ? `${about} (at ${field.replace(/^\$\.?/, '') || 'its beginning'}).` : `${about}.`
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
