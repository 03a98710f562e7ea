import { fireEvent, render, screen } from '@testing-library/react'
import { useState } from 'react'
import { describe, expect, it, vi } from 'vitest'
import { TooltipProvider } from '@/components/ui/tooltip'
import { svgToPng } from '@/lib/svg-to-png'
import { ChartFrame, type ChartFrameProps } from './ChartFrame'
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
  references: [{ y: 0.7, name: 'kNN' }],
  xDomain: [1, 3],
  isLogY: false,
  isWholeX: true,
  xLabel: 'epoch',
  formatX: String,
  formatY: (y) => y.toFixed(2),
}

function Chart(props: Pick<ChartFrameProps, 'model' | 'onZoom' | 'width'>) {
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const links = [{ name: 'run', href: '/metrics.csv' }]
  return <ChartFrame {...props} zoom={null} hidden={hidden} onHide={setHidden} csvLinks={links} empty="Nothing yet." />
}

function draw(changes: Partial<ChartModel> = {}, onZoom = vi.fn(), width = 600) {
  const view = render(
    <TooltipProvider>
      <Chart model={{ ...model, ...changes }} onZoom={onZoom} width={width} />
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
    expect(screen.getByText('kNN 0.70')).toBeInTheDocument()
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
      references: [],
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

  it('leaves one line alone by a double click, and shows all again by another', () => {
    const { curves } = draw()
    fireEvent.doubleClick(screen.getByRole('button', { name: /^validation/ }))
    expect(curves()).toHaveLength(1)
    fireEvent.doubleClick(screen.getByRole('button', { name: /^validation/ }))
    expect(curves()).toHaveLength(2)
  })

  it('keeps the last sign of many at one place inside the picture', () => {
    draw({ marks: [1, 2, 3, 4, 5, 6].map((run) => ({ x: 3, kind: 'best', label: 'best', source: `${run}` })) })
    const places = screen.getAllByText('◆').map((sign) => Number(sign.getAttribute('x')))
    expect(Math.max(...places)).toBeLessThanOrEqual(600 - 6)
    const sorted = [...places].sort((a, b) => a - b)
    expect(sorted.every((place, index) => index === 0 || place - (sorted[index - 1] ?? 0) >= 11.9)).toBe(true)
  })

  it('says beside the lines what a level is, apart from the others, and in a list where that leaves no room', () => {
    const references = [0.7, 0.71, 0.72].map((y, index) => ({ y, name: `yardstick ${index}` }))
    const { view } = draw({ references }, undefined, 1200)
    const labels = screen.getAllByText(/^yardstick \d 0\.7\d$/)
    const heights = labels.map((label) => Number(label.getAttribute('y'))).sort((a, b) => a - b)
    expect(heights).toHaveLength(3)
    expect(heights.every((height, index) => index === 0 || height - (heights[index - 1] ?? 0) >= 13.9)).toBe(true)
    const slider = screen.getByRole('slider')
    for (const label of labels)
      expect(Number(label.getAttribute('x'))).toBeGreaterThan(1200 - Number.parseFloat(slider.style.right))
    view.unmount()
    draw({ references }, undefined, 320)
    expect(screen.getAllByRole('listitem').map((one) => one.textContent)).toEqual([
      'yardstick 2 0.72',
      'yardstick 1 0.71',
      'yardstick 0 0.70',
    ])
  })

  it('takes the cursor to the epochs of every run that is shown', () => {
    const pointsTo = (last: number) => Array.from({ length: last }, (_, index) => ({ x: index + 1, y: 1 }))
    draw({
      series: [
        { id: 'a', name: 'train', run: 'short', source: 'a', color: 'blue', points: pointsTo(2) },
        { id: 'b', name: 'train', run: 'long', source: 'b', color: 'red', points: pointsTo(9) },
      ],
      xDomain: [1, 9],
    })
    const slider = screen.getByRole('slider')
    fireEvent.keyDown(slider, { key: 'End' })
    expect(slider).toHaveAttribute('aria-valuetext', 'epoch 9: short train none, long train 1.00')
    fireEvent.keyDown(slider, { key: 'ArrowLeft' })
    expect(slider).toHaveAttribute('aria-valuenow', '8')
    fireEvent.click(screen.getByRole('button', { name: /^long train/ }))
    fireEvent.keyDown(slider, { key: 'End' })
    expect(slider).toHaveAttribute('aria-valuenow', '2')
  })

  it('shows a single point', () => {
    const { view } = draw({ series: [{ id: 'a', name: 'a', color: 'red', points: [{ x: 1, y: 1 }] }], xDomain: [0, 2] })
    expect(view.container.querySelectorAll('.recharts-line-dot')).toHaveLength(1)
  })
})
