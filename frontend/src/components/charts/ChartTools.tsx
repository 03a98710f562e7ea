import { Download, Image, Maximize2, Table2 } from 'lucide-react'
import { memo } from 'react'
import { Button } from '@/components/ui/button'
import { DropdownMenu, DropdownMenuContent, DropdownMenuItem, DropdownMenuTrigger } from '@/components/ui/dropdown-menu'
import { Tooltip } from '@/components/ui/tooltip'
import { cn } from '@/lib/cn'

export interface CsvLink {
  name: string
  href: string
}

interface ChartToolsProps {
  title: string
  links: readonly CsvLink[]
  isTable: boolean
  canSave: boolean
  onSave: () => void
  onTable: (isTable: boolean) => void
  onEnlarge: (() => void) | undefined
}

/** The head of a chart: its title and what can be done with it. */
export const ChartTools = memo(function ChartTools(props: ChartToolsProps) {
  const { title, links, isTable, canSave, onSave, onTable, onEnlarge } = props
  return (
    <div
      className={cn(
        'flex items-center gap-1 py-2 pr-2 pl-4 max-sm:flex-wrap max-sm:justify-end',
        // Alone on the screen, the button that closes stands in this row.
        !onEnlarge && 'sm:pt-2.5 sm:pr-14',
      )}
    >
      <h2
        className={cn(
          'mr-auto min-w-0 font-semibold max-sm:basis-full max-sm:pt-1',
          !onEnlarge && 'max-sm:py-2 max-sm:pr-12',
        )}
      >
        {title}
      </h2>
      <CsvLinks links={links} />
      <Tooltip text="Save as PNG">
        <Button variant="ghost" size="icon" aria-label="Save as PNG" disabled={!canSave} onClick={onSave}>
          <Image />
        </Button>
      </Tooltip>
      <Tooltip text={isTable ? 'Show the chart' : 'Show as a table'}>
        <Button
          variant="ghost"
          size="icon"
          aria-label="Show as a table"
          aria-pressed={isTable}
          onClick={() => onTable(!isTable)}
        >
          <Table2 />
        </Button>
      </Tooltip>
      {onEnlarge && (
        <Tooltip text="Full screen">
          <Button variant="ghost" size="icon" aria-label="Full screen" onClick={onEnlarge}>
            <Maximize2 />
          </Button>
        </Tooltip>
      )}
    </div>
  )
})

/** Every epoch at full resolution: one link for one run, a menu for several. */
function CsvLinks({ links }: { links: readonly CsvLink[] }) {
  const [only] = links
  if (!only) return null
  if (links.length === 1)
    return (
      <Tooltip text="Every epoch as CSV">
        <Button asChild variant="ghost" size="icon">
          <a href={only.href} download aria-label={`CSV of ${only.name}`}>
            <Download />
          </a>
        </Button>
      </Tooltip>
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
