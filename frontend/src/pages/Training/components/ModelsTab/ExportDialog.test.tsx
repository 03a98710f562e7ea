import { render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { TrainedModel } from '@/api/types'
import data from '@/gallery/fixtures.json'
import { useTrainingStore } from '@/stores/trainingStore'
import ExportDialog from './ExportDialog'

const downloadModel = vi.fn(async (_id: string, _options: object) => 'model.heimdall')
const onClose = vi.fn()

beforeEach(() => {
  vi.clearAllMocks()
  useTrainingStore.setState({ downloadModel })
  render(<ExportDialog model={data.models[0] as unknown as TrainedModel} onClose={onClose} onShow={() => undefined} />)
})

const field = () => screen.getByLabelText('Number of samples')
const fill = async (text: string) => {
  await userEvent.clear(field())
  if (text) await userEvent.type(field(), text)
}
const download = () => userEvent.click(screen.getByRole('button', { name: 'Download' }))

describe('the number of samples of an export', () => {
  it.each([
    ['11', 'Allowed: 1 to 10.'],
    ['0', 'Allowed: 1 to 10.'],
    ['2.5', 'Enter a whole number.'],
    ['', 'Enter a number.'],
  ])('%s is refused at the field, which takes the focus', async (text, message) => {
    await fill(text)
    await download()
    // The browser's own check would have stopped the form with a bubble and no word on the page.
    expect(field().closest('form')).toHaveProperty('noValidate', true)
    expect(field()).toHaveAccessibleDescription(message)
    expect(field()).toBeInvalid()
    expect(field()).toHaveFocus()
    expect(screen.queryByRole('alert')).toBeNull()
    expect(downloadModel).not.toHaveBeenCalled()
    await fill('7')
    expect(field()).toHaveAccessibleDescription('1 to 10')
    await download()
    expect(downloadModel).toHaveBeenCalledWith('model-1', expect.objectContaining({ num_samples: 7 }))
    expect(onClose).toHaveBeenCalledOnce()
  })

  it('does not matter without samples', async () => {
    await fill('11')
    await download()
    await userEvent.click(screen.getByRole('checkbox', { name: /^Samples/ }))
    expect(field()).toHaveAccessibleDescription('1 to 10')
    expect(screen.queryByRole('alert')).toBeNull()
    await download()
    expect(downloadModel).toHaveBeenCalledWith(
      'model-1',
      expect.objectContaining({ include_samples: false, num_samples: 5 }),
    )
  })
})
