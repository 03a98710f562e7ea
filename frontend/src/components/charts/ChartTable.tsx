import { useMemo } from 'react'
import { LongName } from '@/components/ui/long-name'
import { type ChartModel, type ChartSeries, nameOf } from './chart-types'

/** The drawn points as a table: for screen readers, and for reading off a value. An epoch is named even where x is a time. */
export function ChartTable({ model }: { model: ChartModel }) {
  const { formatX, formatRowX = formatX, formatY } = model
  const series = model.series.filter((one) => !one.faint)
  const rows = useMemo(() => rowsOf(series, model.xDomain, formatY), [series, model.xDomain, formatY])
  const hasEpochs = !model.isWholeX && rows.some((row) => row.epoch !== undefined)
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section className="h-full overflow-auto pr-4" tabIndex={0} aria-label={`${model.title}, as a table`}>
      {model.isThinned && (
        <p className="pb-1 pl-4 text-xs text-muted">
          Only the epochs kept for the picture are listed, of each line its own; the CSV has every epoch.
        </p>
      )}
      <table className="w-full text-right text-sm">
        <thead className="sticky top-0 z-10 bg-card">
          <tr className="border-b">
            {hasEpochs && (
              <th scope="col" className="py-1.5 pr-1 pl-4 text-left align-bottom font-medium whitespace-nowrap">
                epoch
              </th>
            )}
            <th
              scope="col"
              className="sticky left-0 bg-card pl-4 py-1.5 pr-2 text-left align-bottom font-medium whitespace-nowrap"
            >
              {model.xLabel}
            </th>
            {series.map((one) => (
              <th key={one.id} scope="col" className="py-1.5 pl-3 align-bottom font-medium whitespace-nowrap">
                {one.run !== undefined && (
                  <span className="flex justify-end">
                    <LongName name={one.run} className="max-w-36" />
                  </span>
                )}{' '}
                {nameOf({ ...one, run: '' })}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, x, epoch, texts }) => (
            <tr key={key} className="border-b border-border/60">
              {hasEpochs && (
                <th scope="row" className="py-1 pr-1 pl-4 text-left font-normal">
                  {epoch}
                </th>
              )}
              <th scope="row" className="sticky left-0 bg-card pl-4 py-1 pr-2 text-left font-normal whitespace-nowrap">
                {formatRowX(x)}
              </th>
              {series.map((one) => (
                <td key={one.id} className="py-1 pl-3 whitespace-nowrap">
                  {texts.get(one.id)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

interface Row {
  key: string
  x: number
  epoch: number | undefined
  /** By series. */
  texts: Map<string, string>
}

/** Newest first. Two epochs of one instant have a row each. */
function rowsOf(
  series: readonly ChartSeries[],
  [low, high]: readonly [number, number],
  formatY: (y: number) => string,
): Row[] {
  const rows = new Map<string, Row>()
  const put = (id: string, { x, epoch }: { x: number; epoch?: number | undefined }, text: string) => {
    const key = `${x} ${epoch}`
    const row = rows.get(key) ?? { key, x, epoch, texts: new Map() }
    row.texts.set(id, text)
    rows.set(key, row)
  }
  for (const one of series) {
    for (const point of one.points) if (point.x >= low && point.x <= high) put(one.id, point, formatY(point.y))
    for (const mark of one.broken ?? []) put(one.id, mark, mark.kind)
  }
  return [...rows.values()].sort((a, b) => b.x - a.x || (b.epoch ?? 0) - (a.epoch ?? 0))
}
