import type { Plugin } from 'vite'

interface Rewrite {
  file: RegExp
  /** Where the library makes a `<style>` element; the build fails where a new version does so in another way. */
  found: RegExp
  put: string | ((match: string, css: string) => string)
}

const ADOPT = (css: string) =>
  `{ const sheet = new CSSStyleSheet(); sheet.replaceSync(${css}); document.adoptedStyleSheets.push(sheet) }`

const REWRITES: Rewrite[] = [
  {
    file: /\/sonner\/dist\/index\.mjs$/,
    found: /function __insertCSS\(code\) \{[\s\S]*?\n\}/,
    put: `function __insertCSS(code) ${ADOPT('code')}`,
  },
  {
    file: /\/@radix-ui\/react-select\/dist\/index\.mjs$/,
    found:
      /\/\* @__PURE__ \*\/ jsx\(\s*"style",\s*\{\s*dangerouslySetInnerHTML: \{\s*__html: `([^`]*)`\s*\},\s*nonce\s*\}\s*\)/,
    // A lone expression in the place of the element, so that the sheet is adopted when the first list opens.
    put: (_match, css) =>
      `(globalThis.__selectSheet ??= (() => { ${ADOPT(JSON.stringify(css))} return true })(), null)`,
  },
  {
    file: /\/react-style-singleton\/dist\/es2015\/singleton\.js$/,
    found: /[\s\S]+/,
    put: `export const stylesheetSingleton = () => {
  let users = 0
  let sheet = null
  return {
    add(css) {
      if (users++ > 0) return
      sheet = new CSSStyleSheet()
      sheet.replaceSync(css)
      document.adoptedStyleSheets.push(sheet)
    },
    remove() {
      if (--users > 0 || !sheet) return
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet)
      sheet = null
    },
  }
}`,
  },
]

/**
 * Libraries that write `<style>` elements at run time adopt constructed sheets instead: the server's Content-Security-Policy
 * allows no inline style, and a constructed sheet is none.
 */
export function ownStyles(): Plugin {
  const done = new Set<Rewrite>()
  return {
    name: 'heimdall-own-styles',
    apply: 'build',
    enforce: 'pre',
    transform(code, id) {
      const rewrite = REWRITES.find(({ file }) => file.test(id))
      if (!rewrite) return
      if (!rewrite.found.test(code)) this.error(`${id} makes its styles in another way now; see scripts/own-styles.ts`)
      done.add(rewrite)
      const changed =
        typeof rewrite.put === 'string'
          ? code.replace(rewrite.found, () => rewrite.put as string)
          : code.replace(rewrite.found, rewrite.put)
      return { code: changed, map: null }
    },
    buildEnd(error) {
      if (error) return
      for (const { file } of REWRITES.filter((one) => !done.has(one)))
        this.error(`${file} was not built in; take it out of scripts/own-styles.ts`)
    },
  }
}
