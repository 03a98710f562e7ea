import { Brain, Moon, Search, Sun } from 'lucide-react'
import type { ReactNode } from 'react'
import { Link, NavLink } from 'react-router'
import { Button } from '@/components/ui/button'
import { cn } from '@/lib/cn'
import { setTheme, useTheme } from '@/lib/theme'

/** Another page is one more line here and one more route in App.tsx. */
const PAGES = [{ to: '/training', label: 'Training', icon: Brain }]

interface NavigationProps {
  status: ReactNode
  onOpenPalette: () => void
}

export function Navigation({ status, onOpenPalette }: NavigationProps) {
  const theme = useTheme()
  return (
    <header className="border-b bg-card">
      <div className="mx-auto flex h-14 max-w-[1600px] items-center gap-2 px-4 sm:gap-4 sm:px-6">
        <Link
          to="/"
          className="flex items-center justify-center gap-2 rounded-control text-lg font-semibold tracking-tight max-sm:size-11 max-sm:shrink-0"
        >
          <img src="/favicon.svg" alt="" width={24} height={24} />
          <span className="max-sm:sr-only">Heimdall</span>
        </Link>
        <nav aria-label="Main" className="flex items-center">
          {PAGES.map(({ to, label, icon: Icon }) => (
            <NavLink
              key={to}
              to={to}
              className={({ isActive }) =>
                cn(
                  'inline-flex h-9 items-center gap-1.5 rounded-control px-3 font-medium whitespace-nowrap max-sm:h-11 max-sm:px-2',
                  isActive ? 'bg-subtle text-text' : 'text-muted hover:text-text',
                )
              }
            >
              <Icon className="size-4" aria-hidden /> {label}
            </NavLink>
          ))}
        </nav>
        <div className="ml-auto flex min-w-0 items-center gap-1">
          {status}
          <Button
            variant="ghost"
            size="icon"
            aria-label={theme === 'dark' ? 'Use the light theme' : 'Use the dark theme'}
            onClick={() => setTheme(theme === 'dark' ? 'light' : 'dark')}
          >
            {/* By CSS, so that the first frame in index.html already shows the right one. */}
            <Sun className="hidden dark:block" />
            <Moon className="dark:hidden" />
          </Button>
          <Button variant="ghost" size="icon" aria-label="Search and commands (Ctrl K)" onClick={onOpenPalette}>
            <Search />
          </Button>
        </div>
      </div>
    </header>
  )
}
