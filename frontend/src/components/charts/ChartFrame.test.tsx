import { fireEvent, render, screen } from '@testing-library/react'
import { describe, expect, it, vi } from 'vitest'
import { TooltipProvider } from '@/components/ui/tooltip'
import { svgToPng } from '@/lib/svg-to-png'
import { ChartFrame } from './ChartFrame'
import type { ChartModel } from './chart-types'

vi.mock('@/lib/svg-to-png', () => ({ svgToPng: vi.fn(async () => new Blob()) }))
vi.mock('@/lib/download', async (original) => ({ ...(await original<object>()), saveBlob: () => undefined }))

const model: ChartModel = {
  title: 'Loss',
  series: [
    { id: 'train', name: 'train', color: 'blue', points: [1, 2, 3].map((x) => ({ x, y: 1 / x })) },
    { id: 'val', name: 'validation', color: 'red', dash: '6 3', points: [1, 2, 3].map((x) => ({ x, y: 2 / x })) },
  ],
  marks: [{ x: 2, kind: 'best', label: 'best epoch 2' }],
  references: [{ y: 0.7, label: 'kNN 0.7' }],
  xDomain: [1, 3],
  isLogY: false,
  isWholeX: true,
  xLabel: 'epoch',
  formatX: String,
  formatY: (y) => y.toFixed(2),
}

function draw(changes: Partial<ChartModel> = {}, onZoom = vi.fn()) {
  const view = render(
    <TooltipProvider>
      <ChartFrame
        model={{ ...model, ...changes }}
        zoom={null}
        onZoom={onZoom}
        csvLinks={[{ name: 'run', href: '/metrics.csv' }]}
        empty="Nothing yet."
        width={600}
      />
    </TooltipProvider>,
  )
  return { view, onZoom, curves: () => view.container.querySelectorAll('path.recharts-curve') }
}

describe('a chart', () => {
  it('draws one line per series, dashed where it should be, with the values at the end', () => {
    const { curves, view } = draw()
    expect(curves()).toHaveLength(2)
    expect(view.container.querySelector('.recharts-yAxis-tick-labels text')).toBeInTheDocument()
    expect(curves()[1]).toHaveAttribute('stroke-dasharray', '6 3')
    expect(screen.getByRole('button', { name: /validation 0.67/ })).toBeInTheDocument()
    expect(screen.getByText('kNN 0.7')).toBeInTheDocument()
    expect(screen.getByText('◆')).toBeInTheDocument()
  })

  it('hides a series by a click, and leaves one alone by Alt', () => {
    const { curves } = draw()
    const button = () => screen.getByRole('button', { name: /^train/ })
    fireEvent.click(button())
    expect(curves()).toHaveLength(1)
    fireEvent.click(button())
    fireEvent.click(button(), { altKey: true })
    expect(curves()).toHaveLength(1)
    expect(button()).toHaveAttribute('aria-pressed', 'true')
  })

  it('is read and zoomed by keyboard', () => {
    const { onZoom } = draw()
    const cursor = screen.getByRole('slider', { name: /Loss/ })
    fireEvent.keyDown(cursor, { key: 'Home' })
    expect(cursor).toHaveAttribute('aria-valuetext', 'epoch 1: train 1.00, validation 2.00')
    fireEvent.keyDown(cursor, { key: 'ArrowRight' })
    expect(cursor).toHaveAttribute('aria-valuenow', '2')
    fireEvent.keyDown(cursor, { key: '+' })
    expect(onZoom).toHaveBeenCalledOnce()
  })

  it('shows the same points as a table', () => {
    draw()
    fireEvent.click(screen.getByRole('button', { name: 'Show as a table' }))
    expect(screen.getAllByRole('row')).toHaveLength(4)
    expect(screen.getByRole('columnheader', { name: 'validation' })).toBeInTheDocument()
  })

  it('writes beside a name what it needs to be true, in words and in the picture', () => {
    draw({ series: model.series.map((one) => ({ ...one, qualifier: 'within 200 m' })) })
    fireEvent.keyDown(screen.getByRole('slider'), { key: 'End' })
    expect(screen.getByRole('slider')).toHaveAttribute(
      'aria-valuetext',
      'epoch 3: train, within 200 m 0.33, validation, within 200 m 0.67',
    )
    fireEvent.click(screen.getByRole('button', { name: 'Save as PNG' }))
    const [, text] = vi.mocked(svgToPng).mock.lastCall ?? []
    expect(text?.legend.map((one) => one.name)).toEqual(['train, within 200 m', 'validation, within 200 m'])
  })

  it('says what it waits for', () => {
    draw({ series: model.series.map((one) => ({ ...one, points: [] })) })
    expect(screen.getByText('Nothing yet.')).toBeInTheDocument()
  })

  it('draws the mark of a value that is no number at the axis, even where there is no other', () => {
    const { view, onZoom } = draw({
      series: [{ id: 'a', name: 'train', color: 'red', points: [], broken: [{ x: 1, kind: 'nan' }] }],
      marks: [{ x: 1, kind: 'broken', label: 'nan' }],
      references: [],
      xDomain: [0, 2],
    })
    expect(screen.queryByText('Nothing yet.')).toBeNull()
    const mark = screen.getByText('✕ nan').closest('text')
    // In the middle of the plot, in its lowest tenth.
    expect(Number(mark?.getAttribute('x'))).toBeCloseTo(320, 0)
    expect(Number(mark?.getAttribute('y'))).toBeGreaterThan(180)
    // No height was measured, so none is written at the axis.
    const numTexts = (axis: string) => view.container.querySelectorAll(`.recharts-${axis}-tick-labels text`).length
    expect([numTexts('xAxis'), numTexts('yAxis')]).toEqual([3, 0])
    fireEvent.keyDown(screen.getByRole('slider'), { key: 'Home' })
    expect(screen.getByRole('slider')).toHaveAttribute('aria-valuetext', 'epoch 1: train nan')
    fireEvent.keyDown(screen.getByRole('slider'), { key: '+' })
    expect(onZoom).toHaveBeenCalledOnce()
    fireEvent.click(screen.getByRole('button', { name: 'Show as a table' }))
    expect(screen.getByRole('cell', { name: 'nan' })).toBeInTheDocument()
  })

  it('sets the signs of what happened at one place side by side, in order', () => {
    draw({
      marks: [
        { x: 2, kind: 'crash', label: 'worker lost' },
        { x: 2.001, kind: 'resume', label: 'resumed' },
        { x: 3, kind: 'best', label: 'best epoch 3' },
      ],
    })
    const at = (sign: string) => Number(screen.getByText(sign).getAttribute('x'))
    expect(at('▶') - at('✕')).toBeCloseTo(12, 0)
    expect(at('✕')).toBeCloseTo(58 + (600 - 58 - 18) / 2, 0)
    expect(at('◆')).toBeCloseTo(600 - 18, 0)
  })

  it('shows a single point', () => {
    const { view } = draw({ series: [{ id: 'a', name: 'a', color: 'red', points: [{ x: 1, y: 1 }] }], xDomain: [0, 2] })
    expect(view.container.querySelectorAll('.recharts-line-dot')).toHaveLength(1)
  })
})
