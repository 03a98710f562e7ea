import { render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiError } from '@/api/client'
import type { TrainingJob } from '@/api/types'
import data from '@/gallery/fixtures.json'
import { useTrainingStore } from '@/stores/trainingStore'
import { type JobActions, JobActionsContext } from '../../hooks/useJobActions'
import ContinueJobDialog from './ContinueJobDialog'

const job = { ...data.jobs[0], name: 'night run', checkpoint: null, current_epoch: 13, total_epochs: 13 } as TrainingJob
const continueJob = vi.fn(async () => ({ ...job, id: 'next' }))
const onClose = vi.fn()

beforeEach(() => {
  vi.clearAllMocks()
  useTrainingStore.setState({ continueJob })
  render(
    <JobActionsContext value={{ showMetrics: vi.fn() } as unknown as JobActions}>
      <ContinueJobDialog job={job} onClose={onClose} />
    </JobActionsContext>,
  )
})

const epochs = () => screen.getByLabelText('Epochs in all')
const fill = async (text: string) => {
  await userEvent.clear(epochs())
  if (text) await userEvent.type(epochs(), text)
}
const start = () => userEvent.click(screen.getByRole('button', { name: 'Start the new job' }))

describe('continuing a job', () => {
  it('proposes as many epochs again as are done', async () => {
    expect(epochs()).toHaveValue('26')
    await start()
    expect(continueJob).toHaveBeenCalledWith(job.id, { epochs: 26, job_name: 'night run, continued' })
    expect(onClose).toHaveBeenCalledOnce()
  })

  it.each([
    ['5', 'Allowed: 14 to 100\u202f000.'],
    ['13', 'Allowed: 14 to 100\u202f000.'],
    ['999999', 'Allowed: 14 to 100\u202f000.'],
    ['13.5', 'Enter a whole number.'],
    ['', 'Enter a number.'],
  ])('refuses %s at the field, which takes the focus', async (text, message) => {
    await fill(text)
    await start()
    // The browser's own check would have stopped the form with a bubble and no word on the page.
    expect(epochs().closest('form')).toHaveProperty('noValidate', true)
    expect(epochs()).toHaveAccessibleDescription(message)
    expect(epochs()).toBeInvalid()
    expect(epochs()).toHaveFocus()
    expect(continueJob).not.toHaveBeenCalled()
    await fill('14')
    expect(epochs()).toHaveAccessibleDescription('13 of them are done.')
  })

  it('says at the field what the engine refuses, until it is changed', async () => {
    continueJob.mockRejectedValueOnce(new ApiError('Not so many.', 422, 'invalid_input', 'epochs'))
    await start()
    expect(epochs()).toHaveAccessibleDescription('Not so many.')
    await fill('20')
    expect(epochs()).toHaveAccessibleDescription('13 of them are done.')
    expect(onClose).not.toHaveBeenCalled()
  })
})
