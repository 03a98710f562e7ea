import { act, render, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { HttpResponse, http } from 'msw'
import { StrictMode } from 'react'
import { MemoryRouter } from 'react-router'
import { beforeEach, describe, expect, it } from 'vitest'
import { trainingSockets } from '@/api/training-sockets'
import type { TrainingJob } from '@/api/types'
import { TooltipProvider } from '@/components/ui/tooltip'
import data from '@/gallery/fixtures.json'
import { useTrainingStore } from '@/stores/trainingStore'
import { FakeSocket } from '@/test/FakeSocket'
import { makeFrame, makeJob, makeMetric } from '@/test/samples'
import { server } from '@/test/setup'
import TrainingPage from '.'

const API = '*/api/v1/training'
const jobs = data.jobs as unknown as TrainingJob[]

function serve(listed: TrainingJob[] = jobs) {
  server.use(
    http.get(`${API}/jobs`, () => HttpResponse.json({ jobs: listed, total: listed.length, next_cursor: null })),
    http.get(`${API}/jobs/:id`, ({ params }) => HttpResponse.json(listed.find((job) => job.id === params.id) ?? {})),
    http.get(`${API}/jobs/:id/metrics`, ({ params }) =>
      HttpResponse.json((data.metrics as Record<string, object[]>)[String(params.id)] ?? []),
    ),
    http.get(`${API}/jobs/:id/events`, () => HttpResponse.json({ events: [], last_seq: 0 })),
    http.get(`${API}/models`, () => HttpResponse.json({ models: data.models, total: data.models.length })),
    http.get(`${API}/datasets`, () => HttpResponse.json({ datasets: data.datasets, total: data.datasets.length })),
    http.get(`${API}/architectures`, () => HttpResponse.json({ architectures: data.architectures })),
  )
}

function open(address = '/training') {
  return render(
    <StrictMode>
      <MemoryRouter initialEntries={[address]}>
        <TooltipProvider>
          <TrainingPage />
        </TooltipProvider>
      </MemoryRouter>
    </StrictMode>,
  )
}

const cardOf = async (name: string) => {
  const title = await screen.findByRole('button', { name, exact: true } as never)
  return within(title.closest('[data-slot=card]') as HTMLElement)
}

const socketOf = (jobId: string) =>
  waitFor(() => {
    const found = FakeSocket.live.find(({ url }) => url.includes(jobId))
    if (!found) throw new Error('its socket is not open')
    return found
  })

beforeEach(() => {
  trainingSockets.configure({ open: FakeSocket.open, schedule: (flush) => flush(), defer: (arrange) => arrange() })
})

describe('the jobs tab', () => {
  it('shows every job with its status in words', async () => {
    serve()
    open()
    expect(await screen.findAllByTestId('job-card')).toHaveLength(jobs.length)
    for (const word of ['Running', 'Pending', 'Paused', 'Completed', 'Failed', 'Cancelled', 'Pausing…'])
      expect(screen.getAllByText(word).length).toBeGreaterThan(0)
  })

  it('has different screens for nothing, filtered to nothing and failed', async () => {
    serve([])
    const empty = open()
    expect(await screen.findByText('No training jobs yet')).toBeInTheDocument()
    empty.unmount()
    serve()
    const filtered = open('/training?q=nothing-like-this')
    expect(await screen.findByText('No job matches')).toBeInTheDocument()
    filtered.unmount()
  })

  it('says why the list could not be loaded, and tries again', async () => {
    serve()
    server.use(
      http.get(`${API}/jobs`, () =>
        HttpResponse.json({ code: 'unavailable', detail: 'The database does not answer.' }, { status: 503 }),
      ),
    )
    open()
    expect(await screen.findByText('The database does not answer.')).toBeInTheDocument()
    serve()
    await userEvent.click(screen.getByRole('button', { name: 'Try again' }))
    expect(await screen.findAllByTestId('job-card')).toHaveLength(jobs.length)
  })

  it('offers each status its own actions', async () => {
    serve()
    open()
    const running = await cardOf('cells, deepsets-s')
    expect(running.getByRole('button', { name: 'Pause' })).toBeEnabled()
    expect(running.getByRole('button', { name: 'Cancel' })).toBeEnabled()
    expect(running.queryByRole('button', { name: 'Resume' })).toBeNull()
    const failed = await cardOf('first try')
    expect(failed.getByText(/Loss became NaN/)).toBeInTheDocument()
    expect(failed.getByRole('button', { name: 'Delete' })).toBeEnabled()
  })

  it('asks before it cancels, and names what stays', async () => {
    serve()
    let isAsked = false
    server.use(
      http.delete(`${API}/jobs/:id`, () => {
        isAsked = true
        return HttpResponse.json(makeJob({ version: 999, pending_action: 'cancel' }))
      }),
    )
    open()
    const card = await cardOf('cells, deepsets-s')
    await userEvent.click(card.getByRole('button', { name: 'Cancel' }))
    const dialog = within(screen.getByRole('alertdialog'))
    expect(dialog.getByText(/checkpoint stay/)).toBeInTheDocument()
    expect(dialog.getByRole('button', { name: 'Keep it' })).toHaveFocus()
    expect(isAsked).toBe(false)
    await userEvent.click(dialog.getByRole('button', { name: 'Cancel the job' }))
    expect(await card.findByText('Cancelling…')).toBeInTheDocument()
  })

  it('offers for many jobs what is valid for some of them, says for how many, and what stays', async () => {
    const kinds = { a: 'completed', b: 'cancelled', c: 'running' } as const
    const listed = Object.entries(kinds).map(([id, status]) => makeJob({ id, name: `job ${id}`, status }))
    serve(listed)
    const deleted: string[] = []
    server.use(
      http.delete(`${API}/jobs/:id`, ({ params }) => {
        deleted.push(String(params.id))
        return new HttpResponse(null, { status: 204 })
      }),
    )
    open()
    for (const { name } of listed)
      await userEvent.click(await screen.findByRole('checkbox', { name: `Select ${name}` }))
    const bar = within(screen.getByRole('region', { name: 'Selected jobs' }))
    for (const name of ['Pause 1 of 3', 'Cancel 1 of 3', 'Compare 3'])
      expect(bar.getByRole('button', { name })).toBeVisible()
    expect(bar.queryByRole('button', { name: /^Resume/ })).toBeNull()
    await userEvent.click(bar.getByRole('button', { name: 'Delete 2 of 3' }))
    const dialog = within(screen.getByRole('alertdialog', { name: 'Delete 2 jobs?' }))
    expect(dialog.getByText('1 other selected job has not ended yet and stays as it is.')).toBeVisible()
    await userEvent.click(dialog.getByRole('button', { name: 'Delete 2 jobs' }))
    await waitFor(() => expect(deleted.toSorted()).toEqual(['a', 'b']))
  })

  it('keeps one socket for each job that may change', async () => {
    serve()
    open()
    await screen.findAllByTestId('job-card')
    await waitFor(() => expect(FakeSocket.live).toHaveLength(3))
    expect(new Set(FakeSocket.live.map((socket) => socket.url)).size).toBe(3)
  })
})

describe('the create dialog', () => {
  it('sends what was chosen and shows a refusal at its field, staying open', async () => {
    serve()
    const bodies: unknown[] = []
    server.use(
      http.post(`${API}/jobs`, async ({ request }) => {
        bodies.push(await request.json())
        return HttpResponse.json(
          { code: 'invalid_input', detail: 'cuda is not here.', field: 'batch_size' },
          { status: 422 },
        )
      }),
    )
    open()
    await userEvent.click(screen.getByRole('button', { name: 'New training job' }))
    const epochs = await screen.findByLabelText('Epochs')
    await waitFor(() => expect(screen.getByLabelText('Name')).toHaveValue('POWDER July, deepsets-s'))
    await userEvent.clear(epochs)
    await userEvent.type(epochs, '0')
    await userEvent.click(screen.getByRole('button', { name: 'Start training' }))
    expect(await screen.findByText('Allowed: 1 to 100 000.')).toBeInTheDocument()
    expect(bodies).toEqual([])
    await userEvent.clear(epochs)
    await userEvent.type(epochs, '7')
    await userEvent.click(screen.getByRole('button', { name: 'Start training' }))
    expect(await screen.findByText('cuda is not here.')).toBeInTheDocument()
    expect(screen.getByLabelText('Batch size')).toBeInvalid()
    expect(bodies).toMatchObject([{ epochs: 7, dataset_id: 'dataset-powder', model_architecture: 'deepsets-s' }])
  })
})

describe('the metrics tab', () => {
  it('offers the newest runs where none is selected, running ones first', async () => {
    serve()
    open('/training?tab=metrics')
    expect(await screen.findByRole('heading', { name: 'No job selected' })).toBeInTheDocument()
    const offered = screen.getAllByRole('button', {
      name: / (running|paused|completed|failed|cancelled|no epoch yet)$/,
    })
    expect(offered).toHaveLength(3)
    expect(offered[0]).toHaveAccessibleName(/running$/)
    await userEvent.click(offered[0] as HTMLElement)
    expect(await screen.findByRole('group', { name: 'Loss' })).toBeInTheDocument()
  })

  const fresh = makeJob({
    id: 'fresh',
    name: 'just created',
    status: 'pending',
    current_epoch: 0,
    progress_percent: 0,
    best_epoch: null,
    last_seq: 0,
  })

  it('offers a job before its first epoch, and draws its curves when that comes', async () => {
    serve([fresh])
    open('/training?tab=metrics')
    await userEvent.click(await screen.findByRole('button', { name: 'just created pending, no epoch yet' }))
    expect(await screen.findByRole('heading', { name: 'No metrics yet' })).toBeInTheDocument()
    const socket = await socketOf('fresh')
    const row = makeMetric(1, { job_id: 'fresh' })
    act(() => socket.say(makeFrame(1, { job_id: 'fresh', data: { ...row, status: 'running', version: 999 } })))
    expect(await screen.findByRole('group', { name: 'Loss' })).toBeInTheDocument()
  })

  it('draws no live row alone while the stored ones are under way', async () => {
    const running = makeJob({ id: 'half-known', status: 'running', current_epoch: 7, last_seq: 0 })
    serve([running])
    const rows = Array.from({ length: 7 }, (_, index) => makeMetric(index + 1, { job_id: 'half-known' }))
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    server.use(http.get(`${API}/jobs/:id/metrics`, () => released.then(() => HttpResponse.json(rows))))
    open('/training?tab=metrics&runs=half-known')
    const socket = await socketOf('half-known')
    act(() => socket.say(makeFrame(1, { job_id: 'half-known', data: makeMetric(8, { job_id: 'half-known' }) })))
    expect(screen.queryByRole('group', { name: 'Loss' })).toBeNull()
    release()
    expect(await screen.findByRole('group', { name: 'Loss' })).toBeInTheDocument()
    expect(screen.getByTestId('point-count')).toHaveTextContent('8 points, 0 gaps')
  })

  const ended = (id: string) => makeJob({ id, name: id, status: 'completed', current_epoch: 7, total_epochs: 7 })
  const sevenRows = (id: string) => Array.from({ length: 7 }, (_, index) => makeMetric(index + 1, { job_id: id }))

  it('asks again for the rows of an ended run that could not be had, and promises nothing meanwhile', async () => {
    serve([ended('a'), ended('b')])
    let numAsked = 0
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    server.use(
      http.get(`${API}/jobs/:id/metrics`, async ({ params }) => {
        if (params.id === 'b' && ++numAsked === 1)
          return HttpResponse.json({ code: 'unavailable', detail: 'The server is busy.' }, { status: 503 })
        if (params.id === 'b') await released
        return HttpResponse.json(sevenRows(String(params.id)))
      }),
    )
    open('/training?tab=metrics&runs=a,b')
    await waitFor(() => expect(screen.getByTestId('point-count')).toHaveTextContent('The server is busy.'))
    expect(screen.getByTestId('point-count')).toHaveTextContent(
      '2 runs, 7 points so far. The rest of b could not be loaded and is asked for again.',
    )
    release()
    await waitFor(() => expect(screen.getByTestId('point-count')).toHaveTextContent('2 runs, 14 points, 0 gaps'))
  })

  it('calls nothing unmeasured while the rows of a card stand in for a run', async () => {
    serve([ended('a')])
    const thin = sevenRows('a').map((row) => ({ ...row, train_accuracy: null, val_accuracy: null }))
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    server.use(
      http.get(`${API}/jobs/:id/metrics`, async ({ request }) => {
        if (new URL(request.url).searchParams.get('series')) return HttpResponse.json(thin)
        await released
        return HttpResponse.json(sevenRows('a'))
      }),
    )
    await useTrainingStore.getState().fetchJobs()
    await useTrainingStore.getState().fetchMetrics('a', 64, 'val_loss')
    open('/training?tab=metrics&runs=a')
    expect(await screen.findByText('Not loaded yet.')).toBeInTheDocument()
    expect(screen.queryByText('Not measured in this run.')).toBeNull()
    release()
    await waitFor(() => expect(screen.getByTestId('point-count')).toHaveTextContent('7 points, 0 gaps'))
    await waitFor(() => expect(screen.queryByText('Not loaded yet.')).toBeNull())
  })

  it('offers no job that ended without an epoch: it has nothing to show', async () => {
    serve([makeJob({ id: 'vain', name: 'ended at once', status: 'failed', current_epoch: 0 }), fresh])
    open('/training?tab=metrics')
    expect(await screen.findByRole('button', { name: /^just created/ })).toBeInTheDocument()
    expect(screen.queryByRole('button', { name: /^ended at once/ })).toBeNull()
  })

  it('asks for the newest jobs when the choice is opened', async () => {
    serve(jobs)
    open('/training?tab=metrics')
    const choice = await screen.findByRole('combobox', { name: 'Training job' })
    serve([fresh, ...jobs])
    await userEvent.click(choice)
    const offered = await screen.findByRole('option', { name: /^just created/ }, { timeout: 2000 })
    expect(offered).toHaveTextContent('Pending, no epoch yet')
  })
})

describe('the models tab', () => {
  it('lists the models with their verification', async () => {
    serve()
    open('/training?tab=models')
    expect(await screen.findAllByTestId('model-card')).toHaveLength(data.models.length)
    expect(screen.getAllByText(/Verified here: 5\/5/).length).toBeGreaterThan(0)
    expect(screen.getByText('Not verified')).toBeInTheDocument()
  })

  it('shows in the detail view where a model is good and how honest its ellipses are', async () => {
    serve()
    server.use(http.get(`${API}/models/:id`, () => HttpResponse.json(data.models[0])))
    open('/training?tab=models&model=model-1')
    const table = within(await screen.findByRole('table', { name: 'Error by receivers that heard' }))
    expect(table.getByRole('row', { name: /^8 to 12 .*96\.2 m/ })).toBeInTheDocument()
    expect(screen.getByRole('table', { name: 'Error by place' })).toBeInTheDocument()
    expect(screen.queryByRole('table', { name: /signal to noise/ })).not.toBeInTheDocument()
    expect(screen.getByText(/promise more than they keep: the 68 % ellipse holds 55 %/)).toBeInTheDocument()
    expect(screen.getByRole('img', { name: /68 % promised, 55 % observed/ })).toBeInTheDocument()
  })
})
