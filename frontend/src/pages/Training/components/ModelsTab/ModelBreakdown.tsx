import type { AccuracyBreakdown, ErrorBreakdown } from '@/api/types'
import { formatCount, formatMetres, formatPercent } from '@/lib/format'
import { ReliabilityDiagram } from './ReliabilityDiagram'

const TITLE: Record<ErrorBreakdown['by'], { name: string; help: string }> = {
  receivers_heard: { name: 'receivers that heard', help: 'In ellipse: the share of truths inside their 68 % ellipse.' },
  snr_db: { name: 'signal to noise (dB)', help: 'Mean over the receivers that heard; quarters of the examples.' },
  hdop: {
    name: 'geometry (HDOP)',
    help: 'Metres of position error for each metre of range error, by time differences; quarters of the examples.',
  },
  hull: { name: 'place', help: 'Inside or outside the hull of the receivers that heard.' },
}

/** What the averages hide: where the model is good, where it is not, and whether its ellipses know. */
export function ModelBreakdown({ breakdown }: { breakdown: AccuracyBreakdown }) {
  return (
    <div className="flex flex-col gap-5">
      {breakdown.breakdowns.map((one) => (
        <GroupTable key={one.by} breakdown={one} />
      ))}
      <ReliabilityDiagram points={breakdown.reliability} numExamples={breakdown.num_examples} />
    </div>
  )
}

function GroupTable({ breakdown: { by, groups } }: { breakdown: ErrorBreakdown }) {
  const { name, help } = TITLE[by]
  const longest = Math.max(...groups.map((group) => group.error_median_m))
  return (
    <table className="w-full text-right text-sm" aria-label={`Error by ${name}`}>
      <caption className="caption-bottom pt-1 text-left text-xs text-muted">{help}</caption>
      <thead>
        <tr className="border-b text-muted">
          <th scope="col" className="w-full py-1 text-left font-medium">
            {name}
          </th>
          {['examples', 'median', '68 %', 'in ellipse'].map((column, index) => (
            <th
              key={column}
              scope="col"
              className={`py-1 pl-3 font-medium whitespace-nowrap ${index === 0 ? 'max-sm:hidden' : ''}`}
            >
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {groups.map((group) => (
          <tr key={group.label} className="border-b">
            <th scope="row" className="py-1 text-left font-normal">
              {group.label}
              <div
                aria-hidden
                className="mt-0.5 h-1 rounded-full bg-accent/70"
                style={{ width: `max(0.25rem, ${(group.error_median_m / longest) * 100}%)` }}
              />
            </th>
            <td className="py-1 pl-3 text-muted max-sm:hidden">{formatCount(group.num_examples)}</td>
            <td className="py-1 pl-3 font-semibold whitespace-nowrap">{formatMetres(group.error_median_m)}</td>
            <td className="py-1 pl-3 whitespace-nowrap">{formatMetres(group.error_p68_m)}</td>
            <td className="py-1 pl-3 whitespace-nowrap">{formatPercent(group.coverage_68, 0)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
