import { type KeyboardEvent, memo, type RefObject, useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { Card } from '@/components/ui/card'
import { Dialog, DialogContent, DialogTitle } from '@/components/ui/dialog'
import { cn } from '@/lib/cn'
import { fileStem, saveBlob } from '@/lib/download'
import { PRINT_WIDTH, useIsPrinting } from '@/lib/printing'
import { svgToPng } from '@/lib/svg-to-png'
import { ChartTable } from './ChartTable'
import { ChartTools, type CsvLink } from './ChartTools'
import { type ChartModel, isDrawn, nameOf, shownOf } from './chart-types'
import { useSharedRight } from './edges'
import { HoverLayer, type Zoom } from './HoverLayer'
import { LegendRow } from './LegendRow'
import { LevelList, layLevels, levelsInView } from './Levels'
import { LinePlot, yDomainOf } from './LinePlot'
import type { PlotFrame } from './place'
import { keepDomain, useSame, useTurn } from './steady'
import { useElementSize, useIsNear } from './useElementSize'

const NONE_HIDDEN: ReadonlySet<string> = new Set()

/** px of a plot among others; alone on the screen it takes what there is. */
const HEIGHT = 232

export interface ChartFrameProps {
  model: ChartModel
  zoom: Zoom
  onZoom: (zoom: Zoom) => void
  /** Ids of series that are not drawn; of other charts too. */
  hidden?: ReadonlySet<string>
  onHide?: (hidden: ReadonlySet<string>) => void
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
  hidden = NONE_HIDDEN,
  onHide,
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
  const isPrinting = useIsPrinting()
  const [isTable, setTable] = useState(false)
  const shown = useMemo(() => ({ ...model, series: shownOf(model.series, hidden) }), [model, hidden])
  const plotWidth = width ?? (isPrinting && !isLarge ? PRINT_WIDTH : measured.width)
  const frame = useFrame(shown, plotWidth, height, !isLarge)
  const isEmpty = !model.series.some(isDrawn)
  const savePicture = usePicture(body, shown, frame, csvLinks)
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
      <LegendRow model={model} hidden={hidden} {...(onHide ? { onHide } : {})} />
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
          (isNear || isPrinting || width !== undefined) && (
            <>
              <LinePlot frame={frame} series={shown.series} />
              <HoverLayer {...shown} {...frame} zoom={zoom} onZoom={onZoom} />
            </>
          )
        )}
      </div>
      {!isEmpty && !isTable && frame.isListed && <LevelList levels={frame.levels} formatY={frame.formatY} />}
      {note && <p className="px-4 pt-1 text-xs text-muted">{note}</p>}
    </Card>
  )
}

/** Saves what is seen, with its title, its runs and its legend: a picture is pasted where none of them stand beside it. */
function usePicture(
  body: RefObject<HTMLElement | null>,
  model: ChartModel,
  frame: PlotFrame,
  links: ChartFrameProps['csvLinks'],
) {
  const latest = useRef({ model, frame, links })
  useEffect(() => {
    latest.current = { model, frame, links }
  })
  return useCallback(async () => {
    const svg = body.current?.querySelector('svg')
    if (!svg) return
    const { model, frame, links } = latest.current
    const lines = model.series.filter((one) => !one.faint).map((one) => ({ ...one, name: nameOf(one) }))
    const levels = frame.isListed ? frame.levels : []
    const picture = await svgToPng(svg, {
      title: model.title,
      caption: links.map((link) => link.name).join(' · '),
      legend: [
        ...lines,
        ...levels.map(({ name, y }) => ({
          name: `${name} ${frame.formatY(y)}`,
          color: 'var(--chart-gray)',
          dash: '2 3',
        })),
      ],
    })
    saveBlob(picture, `${fileStem([links[0]?.name, model.title].join(' '))}.png`)
  }, [body])
}

/** What the axes show. While points arrive it stays as long as they fit, and several charts change one after the other. */
function useFrame(model: ChartModel, width: number, height: number, isShared: boolean): PlotFrame {
  const { isLogY, isWholeX, formatX, formatY, formatTick, isLive = false } = model
  const wanted = useMemo(() => yDomainOf(model), [model])
  const known = useRef<{ isLogY: boolean; domain: [number, number] } | null>(null)
  const base = isLive && known.current?.isLogY === isLogY ? known.current.domain : null
  const yDomain = useSame(keepDomain(base, wanted, isLogY))
  known.current = { isLogY, domain: yDomain }
  const xDomain = useSame(model.xDomain)
  const marks = useSame(model.marks)
  const levels = useSame(levelsInView(model.references, yDomain))
  const { right: own, isListed } = layLevels(model.references, formatY, width)
  const right = useSharedRight(own, isShared)
  const hasLevels = model.references.length > 0 || model.series.some((one) => one.points.length > 0)
  const frame = useMemo<PlotFrame>(
    () => ({
      width,
      height,
      right,
      levels,
      isListed,
      xDomain,
      yDomain,
      marks,
      hasLevels,
      isLogY,
      isWholeX,
      formatX,
      formatY,
      ...(formatTick ? { formatTick } : {}),
    }),
    [
      width,
      height,
      right,
      levels,
      isListed,
      xDomain,
      yDomain,
      marks,
      hasLevels,
      isLogY,
      isWholeX,
      formatX,
      formatY,
      formatTick,
    ],
  )
  const turned = useTurn(frame, isLive)
  // Another size or another kind of axis is no matter of taking turns.
  const isSameSize = turned.width === width && turned.height === height && turned.right === right
  return isSameSize && turned.isLogY === isLogY ? turned : frame
}
