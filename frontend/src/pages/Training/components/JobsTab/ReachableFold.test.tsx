import { render, screen, waitFor } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { HttpResponse, http } from 'msw'
import { describe, expect, it, vi } from 'vitest'
import type { Dataset } from '@/api/types'
import data from '@/gallery/fixtures.json'
import { server } from '@/test/setup'
import { ReachableFold } from './ReachableFold'

const dataset = data.datasets.find((one) => one.id === 'dataset-synthetic') as unknown as Dataset

/** What the engine was asked, in order; it answers with the radius that it was asked for. */
function serve(refusals: number = 0) {
  const asked: { target_m: number; config: unknown }[] = []
  server.use(
    http.post('*/api/v1/training/datasets/preview', async ({ request }) => {
      const target_m = Number(new URL(request.url).searchParams.get('target_m'))
      asked.push({ target_m, config: await request.json() })
      if (asked.length <= refusals)
        return HttpResponse.json({ code: 'invalid_input', detail: 'Only 3 are heard.' }, { status: 422 })
      return HttpResponse.json({ ...data.preview, target_m })
    }),
  )
  return asked
}

async function open(onSubmit = vi.fn()) {
  render(
    <form onSubmit={onSubmit}>
      <ReachableFold dataset={dataset} />
    </form>,
  )
  await userEvent.click(screen.getByText('What can be reached'))
}

describe('what can be reached', () => {
  it('is asked with the stored configuration, and once however often it is opened', async () => {
    const asked = serve()
    render(<ReachableFold dataset={dataset} />)
    const summary = screen.getByText('What can be reached')
    await userEvent.click(summary)
    expect(await screen.findByText(/needs 29 ns at every receiver/)).toBeVisible()
    await userEvent.click(summary)
    await userEvent.click(summary)
    expect(screen.getByText(/needs 29 ns/)).toBeVisible()
    expect(asked).toEqual([{ target_m: 30, config: dataset.config }])
  })

  it('is not asked of the voice that was sent, which is no setting', async () => {
    const asked = serve()
    const voiced = {
      ...dataset,
      config: { ...dataset.config, sources: [{ name: 'a.wav', sha256: 'x', size_bytes: 4 }] },
    }
    render(<ReachableFold dataset={voiced} />)
    await userEvent.click(screen.getByText('What can be reached'))
    await screen.findByText(/needs 29 ns at every receiver/)
    expect(asked).toEqual([{ target_m: 30, config: dataset.config }])
  })

  it('follows another radius, keeps the figures meanwhile and refuses what is none without asking', async () => {
    const asked = serve()
    await open()
    const field = await screen.findByLabelText('Target radius (m)')
    await screen.findByText('±30 m needs')
    await userEvent.clear(field)
    expect(field).toHaveAccessibleDescription('Enter a number.')
    await userEvent.paste('120')
    expect(screen.getByText('±30 m needs')).toBeVisible()
    expect(await screen.findByText('±120 m needs')).toBeVisible()
    expect(asked.map((one) => one.target_m)).toEqual([30, 120])
  })

  it('Enter in the radius starts no training', async () => {
    serve()
    const onSubmit = vi.fn()
    await open(onSubmit)
    await userEvent.type(await screen.findByLabelText('Target radius (m)'), '{Enter}')
    expect(onSubmit).not.toHaveBeenCalled()
  })

  it('says why nothing came and tries again', async () => {
    serve(1)
    await open()
    expect(await screen.findByRole('alert')).toHaveTextContent(
      'could not be computed; a job can be started all the same. Only 3 are heard.',
    )
    await userEvent.click(screen.getByRole('button', { name: 'Try again' }))
    expect(await screen.findByRole('table')).toBeVisible()
    await waitFor(() => expect(screen.queryByRole('alert')).toBeNull())
  })
})
