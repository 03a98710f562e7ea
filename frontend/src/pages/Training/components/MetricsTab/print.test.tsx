import { act, render, screen } from '@testing-library/react'
import { afterEach, expect, it, vi } from 'vitest'
import { ChartFrame } from '@/components/charts/ChartFrame'
import type { ChartModel } from '@/components/charts/chart-types'
import { TooltipProvider } from '@/components/ui/tooltip'
import { PRINT_WIDTH } from '@/lib/printing'
import { makeJob, makeMetric } from '@/test/samples'
import { type JobActions, JobActionsContext } from '../../hooks/useJobActions'
import { RunLine } from './RunPanel'

const say = (event: string) => act(() => void dispatchEvent(new Event(event)))
afterEach(() => say('afterprint'))

it('prints a compared run unfolded, and folds it again', () => {
  render(
    <JobActionsContext value={{ showPanel: vi.fn() } as unknown as JobActions}>
      <TooltipProvider>
        <RunLine run={{ job: makeJob(), rows: [makeMetric(1)], color: 'red' }} baselines={[]} limit={null} marks={[]} />
      </TooltipProvider>
    </JobActionsContext>,
  )
  expect(screen.queryByText('Architecture')).toBeNull()
  say('beforeprint')
  expect(screen.getByText('Architecture')).toBeInTheDocument()
  say('afterprint')
  expect(screen.queryByText('Architecture')).toBeNull()
})

it('draws every chart for the width of the sheet, whatever it has on the screen', () => {
  const model: ChartModel = {
    title: 'Loss',
    series: [{ id: 'a', name: 'a', color: 'red', points: [1, 2].map((x) => ({ x, y: x })) }],
    marks: [],
    references: [],
    xDomain: [1, 2],
    isLogY: false,
    isWholeX: true,
    xLabel: 'epoch',
    formatX: String,
    formatY: String,
  }
  const { container } = render(
    <TooltipProvider>
      <ChartFrame model={model} zoom={null} onZoom={() => undefined} csvLinks={[]} empty="" />
    </TooltipProvider>,
  )
  const drawn = () => container.querySelector('svg.recharts-surface')
  expect(drawn()).toBeNull()
  say('beforeprint')
  expect(drawn()).toHaveAttribute('width', String(PRINT_WIDTH))
})
