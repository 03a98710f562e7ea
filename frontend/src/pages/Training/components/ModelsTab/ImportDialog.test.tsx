import { render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { toast } from 'sonner'
import { beforeEach, expect, it, vi } from 'vitest'
import { ApiError } from '@/api/client'
import type { ImportListener } from '@/api/import-model'
import { useTrainingStore } from '@/stores/trainingStore'
import ImportDialog from './ImportDialog'

vi.mock('sonner', () => ({ toast: { error: vi.fn(), success: vi.fn() } }))

const importModel = vi.fn()

beforeEach(() => {
  vi.clearAllMocks()
  useTrainingStore.setState({ importModel })
  render(<ImportDialog dropped={null} onClose={() => undefined} onShow={() => undefined} />)
})

async function send(name: string) {
  await userEvent.upload(screen.getByLabelText('File'), new File(['{}'], name))
  await userEvent.click(screen.getByRole('button', { name: 'Upload' }))
}

it('tells a refusal once, in words, under the checks that passed, and takes the next file', async () => {
  importModel.mockImplementation(async (_file: File, listener: ImportListener) => {
    listener.onChecks?.([{ name: 'format', status: 'passed', detail: '' }])
    throw new ApiError('A field is missing.', 422, 'bundle_schema', '$.model.onnx')
  })
  await send('broken.heimdall')
  const alert = await screen.findByRole('alert')
  expect(alert).toHaveTextContent('laid out as they should be (at model.onnx). Nothing was stored.')
  expect(alert.compareDocumentPosition(screen.getByTestId('check'))).toBe(Node.DOCUMENT_POSITION_PRECEDING)
  expect(toast.error).not.toHaveBeenCalled()
  expect(screen.getByRole('button', { name: 'Upload' })).toBeDisabled()
  await userEvent.upload(screen.getByLabelText('File'), new File(['{}'], 'other.heimdall'))
  expect(screen.getByRole('button', { name: 'Upload' })).toBeEnabled()
})

it('lets a file be sent again where only the server was away', async () => {
  importModel.mockRejectedValue(new ApiError('The server does not answer.', null, 'offline'))
  await send('whole.heimdall')
  expect(await screen.findByRole('alert')).toHaveTextContent('The server does not answer.')
  expect(screen.getByRole('button', { name: 'Upload' })).toBeEnabled()
})
