import { useEffect, useRef, useState } from 'react'

type Domain = [number, number]

/** While points arrive, an axis stays as it is until they fill it or use less than this share of it. */
const FILLED_FROM = 0.6
/** Room for the points to come, as a share of what is there. */
const ROOM = 0.06

/**
 * The known domain where it still fits the wanted one, so that one more point does not lay out a chart again.
 * A side that was outgrown gets room beyond: a rate that falls with each epoch would push its axis with each epoch.
 */
export function keepDomain(known: Domain | null, wanted: Domain, isLog: boolean): Domain {
  if (!known) return wanted
  const [to, from] = isLog ? [Math.log, Math.exp] : [Number, Number]
  const [low, high, knownLow, knownHigh] = [to(wanted[0]), to(wanted[1]), to(known[0]), to(known[1])]
  const span = high - low
  if (low >= knownLow && high <= knownHigh) return span >= FILLED_FROM * (knownHigh - knownLow) ? known : wanted
  const lower = low < knownLow ? from(low - ROOM * span) : wanted[0]
  const upper = high > knownHigh ? from(high + ROOM * span) : wanted[1]
  return [wanted[0] >= 0 ? Math.max(0, lower) : lower, upper]
}

/** A growing x axis: from its first point to some way past the last, so that it moves once in a while and not with each point. */
export function growDomain(known: Domain | null, wanted: Domain, least: number): Domain {
  const [low, high] = wanted
  if (known && known[0] === low && high <= known[1] && high - low >= FILLED_FROM * (known[1] - low)) return known
  return [low, high + Math.max(least, Math.ceil((high - low) * ROOM))]
}

/** The value before, as long as both read the same: what is built anew with each point may still say nothing new. */
export function useSame<T>(value: T): T {
  const key = JSON.stringify(value)
  const known = useRef({ key, value })
  if (known.current.key !== key) known.current = { key, value }
  return known.current.value
}

const waiting: (() => void)[] = []

/** One turn in each animation frame. */
function takeTurn(run: () => void): () => void {
  waiting.push(run)
  if (waiting.length === 1) requestAnimationFrame(next)
  return () => {
    const place = waiting.indexOf(run)
    if (place > 0) waiting.splice(place, 1)
    else if (place === 0) waiting[0] = () => undefined
  }
}

function next(): void {
  waiting[0]?.()
  waiting.shift()
  if (waiting.length > 0) requestAnimationFrame(next)
}

/** The newest value, when it is this component's turn: many charts that must be laid out again do so one per animation frame. */
export function useTurn<T>(value: T, isTurned: boolean): T {
  const [shown, setShown] = useState(value)
  useEffect(() => {
    if (Object.is(shown, value)) return
    if (!isTurned) setShown(value)
    else return takeTurn(() => setShown(value))
  }, [value, shown, isTurned])
  return isTurned ? shown : value
}
