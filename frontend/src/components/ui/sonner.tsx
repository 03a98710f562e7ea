import { Toaster as Sonner } from 'sonner'

/** Bottom right, three at most; success leaves after four seconds, errors stay until closed. */
export function Toaster({ theme }: { theme: 'light' | 'dark' }) {
  return (
    <Sonner
      theme={theme}
      position="bottom-right"
      visibleToasts={3}
      duration={4000}
      closeButton
      toastOptions={{
        style: {
          background: 'var(--raised)',
          color: 'var(--text)',
          border: '1px solid var(--border)',
          borderRadius: '10px',
          boxShadow: 'var(--shadow-float)',
          fontFamily: 'inherit',
          fontSize: '13px',
        },
        classNames: { title: 'line-clamp-3 wrap-anywhere', description: '!text-muted line-clamp-4 wrap-anywhere' },
      }}
    />
  )
}
