import { type KeyboardEvent, memo, type RefObject, useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { Card } from '@/components/ui/card'
import { Dialog, DialogContent, DialogTitle } from '@/components/ui/dialog'
import { cn } from '@/lib/cn'
import { fileStem, saveBlob } from '@/lib/download'
import { svgToPng } from '@/lib/svg-to-png'
import { ChartTable } from './ChartTable'
import { ChartTools, type CsvLink } from './ChartTools'
import { type ChartModel, isDrawn, nameOf } from './chart-types'
import { HoverLayer, type Zoom } from './HoverLayer'
import { LegendRow } from './LegendRow'
import { LinePlot, type PlotFrame, yDomainOf } from './LinePlot'
import { keepDomain, useSame, useTurn } from './steady'
import { useElementSize, useIsNear } from './useElementSize'

/** px of a plot among others; alone on the screen it takes what there is. */
const HEIGHT = 232

export interface ChartFrameProps {
  model: ChartModel
  zoom: Zoom
  onZoom: (zoom: Zoom) => void
  /** Full resolution, one per run. */
  csvLinks: readonly CsvLink[]
  note?: string | undefined
  /** Shown instead of the plot while there is nothing to draw. */
  empty: string
  height?: number
  /** Given in tests, where nothing is laid out. */
  width?: number
  /** Told when the chart comes near the view or leaves it. */
  onNear?: (isNear: boolean) => void
}

/** Memoized throughout: a point that arrives renders the lines and the row of values, not the frame around them. */
export const ChartFrame = memo(function ChartFrame(props: ChartFrameProps) {
  const [isLarge, setLarge] = useState(false)
  const enlarge = useCallback(() => setLarge(true), [])
  return (
    <>
      <ChartCard {...props} onEnlarge={enlarge} />
      {isLarge && (
        <Dialog open onOpenChange={setLarge}>
          <DialogContent
            size="full"
            className="max-sm:h-[94dvh]"
            aria-describedby={undefined}
            onOpenAutoFocus={focusItself}
            onEscapeKeyDown={leaveToKeys}
            onKeyDown={(event) => isEscapeOf(event) && setLarge(false)}
          >
            <DialogTitle className="sr-only">{props.model.title}</DialogTitle>
            <ChartCard {...props} />
          </DialogContent>
        </Dialog>
      )}
    </>
  )
})

/** A focused tool would open its tooltip over the close button. */
function focusItself(event: Event): void {
  event.preventDefault()
  if (event.currentTarget instanceof HTMLElement) event.currentTarget.focus()
}

/** Escape comes to the chart first, which may show all with it; only what the chart leaves closes the dialog. */
const leaveToKeys = (event: Event) => event.preventDefault()

/** An open tooltip does not keep the dialog open; a menu of it, which hangs elsewhere in the document, closes alone. */
const isEscapeOf = ({ key, currentTarget, target }: KeyboardEvent) =>
  key === 'Escape' && target instanceof Node && currentTarget.contains(target)

function ChartCard({
  model,
  zoom,
  onZoom,
  csvLinks,
  note,
  empty,
  height: givenHeight,
  width,
  onNear,
  onEnlarge,
}: ChartFrameProps & { onEnlarge?: () => void }) {
  const body = useRef<HTMLDivElement>(null)
  const measured = useElementSize(body)
  const isLarge = onEnlarge === undefined
  const height = givenHeight ?? (isLarge ? measured.height : HEIGHT)
  const isNear = useIsNear(body, onNear)
  const [isTable, setTable] = useState(false)
  const { hidden, toggle } = useHiddenSeries(model)
  const shown = useMemo(
    () => ({ ...model, series: model.series.filter((one) => !hidden.has(one.id)) }),
    [model, hidden],
  )
  const plotWidth = width ?? measured.width
  const frame = useFrame(shown, plotWidth, height)
  const isEmpty = !model.series.some(isDrawn)
  const savePicture = usePicture(body, shown, csvLinks)
  return (
    <Card
      className={cn('flex flex-col pb-2', isLarge && 'min-h-0 flex-1 border-0')}
      role="group"
      aria-label={model.title}
      data-testid="chart"
    >
      <ChartTools
        title={model.title}
        links={csvLinks}
        isTable={isTable}
        canSave={!isEmpty && !isTable}
        onSave={savePicture}
        onTable={setTable}
        onEnlarge={onEnlarge}
      />
      <LegendRow model={model} hidden={hidden} onToggle={toggle} />
      <div
        ref={body}
        className={cn('relative contain-layout contain-paint', isLarge && 'min-h-0 flex-1')}
        style={isLarge ? undefined : { height }}
      >
        {isEmpty ? (
          <p className="grid h-full place-items-center px-6 text-center text-sm text-muted">{empty}</p>
        ) : isTable ? (
          <ChartTable model={shown} />
        ) : (
          plotWidth > 0 &&
          height > 0 &&
          (isNear || width !== undefined) && (
            <>
              <LinePlot frame={frame} series={shown.series} />
              <HoverLayer {...shown} {...frame} zoom={zoom} onZoom={onZoom} />
            </>
          )
        )}
      </div>
      {note && <p className="px-4 pt-1 text-xs text-muted">{note}</p>}
    </Card>
  )
}

/** Saves what is seen, with its title, its runs and its legend: a picture is pasted where none of them stand beside it. */
function usePicture(body: RefObject<HTMLElement | null>, model: ChartModel, links: ChartFrameProps['csvLinks']) {
  const latest = useRef({ model, links })
  useEffect(() => {
    latest.current = { model, links }
  })
  return useCallback(async () => {
    const svg = body.current?.querySelector('svg')
    if (!svg) return
    const { model, links } = latest.current
    const picture = await svgToPng(svg, {
      title: model.title,
      caption: links.map((link) => link.name).join(' · '),
      legend: model.series.filter((one) => !one.faint).map((one) => ({ ...one, name: nameOf(one) })),
    })
    saveBlob(picture, `${fileStem([links[0]?.name, model.title].join(' '))}.png`)
  }, [body])
}

/** What the axes show. While points arrive it stays as long as they fit, and several charts change one after the other. */
function useFrame(model: ChartModel, width: number, height: number): PlotFrame {
  const { isLogY, isWholeX, formatX, formatY, isLive = false } = model
  const wanted = useMemo(() => yDomainOf(model), [model])
  const known = useRef<{ isLogY: boolean; domain: [number, number] } | null>(null)
  const base = isLive && known.current?.isLogY === isLogY ? known.current.domain : null
  const yDomain = useSame(keepDomain(base, wanted, isLogY))
  known.current = { isLogY, domain: yDomain }
  const xDomain = useSame(model.xDomain)
  const marks = useSame(model.marks)
  const references = useSame(model.references)
  const hasLevels = references.length > 0 || model.series.some((one) => one.points.length > 0)
  const frame = useMemo(
    () => ({ width, height, xDomain, yDomain, marks, references, hasLevels, isLogY, isWholeX, formatX, formatY }),
    [width, height, xDomain, yDomain, marks, references, hasLevels, isLogY, isWholeX, formatX, formatY],
  )
  const turned = useTurn(frame, isLive)
  // Another size or another kind of axis is no matter of taking turns.
  return turned.width === width && turned.height === height && turned.isLogY === isLogY ? turned : frame
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
