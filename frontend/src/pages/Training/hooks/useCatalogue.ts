import { useEffect } from 'react'
import { create } from 'zustand'
import { type ApiError, toApiError } from '@/api/client'
import { listArchitectures, listDatasets } from '@/api/training'
import type { Architecture, Dataset } from '@/api/types'

interface Catalogue {
  architectures: Architecture[]
  datasets: Dataset[]
  error: ApiError | null
  isLoaded: boolean
  load(): Promise<void>
}

export const useCatalogueStore = create<Catalogue>()((set) => ({
  architectures: [],
  datasets: [],
  error: null,
  isLoaded: false,
  async load() {
    try {
      const [architectures, datasets] = await Promise.all([listArchitectures(), listDatasets()])
      set({ architectures, datasets, isLoaded: true, error: null })
    } catch (error) {
      set({ error: toApiError(error) })
    }
  },
}))

/** What the two dropdowns offer, and the names behind the ids on cards. */
export function useCatalogue(): Catalogue {
  const catalogue = useCatalogueStore()
  const { load } = catalogue
  useEffect(() => {
    void load()
  }, [load])
  return catalogue
}

/** Data sets asked after already: one that is gone is not asked for again. */
const askedAbout = new Set<string>()

/** A data set made after the list was fetched: the list is fetched again, once for each. */
function askAbout(datasetId: string): void {
  if (askedAbout.has(datasetId)) return
  askedAbout.add(datasetId)
  void useCatalogueStore.getState().load()
}

/** A data set's name for display; until it is known (or when it is gone) its id says which one it was. */
export function useDatasetName(datasetId: string | null | undefined): string {
  const name = useCatalogueStore((state) => state.datasets.find((dataset) => dataset.id === datasetId)?.name)
  const isUnknown = useCatalogueStore((state) => state.isLoaded) && name === undefined
  useEffect(() => {
    if (isUnknown && datasetId) askAbout(datasetId)
  }, [isUnknown, datasetId])
  return name ?? (datasetId ? `data set ${datasetId.slice(0, 8)}` : 'unknown data set')
}
