import { Download, Image, Maximize2, Table2 } from 'lucide-react'
import { type ReactNode, useMemo, useRef, useState } from 'react'
import { Button } from '@/components/ui/button'
import { Card } from '@/components/ui/card'
import { Dialog, DialogContent, DialogTitle } from '@/components/ui/dialog'
import { DropdownMenu, DropdownMenuContent, DropdownMenuItem, DropdownMenuTrigger } from '@/components/ui/dropdown-menu'
import { Tooltip } from '@/components/ui/tooltip'
import { saveBlob } from '@/lib/download'
import { svgToPng } from '@/lib/svg-to-png'
import { ChartTable } from './ChartTable'
import type { ChartModel } from './chart-types'
import { HoverLayer, type Zoom } from './HoverLayer'
import { LegendRow } from './LegendRow'
import { LinePlot, yDomainOf } from './LinePlot'
import { useElementWidth, useIsNear } from './useElementWidth'

export interface ChartFrameProps {
  model: ChartModel
  zoom: Zoom
  onZoom: (zoom: Zoom) => void
  /** Full resolution, one per run. */
  csvLinks: readonly { name: string; href: string }[]
  note?: string | undefined
  /** Shown instead of the plot while there is nothing to draw. */
  empty: string
  height?: number
  /** Given in tests, where nothing is laid out. */
  width?: number
}

export function ChartFrame(props: ChartFrameProps) {
  const [isLarge, setLarge] = useState(false)
  return (
    <>
      <ChartCard {...props} onEnlarge={() => setLarge(true)} />
      <Dialog open={isLarge} onOpenChange={setLarge}>
        <DialogContent size="full" className="max-sm:h-[94dvh]" aria-describedby={undefined}>
          <DialogTitle className="sr-only">{props.model.title}</DialogTitle>
          <div className="min-h-0 flex-1 overflow-y-auto pt-10">
            <ChartCard {...props} height={Math.max(280, innerHeight - 240)} />
          </div>
        </DialogContent>
      </Dialog>
    </>
  )
}

function ChartCard({
  model,
  zoom,
  onZoom,
  csvLinks,
  note,
  empty,
  height = 232,
  width,
  onEnlarge,
}: ChartFrameProps & { onEnlarge?: () => void }) {
  const body = useRef<HTMLDivElement>(null)
  const measured = useElementWidth(body)
  const isNear = useIsNear(body)
  const [isTable, setTable] = useState(false)
  const { hidden, toggle } = useHiddenSeries(model)
  const shown = useMemo(
    () => ({ ...model, series: model.series.filter((one) => !hidden.has(one.id)) }),
    [model, hidden],
  )
  const yDomain = useMemo(() => yDomainOf(shown), [shown])
  const isEmpty = model.series.every((one) => one.points.length === 0)
  const savePicture = async () => {
    const svg = body.current?.querySelector('svg')
    if (svg) saveBlob(await svgToPng(svg, model.title), `${model.title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.png`)
  }
  const plotWidth = width ?? measured
  return (
    <Card className="flex flex-col pb-2" role="group" aria-label={model.title} data-testid="chart">
      <div className="flex items-center gap-1 py-2 pr-2 pl-4">
        <h2 className="mr-auto min-w-0 font-semibold">{model.title}</h2>
        <CsvLinks links={csvLinks} />
        <Tool label="Save as PNG">
          <Button
            variant="ghost"
            size="icon"
            aria-label="Save as PNG"
            disabled={isEmpty || isTable}
            onClick={savePicture}
          >
            <Image />
          </Button>
        </Tool>
        <Tool label={isTable ? 'Show the chart' : 'Show as a table'}>
          <Button
            variant="ghost"
            size="icon"
            aria-label="Show as a table"
            aria-pressed={isTable}
            onClick={() => setTable(!isTable)}
          >
            <Table2 />
          </Button>
        </Tool>
        {onEnlarge && (
          <Tool label="Full screen">
            <Button variant="ghost" size="icon" aria-label="Full screen" onClick={onEnlarge}>
              <Maximize2 />
            </Button>
          </Tool>
        )}
      </div>
      <LegendRow model={model} hidden={hidden} onToggle={toggle} />
      <div ref={body} className="relative" style={{ height }}>
        {isEmpty ? (
          <p className="grid h-full place-items-center px-6 text-center text-sm text-muted">{empty}</p>
        ) : isTable ? (
          <ChartTable model={shown} />
        ) : (
          plotWidth > 0 &&
          (isNear || width !== undefined) && (
            <>
              <LinePlot {...shown} width={plotWidth} height={height} yDomain={yDomain} />
              <HoverLayer {...shown} yDomain={yDomain} zoom={zoom} onZoom={onZoom} />
            </>
          )
        )}
      </div>
      {note && <p className="px-4 pt-1 text-xs text-muted">{note}</p>}
    </Card>
  )
}

/** Every epoch at full resolution: one link for one run, a menu for several. */
function CsvLinks({ links }: { links: ChartFrameProps['csvLinks'] }) {
  const [only] = links
  if (!only) return null
  if (links.length === 1)
    return (
      <Tool label="Every epoch as CSV">
        <Button asChild variant="ghost" size="icon">
          <a href={only.href} download aria-label={`CSV of ${only.name}`}>
            <Download />
          </a>
        </Button>
      </Tool>
    )
  return (
    <DropdownMenu>
      <DropdownMenuTrigger asChild>
        <Button variant="ghost" size="icon" aria-label="CSV of a run">
          <Download />
        </Button>
      </DropdownMenuTrigger>
      <DropdownMenuContent className="max-w-80">
        {links.map(({ name, href }) => (
          <DropdownMenuItem key={href} asChild>
            <a href={href} download>
              <Download /> <span className="truncate">{name}</span>
            </a>
          </DropdownMenuItem>
        ))}
      </DropdownMenuContent>
    </DropdownMenu>
  )
}

function Tool({ label, children }: { label: string; children: ReactNode }) {
  return <Tooltip text={label}>{children}</Tooltip>
}

function useHiddenSeries(model: ChartModel) {
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const toggle = (id: string, isSolo: boolean) => {
    const others = model.series.filter((one) => one.id !== id && one.id !== `${id}:raw`).map((one) => one.id)
    setHidden((old) => {
      if (isSolo) return new Set(others.every((other) => old.has(other)) ? [] : others)
      const next = new Set(old)
      for (const part of [id, `${id}:raw`]) {
        if (old.has(id)) next.delete(part)
        else next.add(part)
      }
      return next
    })
  }
  return { hidden, toggle }
}
