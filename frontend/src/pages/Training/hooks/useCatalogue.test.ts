import { renderHook, waitFor } from '@testing-library/react'
import { beforeEach, expect, it, vi } from 'vitest'
import * as api from '@/api/training'
import type { Dataset } from '@/api/types'
import { useCatalogueStore, useDatasetName } from './useCatalogue'

vi.mock('@/api/training')

beforeEach(() => {
  vi.clearAllMocks()
  vi.mocked(api.listArchitectures).mockResolvedValue([])
  useCatalogueStore.setState({ datasets: [], isLoaded: true })
})

it('fetches the list again for a data set that was made after it', async () => {
  vi.mocked(api.listDatasets).mockResolvedValue([{ id: 'made-later', name: 'Harbour' } as Dataset])
  const { result } = renderHook(() => useDatasetName('made-later'))
  expect(result.current).toBe('data set made-lat')
  await waitFor(() => expect(result.current).toBe('Harbour'))
  expect(api.listDatasets).toHaveBeenCalledTimes(1)
})

it('asks once for one that is gone, however many cards name it', async () => {
  vi.mocked(api.listDatasets).mockResolvedValue([])
  for (let card = 0; card < 3; card++) {
    const { result } = renderHook(() => useDatasetName('gone'))
    await waitFor(() => expect(useCatalogueStore.getState().isLoaded).toBe(true))
    expect(result.current).toBe('data set gone')
  }
  expect(api.listDatasets).toHaveBeenCalledTimes(1)
})
