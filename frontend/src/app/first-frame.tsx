import { renderToStaticMarkup } from 'react-dom/server'
import { StaticRouter } from 'react-router'
import { AppFrame } from '@/App'

/** What the page shows before it knows anything; the build writes it into index.html. */
export function renderFirstFrame(): string {
  return renderToStaticMarkup(
    <StaticRouter location="/training">
      <AppFrame />
    </StaticRouter>,
  )
}
