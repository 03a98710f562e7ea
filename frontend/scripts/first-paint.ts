import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { createServer, type Plugin } from 'vite'

const EMPTY_ROOT = '<div id="root"></div>'

/**
 * Writes the page's own first frame into index.html, so that it is seen before a line of script has run.
 * The very components draw it: there is no second copy of the shell that could come to differ, and nothing moves when the page takes over.
 */
export function firstPaint(): Plugin {
  return {
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
  }
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
