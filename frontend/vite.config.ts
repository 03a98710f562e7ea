import { fileURLToPath } from 'node:url'
import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { firstPaint } from './scripts/first-paint.ts'
import { ownStyles } from './scripts/own-styles.ts'
import { packed } from './scripts/packed.ts'

const engine = 'http://127.0.0.1:8001'

export default defineConfig({
  plugins: [react(), tailwindcss(), ownStyles(), firstPaint(), packed()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  server: {
    proxy: {
      '/api': engine,
      '/health': engine,
      '/metrics': engine,
      '/ws': { target: engine, ws: true },
    },
  },
  build: { outDir: 'dist', target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
  test: {
    environment: 'jsdom',
    environmentOptions: { jsdom: { url: 'http://localhost:3000/' } },
    setupFiles: ['./src/test/setup.ts'],
    restoreMocks: true,
    testTimeout: 40_000,
  },
})
