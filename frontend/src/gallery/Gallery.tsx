import { useState } from 'react'
import { useParams } from 'react-router'
import TrainingPage from '@/pages/Training'
import { resetTrainingStore } from '@/stores/trainingStore'
import { STATES } from './states'
import { installFixtures } from './transport'

/** Every tab in every state, from fixtures: for screenshots and for eyes. */
export default function Gallery() {
  const { state } = useParams()
  const found = STATES.find((one) => one.id === state)
  if (!found) return <Contents />
  return <Shown key={found.id} index={STATES.indexOf(found)} />
}

function Shown({ index }: { index: number }) {
  // Before the page's first effect, or its first request would reach the real engine.
  useState(() => {
    const state = STATES[index]
    if (!state) return
    resetTrainingStore()
    installFixtures(state.data())
  })
  return <TrainingPage />
}

function Contents() {
  return (
    <main className="mx-auto max-w-3xl px-6 py-8">
      <h1 className="text-xl font-semibold">Gallery</h1>
      <p className="mt-1 text-muted">Every state of the Training page, drawn from fixtures.</p>
      <ul className="mt-4 grid gap-1 sm:grid-cols-2">
        {STATES.map(({ id, name, query }) => (
          <li key={id}>
            {/* A full load, so that nothing of one state reaches the next. */}
            <a
              className="block rounded-control px-3 py-2 hover:bg-subtle"
              href={`/gallery/${id}${query ? `?${query}` : ''}`}
            >
              {name}
            </a>
          </li>
        ))}
      </ul>
    </main>
  )
}
