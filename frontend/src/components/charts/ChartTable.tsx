import { useMemo } from 'react'
import { type ChartModel, nameOf } from './chart-types'

/** The drawn points as a table: for screen readers, and for reading off a value. */
export function ChartTable({ model }: { model: ChartModel }) {
  const { formatY } = model
  const series = model.series.filter((one) => !one.faint)
  const rows = useMemo(() => {
    const byX = new Map<number, Map<string, string>>()
    const put = (x: number, id: string, text: string) => byX.set(x, (byX.get(x) ?? new Map()).set(id, text))
    for (const one of series) {
      for (const { x, y } of one.points) put(x, one.id, formatY(y))
      for (const { x, kind } of one.broken ?? []) put(x, one.id, kind)
    }
    return [...byX].sort(([a], [b]) => b - a)
  }, [series, formatY])
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section className="h-full overflow-auto px-4" tabIndex={0} aria-label={`${model.title}, as a table`}>
      <table className="w-full text-right text-sm">
        <thead className="sticky top-0 bg-card">
          <tr className="border-b">
            <th scope="col" className="py-1.5 text-left font-medium">
              {model.xLabel}
            </th>
            {series.map((one) => (
              <th key={one.id} scope="col" className="py-1.5 pl-3 font-medium">
                {nameOf(one)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([x, values]) => (
            <tr key={x} className="border-b border-border/60">
              <th scope="row" className="py-1 text-left font-normal">
                {model.formatX(x)}
              </th>
              {series.map((one) => (
                <td key={one.id} className="py-1 pl-3">
                  {values.get(one.id)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
