import { CircleHelp, SlidersHorizontal } from 'lucide-react'
import { useId } from 'react'
import { Button } from '@/components/ui/button'
import { Checkbox } from '@/components/ui/checkbox'
import { Popover, PopoverContent, PopoverTrigger } from '@/components/ui/popover'
import { Select, SelectContent, SelectItem, SelectTrigger, SelectValue } from '@/components/ui/select'
import { useMedia } from '@/lib/media'
import type { SetView, ViewState } from '../../hooks/useViewState'

interface ViewOptionsProps {
  view: ViewState
  setView: SetView
}

/** How the curves are drawn; beside the job where there is room, behind one button where there is not. */
export function ViewOptions(props: ViewOptionsProps) {
  const isNarrow = useMedia('(width < 56rem)')
  const { view } = props
  if (!isNarrow)
    return (
      <div className="ml-auto flex flex-wrap items-center gap-x-4 gap-y-2 text-sm">
        <Controls {...props} />
      </div>
    )
  // Folded, there is room to say it at once.
  const numChanged = Number(view.x !== 'epoch') + Number(view.smooth !== 0) + Number(view.log)
  return (
    <Popover>
      <PopoverTrigger asChild>
        <Button className="ml-auto">
          <SlidersHorizontal /> View{numChanged > 0 && ` (${numChanged})`}
        </Button>
      </PopoverTrigger>
      <PopoverContent aria-label="View" className="flex max-w-80 flex-col items-start gap-3">
        <Controls {...props} isFolded />
      </PopoverContent>
    </Popover>
  )
}

const TIME =
  'Time that the run has trained, from the beginning of its first epoch. Pauses, and the time between attempts or before it was continued, do not count.'
const SMOOTHING =
  'Draws an exponential moving average of each line; the number is the weight of the past. The measured values stay behind it as a faint line; the learning rate stays as it was. Off shows only what was measured, and the CSV never holds anything else.'

function Controls({ view, setView, isFolded = false }: ViewOptionsProps & { isFolded?: boolean }) {
  const meaning = useId()
  return (
    <>
      <Select value={view.x} onValueChange={(x) => setView({ x: x === 'time' ? 'time' : 'epoch', zoom: null })}>
        <SelectTrigger aria-label="Horizontal axis" title={view.x === 'time' ? TIME : undefined}>
          <SelectValue />
        </SelectTrigger>
        <SelectContent>
          <SelectItem value="epoch">by epoch</SelectItem>
          <SelectItem value="time">by training time</SelectItem>
        </SelectContent>
      </Select>
      <span className="flex items-center gap-2">
        <label htmlFor="smoothing">smoothing</label>
        <input
          id="smoothing"
          type="range"
          aria-describedby={isFolded ? meaning : undefined}
          aria-valuetext={view.smooth === 0 ? 'off' : String(view.smooth)}
          min={0}
          max={0.95}
          step={0.05}
          value={view.smooth}
          className="slider h-8 w-24 max-sm:h-11 max-sm:w-28"
          onChange={(event) => setView({ smooth: Number(event.target.value) }, { replace: true })}
        />
        <output htmlFor="smoothing" className="w-8">
          {view.smooth === 0 ? 'off' : view.smooth}
        </output>
        {!isFolded && (
          <Popover>
            <PopoverTrigger asChild>
              <Button variant="ghost" size="icon" aria-label="What smoothing does">
                <CircleHelp />
              </Button>
            </PopoverTrigger>
            <PopoverContent aria-label="What smoothing does" className="max-w-72 text-sm">
              {SMOOTHING}
            </PopoverContent>
          </Popover>
        )}
      </span>
      {isFolded && (
        <p id={meaning} className="text-sm text-muted">
          {SMOOTHING}
        </p>
      )}
      <span className="flex min-h-8 items-center gap-2 max-sm:min-h-11">
        <Checkbox
          id="log-y"
          checked={view.log}
          onCheckedChange={(checked) => setView({ log: checked === true }, { replace: true })}
        />
        <label htmlFor="log-y">log y</label>
      </span>
    </>
  )
}
