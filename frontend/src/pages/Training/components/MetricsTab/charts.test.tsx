import { fireEvent, render, screen, within } from '@testing-library/react'
import { describe, expect, it } from 'vitest'
import { yDomainOf } from '@/components/charts/LinePlot'
import { TooltipProvider } from '@/components/ui/tooltip'
import { makeJob, makeMetric } from '@/test/samples'
import { AccuracyChart } from './AccuracyChart'
import { buildChart, type ChartView, fitWindow, fullDomain, RUN_COLORS, type RunView } from './chart-model'
import { LossChart } from './LossChart'

function makeRun(name: string, radius_m: number, index = 0): RunView {
  const job = makeJob()
  return {
    job: { ...job, id: name, name, config: { ...job.config, accuracy_radius_m: radius_m } },
    rows: [1, 2, 3].map((epoch) => makeMetric(epoch, { train_accuracy: 0.5, val_accuracy: 0.4 })),
    color: RUN_COLORS[index] ?? 'gray',
  }
}

function makeView(runs: RunView[], changes: Partial<ChartView> = {}): ChartView {
  return {
    runs,
    xKind: 'epoch',
    xDomain: [1, 3],
    zoom: null,
    smoothing: 0,
    isLogY: false,
    marks: [],
    hidden: new Set(),
    isLive: false,
    ...changes,
  }
}

function drawAccuracy(...runs: RunView[]) {
  render(
    <TooltipProvider>
      <AccuracyChart view={makeView(runs)} onZoom={() => undefined} onHide={() => undefined} />
    </TooltipProvider>,
  )
}

describe('the accuracy of compared runs', () => {
  it('names one radius in the title, and none beside the runs, where all share it', () => {
    drawAccuracy(makeRun('main', 1000), makeRun('other', 1000, 1))
    expect(screen.getByRole('heading', { name: 'Accuracy within 1000 m (%)' })).toBeInTheDocument()
    expect(screen.getByRole('button', { name: /^main validation 40 %/ })).toBeInTheDocument()
  })

  it('gives each run its own radius where they differ', async () => {
    drawAccuracy(makeRun('main', 1000), makeRun('fine', 200, 1))
    expect(screen.getByRole('heading', { name: 'Accuracy (%), radius by run' })).toBeInTheDocument()
    expect(screen.getByRole('button', { name: /^main train within 1000 m 50 %/ })).toBeInTheDocument()
    expect(screen.getByRole('button', { name: /^fine validation within 200 m 40 %/ })).toBeInTheDocument()
    fireEvent.click(screen.getByRole('button', { name: 'Show as a table' }))
    expect(screen.getByRole('columnheader', { name: 'fine validation, within 200 m' })).toBeInTheDocument()
    fireEvent.keyDown(screen.getByRole('button', { name: 'CSV of a run' }), { key: 'Enter' })
    expect(await screen.findByRole('menuitem', { name: 'fine, within 200 m' })).toBeInTheDocument()
  })
})

describe('the names of compared runs', () => {
  it('give way in their middle, and never the part that tells train from validation', () => {
    const name = `north valley receivers, deep sets with attention, ${'seed 2'}`
    drawAccuracy(makeRun('main', 1000), makeRun(name, 1000, 1))
    const entry = screen.getByRole('button', { name: `${name} validation 40 %` })
    expect(within(entry).getByText('validation')).not.toHaveClass('truncate')
    expect(entry).toHaveAttribute('title', expect.stringContaining(`${name} validation`))
    const tail = screen.getByText(/seed 2$/, { selector: '[aria-hidden]' })
    expect(tail).not.toHaveClass('truncate')
    expect(tail.textContent).toHaveLength(12)
  })
})

describe('a window', () => {
  const run = (name: string, losses: number[]) => ({
    ...makeRun(name, 1000),
    rows: losses.map((loss, index) => makeMetric(index + 1, { train_loss: loss, val_loss: loss })),
  })
  const losses = [90, 80, ...Array.from({ length: 18 }, () => 1), 0.5]
  const build = (changes: Partial<ChartView> = {}) =>
    buildChart(
      makeView([run('long', losses), run('short', [70, 60])], { zoom: [5, 20], xDomain: [5, 20], ...changes }),
      {
        title: 'Loss',
        fields: [{ field: 'val_loss', name: 'validation', color: 'red' }],
      },
    ).model

  it('sets the height by what it shows, whatever lies beside it', () => {
    expect(yDomainOf(build())[1]).toBeLessThan(1.2)
    expect(yDomainOf(build({ isLogY: true }))[1]).toBeLessThan(1.2)
    expect(yDomainOf(build({ zoom: [1.5, 20], xDomain: [1.5, 20] }))[1]).toBeCloseTo(90, -1)
  })

  it('stays on the runs, and shows all where it would be as wide as they are', () => {
    expect(fitWindow([-20, 7.123_456_7], [1, 21], 1)).toEqual([1, 7.123])
    expect(fitWindow([-20, 30], [1, 21], 1)).toBeNull()
    expect(fitWindow([40, 50], [1, 21], 1)).toBeNull()
  })

  it('never is narrower than what there is to see, nor rounded away', () => {
    expect(fitWindow([7.5, 7.6], [1, 21], 1)).toEqual([7.05, 8.05])
    expect(fitWindow([20.9, 22], [1, 21], 1)).toEqual([20, 21])
    expect(fitWindow([1_234_560.2, 1_234_562.4], [1, 2_000_000], 1)).toEqual([1_234_560.2, 1_234_562.4])
  })

  it('has no line of a run that ended before it', () => {
    expect(build().series.map((one) => one.points.length > 0)).toEqual([true, false])
  })

  it('leaves exact what was set and not measured', () => {
    const view = makeView([run('long', losses)], { smoothing: 0.9 })
    const fields = [{ field: 'learning_rate' as const, name: 'learning rate', color: 'purple' }]
    expect(buildChart(view, { title: 'Learning rate', fields, isExact: true }).model.series).toHaveLength(1)
  })

  it('shows the same average as the whole run', () => {
    const at = (changes: Partial<ChartView>) =>
      build({ smoothing: 0.9, ...changes })
        .series.find((one) => !one.faint)
        ?.points.find((point) => point.x === 10)?.y
    expect(at({})).toBe(at({ zoom: null, xDomain: [1, 21] }))
  })
})

describe('values that are no finite number', () => {
  const non_finite = { train_loss: 'nan', val_loss: 'nan' }
  const run = { ...makeRun('main', 1000), rows: [makeMetric(1, { train_loss: null, val_loss: null, non_finite })] }
  const draw = (changes: Partial<ChartView> = {}) =>
    render(
      <TooltipProvider>
        <LossChart
          view={makeView([run], { xDomain: fullDomain([run], 'epoch'), ...changes })}
          onZoom={() => undefined}
          onHide={() => undefined}
        />
      </TooltipProvider>,
    )

  it('were measured, also where there is no other value', () => {
    draw()
    expect(screen.getByText('2 values not finite, marked ✕.')).toBeInTheDocument()
    expect(screen.queryByText('Not measured in this run.')).toBeNull()
    expect(screen.getByRole('button', { name: /^train nan/ })).toBeInTheDocument()
  })

  it('were measured, also where the window shows none of them', () => {
    draw({ zoom: [5, 6], xDomain: [5, 6] })
    expect(screen.getByText('Nothing in this window.')).toBeInTheDocument()
  })
})

describe('the table of a chart', () => {
  const start = Date.parse('2026-11-28T12:00:00Z')
  const runOf = (epochs: number[]): RunView => {
    const run = makeRun('main', 1000)
    const rows = epochs.map((epoch) =>
      makeMetric(epoch, {
        timestamp: new Date(start + 660_000 + epoch * 7000).toISOString(),
        epoch_duration_seconds: epoch === 1 ? 667 : 7,
      }),
    )
    return { ...run, job: { ...run.job, started_at: new Date(start).toISOString() }, rows }
  }
  const draw = (run: RunView, xKind: 'epoch' | 'time', zoom: [number, number] | null = null) => {
    render(
      <TooltipProvider>
        <LossChart
          view={makeView([run], { xKind, xDomain: fullDomain([run], xKind), zoom })}
          onZoom={() => undefined}
          onHide={() => undefined}
        />
      </TooltipProvider>,
    )
    fireEvent.click(screen.getByRole('button', { name: 'Show as a table' }))
  }
  const headsOf = (row: HTMLElement | undefined) =>
    row
      ? within(row)
          .getAllByRole('rowheader')
          .map((cell) => cell.textContent)
      : []
  const note = /Only the epochs kept for the picture/

  it('by time names the epoch first and the time to the second', () => {
    draw(runOf([1, 2, 3]), 'time')
    const [head, ...rows] = screen.getAllByRole('row')
    expect(head).toHaveTextContent(/^epochtrained for/)
    expect(rows.map(headsOf)).toEqual([
      ['3', '11 m 21 s'],
      ['2', '11 m 14 s'],
      ['1', '11 m 07 s'],
    ])
    expect(screen.queryByText(note)).toBeNull()
  })

  it('by time counts a window from the beginning of the run', () => {
    const run = runOf([1, 2, 3])
    const zoom: [number, number] = [670, 690]
    const window = { ...run, rows: run.rows.slice(1), whole: run.rows }
    const view = makeView([window], { xKind: 'time', xDomain: zoom, zoom })
    const { model } = buildChart(view, {
      title: 'Loss',
      fields: [{ field: 'val_loss', name: 'validation', color: 'red' }],
    })
    expect(model.series[0]?.points.map(({ x, epoch }) => [epoch, x])).toEqual([
      [2, 674],
      [3, 681],
    ])
  })

  it('by epoch has the epoch once', () => {
    draw(runOf([1, 2, 3]), 'epoch')
    expect(screen.getAllByRole('row').slice(1).map(headsOf)).toEqual([['3'], ['2'], ['1']])
  })

  it('says where epochs were left out, and only there', () => {
    const thinned = runOf(Array.from({ length: 200 }, (_, index) => (index < 100 ? index + 1 : 2 * index)))
    draw(thinned, 'epoch')
    expect(screen.getByText(note)).toHaveTextContent('the CSV has every epoch')
  })

  it('does not say so of a window that is whole', () => {
    draw(runOf(Array.from({ length: 200 }, (_, index) => (index < 100 ? index + 1 : 2 * index))), 'epoch', [10, 50])
    expect(screen.getAllByRole('row').length).toBeGreaterThan(40)
    expect(screen.queryByText(note)).toBeNull()
  })

  it('does not say so of rows that were lost', () => {
    draw(runOf([1, 2, 5]), 'time')
    expect(screen.getAllByRole('row')).toHaveLength(4)
    expect(screen.queryByText(note)).toBeNull()
  })

  it('says so where a line has more points than are drawn', () => {
    draw(runOf(Array.from({ length: 900 }, (_, index) => index + 1)), 'time')
    expect(screen.getByText(note)).toBeInTheDocument()
  })
})
