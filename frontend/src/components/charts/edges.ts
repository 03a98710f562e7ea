import { createContext, useContext, useLayoutEffect, useState, useSyncExternalStore } from 'react'

/** The room that charts of one view keep on the right: the widest that one of them needs: one place of x stands in one line in all. */
export class PlotEdges {
  private readonly wishes = new Map<symbol, number>()
  private widest = 0
  private readonly listeners = new Set<() => void>()

  readonly get = (): number => this.widest

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** null takes the wish back. */
  wish(whose: symbol, right: number | null): void {
    if (right === null) this.wishes.delete(whose)
    else this.wishes.set(whose, right)
    const widest = Math.max(0, ...this.wishes.values())
    if (widest === this.widest) return
    this.widest = widest
    for (const tell of this.listeners) tell()
  }
}

export const EdgesContext = createContext<PlotEdges | null>(null)

const alone = () => () => undefined

/** px that a plot keeps on the right: its own wish, or more where a chart of its view needs more. */
export function useSharedRight(own: number, isShared = true): number {
  const around = useContext(EdgesContext)
  const edges = isShared ? around : null
  const [me] = useState(() => Symbol('plot'))
  useLayoutEffect(() => edges?.wish(me, own), [edges, me, own])
  useLayoutEffect(() => () => edges?.wish(me, null), [edges, me])
  const widest = useSyncExternalStore(edges?.subscribe ?? alone, edges?.get ?? (() => 0))
  return Math.max(own, widest)
}
