import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { createServer, type HtmlTagDescriptor, type IndexHtmlTransformContext, type Plugin } from 'vite'

type Bundle = NonNullable<IndexHtmlTransformContext['bundle']>

const EMPTY_ROOT = '<div id="root"></div>'

/** What runs right after the first paint; index.html asks for it from the start. */
const START = /\/src\/start\.tsx$/

/**
 * Writes the page's own first frame into index.html, so that it is seen before a line of script has run.
 * The very components draw it: there is no second copy of the shell that could come to differ, and nothing moves when the page takes over.
 */
export function firstPaint(): Plugin[] {
  return [
    {
      name: 'heimdall-first-paint',
      apply: 'build',
      transformIndexHtml: {
        order: 'pre',
        async handler(html) {
          if (!html.includes(EMPTY_ROOT)) throw new Error(`index.html has no ${EMPTY_ROOT}`)
          // `inert`: what is not alive yet takes no click and no focus.
          const frame = `<div id="root"><div inert aria-busy="true">${await render()}</div></div>`
          return html.replace(EMPTY_ROOT, () => frame)
        },
      },
    },
    {
      name: 'heimdall-first-requests',
      apply: 'build',
      transformIndexHtml: {
        order: 'post',
        handler(html, { bundle = {} }) {
          return { html: withStyles(withoutStyleAttributes(html), bundle), tags: preloadsOf(bundle) }
        },
      },
    },
  ]
}

/** The server's policy allows no style attribute: each becomes a rule of a sheet, which is allowed by its hash. */
function withoutStyleAttributes(html: string): string {
  const rules: string[] = []
  const bare = html.replace(/ style="([^"]*)"/g, (_, style: string) => {
    rules.push(`[data-first="${rules.length}"]{${style}}`)
    return ` data-first="${rules.length - 1}"`
  })
  return rules.length === 0 ? html : bare.replace('</head>', () => `<style>${rules.join('')}</style></head>`)
}

/** The whole style sheet is 10 kB packed: in the document itself the first frame waits for no second answer. */
function withStyles(html: string, bundle: Bundle): string {
  return html.replace(/<link rel="stylesheet"[^>]*href="\/([^"]+)">/, (link, file: string) => {
    const sheet = bundle[file]
    return sheet?.type === 'asset' ? `<style>${sheet.source}</style>` : link
  })
}

/** At low priority: they are for after the paint and must not stand in its way. */
function preloadsOf(bundle: Bundle): HtmlTagDescriptor[] {
  const chunks = Object.values(bundle).filter((one) => one.type === 'chunk')
  const start = chunks.find((one) => START.test(one.facadeModuleId ?? ''))
  if (!start) throw new Error('the build has no chunk of src/start.tsx')
  return [start.fileName, ...start.imports].map((file) => ({
    tag: 'link',
    attrs: { rel: 'modulepreload', crossorigin: true, fetchpriority: 'low', href: `/${file}` },
    injectTo: 'head' as const,
  }))
}

async function render(): Promise<string> {
  const server = await createServer({
    configFile: false,
    root: fileURLToPath(new URL('..', import.meta.url)),
    plugins: [react()],
    resolve: { alias: { '@': fileURLToPath(new URL('../src', import.meta.url)) } },
    server: { middlewareMode: true, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true },
    appType: 'custom',
    logLevel: 'error',
  })
  try {
    const { renderFirstFrame } = (await server.ssrLoadModule('/src/app/first-frame.tsx')) as {
      renderFirstFrame: () => string
    }
    return renderFirstFrame()
  } finally {
    await server.close()
  }
}
