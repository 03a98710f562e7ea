import { createContext, useContext, useSyncExternalStore } from 'react'

/** The x under the cursor, shared by all charts of a view without rendering any of them again. */
export class HoverLine {
  private x: number | null = null
  private readonly listeners = new Set<() => void>()

  readonly get = (): number | null => this.x

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  set(x: number | null): void {
    if (x === this.x) return
    this.x = x
    for (const tell of this.listeners) tell()
  }
}

export const HoverContext = createContext(new HoverLine())
export const useHoverLine = (): HoverLine => useContext(HoverContext)

export function useHoverX(): number | null {
  const line = useHoverLine()
  return useSyncExternalStore(line.subscribe, line.get)
}
