import type { ReactNode } from 'react'

export type Fact = readonly [name: string, value: ReactNode]

/** Name and value pairs that line up; what nobody knows is left out rather than dashed. */
export function Facts({ items }: { items: readonly (Fact | false | '' | 0 | null | undefined)[] }) {
  const shown = items.filter(
    (item): item is Fact => Boolean(item) && (item as Fact)[1] !== null && (item as Fact)[1] !== undefined,
  )
  return (
    <dl className="grid grid-cols-[fit-content(45%)_minmax(0,1fr)] gap-x-4 gap-y-1.5 text-sm print:grid-cols-[fit-content(22%)_minmax(0,1fr)_fit-content(22%)_minmax(0,1fr)]">
      {shown.map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-muted">{name}</dt>
          <dd className="min-w-0">{value}</dd>
        </div>
      ))}
    </dl>
  )
}
