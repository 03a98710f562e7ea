import { render, screen } from '@testing-library/react'
import { expect, it, vi } from 'vitest'
import { TooltipProvider } from '@/components/ui/tooltip'
import { makeJob, makeMetric } from '@/test/samples'
import { type JobActions, JobActionsContext } from '../../hooks/useJobActions'
import { RunPanel } from './RunPanel'

const panelAfter = (train_accuracy: number, val_accuracy: number) => (
  <JobActionsContext value={{ showPanel: vi.fn() } as unknown as JobActions}>
    <TooltipProvider>
      <RunPanel
        run={{ job: makeJob(), rows: [makeMetric(1, { train_accuracy, val_accuracy })], color: 'red' }}
        baselines={[]}
        limit={null}
        marks={[]}
      />
    </TooltipProvider>
  </JobActionsContext>
)

it('lists the same facts whichever of the two accuracies leads', () => {
  const names = () => screen.getAllByRole('term').map((term) => term.textContent)
  const { rerender } = render(panelAfter(0.04, 0.2))
  const whileBehind = names()
  expect(screen.getByRole('button', { name: 'validation 20.0 %, training 4.0 %' })).toBeInTheDocument()
  rerender(panelAfter(0.2, 0.04))
  expect(names()).toEqual(whileBehind)
})
