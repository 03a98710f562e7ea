import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

/** Below this a file fits in one packet as it is. */
const FROM_BYTES = 1400

/** Writes each file of the build also as `.gz`; the engine hands that one out wherever a browser takes it. */
export function packed(): Plugin {
  let folder = 'dist'
  return {
    name: 'heimdall-packed',
    apply: 'build',
    configResolved(config) {
      folder = join(config.root, config.build.outDir)
    },
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        if (!/\.(js|css|html|svg)$/.test(name)) continue
        const bytes = readFileSync(join(folder, name))
        if (bytes.length >= FROM_BYTES) writeFileSync(join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }))
      }
    },
  }
}
