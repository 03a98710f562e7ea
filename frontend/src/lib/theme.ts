import { useSyncExternalStore } from 'react'

export type Theme = 'light' | 'dark'

const KEY = 'heimdall.theme'
const listeners = new Set<() => void>()
const system = typeof matchMedia === 'function' ? matchMedia('(prefers-color-scheme: dark)') : null

function chosen(): Theme | null {
  const value = localStorage.getItem(KEY)
  return value === 'dark' || value === 'light' ? value : null
}

const current = (): Theme => (document.documentElement.classList.contains('dark') ? 'dark' : 'light')

function apply(theme: Theme): void {
  document.documentElement.classList.toggle('dark', theme === 'dark')
  for (const tell of listeners) tell()
}

system?.addEventListener('change', () => {
  if (chosen() === null) apply(system.matches ? 'dark' : 'light')
})

// Chosen in another tab of this browser.
globalThis.addEventListener?.('storage', (event) => {
  if (event.key === KEY || event.key === null) apply(chosen() ?? (system?.matches ? 'dark' : 'light'))
})

export function setTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme)
  apply(theme)
}

export function useTheme(): Theme {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    current,
    () => 'light',
  )
}
