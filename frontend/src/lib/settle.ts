export interface Outcome<T> {
  done: T[]
  failed: { item: T; error: Error }[]
}

/** Runs `act` for each item, a few at once, and says what worked and what did not: one failure never hides the rest. */
export async function settleEach<T>(
  items: readonly T[],
  act: (item: T) => Promise<unknown>,
  width = 4,
): Promise<Outcome<T>> {
  const outcome: Outcome<T> = { done: [], failed: [] }
  const queue = [...items]
  const work = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      try {
        await act(item)
        outcome.done.push(item)
      } catch (error) {
        outcome.failed.push({ item, error: error instanceof Error ? error : new Error(String(error)) })
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, work))
  return outcome
}
