import { fireEvent, render, screen } from '@testing-library/react'
import { describe, expect, it } from 'vitest'
import { TooltipProvider } from '@/components/ui/tooltip'
import { makeJob, makeMetric } from '@/test/samples'
import { AccuracyChart } from './AccuracyChart'
import { type ChartView, fullDomain, RUN_COLORS, type RunView } from './chart-model'
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
    isLive: false,
    ...changes,
  }
}

function drawAccuracy(...runs: RunView[]) {
  render(
    <TooltipProvider>
      <AccuracyChart view={makeView(runs)} onZoom={() => undefined} />
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

describe('values that are no finite number', () => {
  const non_finite = { train_loss: 'nan', val_loss: 'nan' }
  const run = { ...makeRun('main', 1000), rows: [makeMetric(1, { train_loss: null, val_loss: null, non_finite })] }
  const draw = (changes: Partial<ChartView> = {}) =>
    render(
      <TooltipProvider>
        <LossChart
          view={makeView([run], { xDomain: fullDomain([run], 'epoch'), ...changes })}
          onZoom={() => undefined}
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
