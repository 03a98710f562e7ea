// Screenshots of the gallery: node scripts/shots.mjs [base] [state,state] [width,width] [theme,theme]
import { mkdirSync } from 'node:fs'
import { chromium } from 'playwright-core'

const [base = 'http://127.0.0.1:4173', states = 'jobs', widths = '1440,360', themes = 'light,dark'] =
  process.argv.slice(2)
const folder = new URL('../shots/', import.meta.url).pathname
mkdirSync(folder, { recursive: true })
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
})
let faults = 0
for (const theme of themes.split(','))
  for (const width of widths.split(',').map(Number)) {
    const context = await browser.newContext({
      viewport: { width, height: width < 600 ? 780 : 900 },
      colorScheme: theme,
      hasTouch: width < 600,
    })
    const page = await context.newPage()
    page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return
      faults += 1
      console.log(`${message.type()}: ${message.text()}`)
    })
    page.on('pageerror', (error) => {
      faults += 1
      console.log(`page error: ${error.message}`)
    })
    for (const entry of states.split(',')) {
      const [state, full] = entry.split('!')
      await page.goto(`${base}/gallery`)
      const href = await page.locator(`a[href="/gallery/${state}"], a[href^="/gallery/${state}?"]`).getAttribute('href')
      await page.goto(`${base}${href}`)
      await page.waitForTimeout(900)
      await page.screenshot({ path: `${folder}${state}-${width}-${theme}.png`, fullPage: full === 'full' })
    }
    await context.close()
  }
await browser.close()
console.log(`${faults} console errors or warnings`)
process.exit(faults === 0 ? 0 : 1)
