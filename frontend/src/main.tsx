import './index.css'

/**
 * The first frame stands in index.html already. The page's own code is fetched meanwhile (index.html preloads it), but runs
 * only once that frame was painted: on a busy machine it would otherwise hold the paint back for most of a second.
 */
function whenPainted(run: () => void): void {
  if (document.hidden) run()
  else requestAnimationFrame(() => setTimeout(run))
}

whenPainted(() => void import('./start'))
