import { useMemo, useRef, useState } from 'react'
import { metricsCsvPath } from '@/api/training'
import { ChartFrame } from '@/components/charts/ChartFrame'
import { type ChartReference, nameOf } from '@/components/charts/chart-types'
import type { Zoom } from '@/components/charts/HoverLayer'
import { useSame } from '@/components/charts/steady'
import { useIsPrinting } from '@/lib/printing'
import { buildChart, type ChartView, type FieldLook } from './chart-model'

export interface MetricChartProps {
  view: ChartView
  onZoom: (zoom: Zoom) => void
  onHide: (hidden: ReadonlySet<string>) => void
}

interface ChartOfProps extends MetricChartProps {
  title: string
  fields: readonly FieldLook[]
  scale?: number
  isLogY?: boolean
  references?: ChartReference[]
  formatY?: (y: number) => string
  formatTick?: (y: number) => string
  isExact?: boolean
  qualifiers?: Readonly<Record<string, string>>
  /** Said below the chart, before what its values give cause to say. */
  note?: string
}

/** Maps rows to a chart; the charts of the tab differ only in what they hand over. */
export function ChartOf(props: ChartOfProps) {
  const {
    view: newest,
    onZoom,
    onHide,
    title,
    fields,
    scale,
    isLogY,
    references,
    formatY,
    formatTick,
    isExact,
    qualifiers,
  } = props
  const [isNear, setNear] = useState(true)
  const view = useLatest(newest, isNear)
  const { model, note, isMeasured } = useMemo(
    () =>
      buildChart(view, {
        title,
        fields,
        ...(scale === undefined ? {} : { scale }),
        ...(isLogY === undefined ? {} : { isLogY }),
        ...(references ? { references } : {}),
        ...(formatY ? { formatY } : {}),
        ...(formatTick ? { formatTick } : {}),
        ...(isExact ? { isExact } : {}),
        ...(qualifiers ? { qualifiers } : {}),
      }),
    [view, title, fields, scale, isLogY, references, formatY, formatTick, isExact, qualifiers],
  )
  const csvLinks = useSame(
    view.runs.map(({ job }) => {
      const qualifier = qualifiers?.[job.id]
      return { name: nameOf({ name: job.name, ...(qualifier ? { qualifier } : {}) }), href: metricsCsvPath(job.id) }
    }),
  )
  const hasRows = view.runs.some((run) => run.rows.length > 0)
  return (
    <ChartFrame
      model={model}
      note={[props.note, note].filter(Boolean).join(' ') || undefined}
      zoom={view.zoom}
      onZoom={onZoom}
      hidden={newest.hidden}
      onHide={onHide}
      onNear={setNear}
      csvLinks={csvLinks}
      empty={
        isMeasured
          ? 'Nothing in this window.'
          : hasRows
            ? view.runs.some((run) => run.partial != null)
              ? 'Not loaded yet.'
              : 'Not measured in this run.'
            : 'The first point comes with the end of the first epoch.'
      }
    />
  )
}

/** A chart out of sight keeps what it had: nothing is built for nobody. */
function useLatest(newest: ChartView, isNear: boolean): ChartView {
  const known = useRef(newest)
  const isPrinting = useIsPrinting()
  if (isNear || isPrinting || !newest.isLive) known.current = newest
  return known.current
}
