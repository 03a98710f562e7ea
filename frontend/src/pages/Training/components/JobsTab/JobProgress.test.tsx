import { render, screen } from '@testing-library/react'
import { describe, expect, it } from 'vitest'
import { makeJob } from '@/test/samples'
import { JobProgress } from './JobProgress'

const late = (current_epoch: number) =>
  makeJob({
    current_epoch,
    total_epochs: 60,
    worker_seen_at: new Date().toISOString(),
    estimated_completion: '2020-01-01T00:00:00Z',
  })

describe('the expected end', () => {
  it('is not said once it has passed in the middle of a run, as on a full disk', () => {
    render(<JobProgress job={late(21)} />)
    expect(screen.getByText('epoch 21 of 60')).toBeInTheDocument()
  })

  it('becomes the end itself with the last epochs', () => {
    render(<JobProgress job={late(60)} />)
    expect(screen.getByText('epoch 60 of 60 · finishing')).toBeInTheDocument()
  })
})
