import { lazy, Suspense, useEffect, useState } from 'react'
import { BrowserRouter, Navigate, Route, Routes } from 'react-router'
import { ErrorBoundary } from '@/app/ErrorBoundary'
import { FreshnessStatus } from '@/app/FreshnessStatus'
import { WarningBanner } from '@/app/WarningBanner'
import { PartBoundary } from '@/components/feedback/PartBoundary'
import { Navigation } from '@/components/Navigation'
import { Toaster } from '@/components/ui/sonner'
import { TooltipProvider } from '@/components/ui/tooltip'
import { useTheme } from '@/lib/theme'
import TrainingPage from '@/pages/Training'

const CommandPalette = lazy(() => import('@/app/CommandPalette'))
const Gallery = lazy(() => import('@/gallery/Gallery'))

export function App() {
  return (
    <BrowserRouter>
      <AppFrame />
    </BrowserRouter>
  )
}

/** Everything inside the router: the browser's own, or the one of the build that writes the first frame. */
export function AppFrame() {
  const theme = useTheme()
  return (
    <TooltipProvider delayDuration={300}>
      <Shell />
      <Toaster theme={theme} />
    </TooltipProvider>
  )
}

function Shell() {
  const [isPaletteOpen, setPaletteOpen] = useState(false)
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey)) return
      event.preventDefault()
      setPaletteOpen((isOpen) => !isOpen)
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
  return (
    <>
      <a
        href="#content"
        className="sr-only z-[90] rounded-control bg-accent px-3 py-2 text-accent-text focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        Skip to the content
      </a>
      <Navigation status={<FreshnessStatus />} onOpenPalette={() => setPaletteOpen(true)} />
      <WarningBanner />
      <div id="content" tabIndex={-1} className="outline-none">
        <ErrorBoundary>
          <Suspense>
            <Routes>
              <Route path="/" element={<Navigate to="/training" replace />} />
              <Route path="/training" element={<TrainingPage />} />
              <Route path="/gallery/:state?" element={<Gallery />} />
              <Route path="*" element={<Navigate to="/training" replace />} />
            </Routes>
          </Suspense>
        </ErrorBoundary>
      </div>
      <PartBoundary onClose={() => setPaletteOpen(false)}>
        {isPaletteOpen && <CommandPalette onClose={() => setPaletteOpen(false)} />}
      </PartBoundary>
    </>
  )
}
