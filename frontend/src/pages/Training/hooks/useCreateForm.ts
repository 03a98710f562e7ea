import { zodResolver } from '@hookform/resolvers/zod'
import { useEffect, useRef } from 'react'
import { type Resolver, useForm } from 'react-hook-form'
import { toApiError } from '@/api/client'
import type { Architecture, Dataset, TrainingJob, TrainingJobCreate } from '@/api/types'
import { randomKey } from '@/lib/download'
import { formSchema } from '@/lib/field-schema'
import {
  dropDraft,
  JOB_FIELDS,
  type JobField,
  type JobFormValues,
  keepDraft,
  readDraft,
  toFormValues,
} from '@/lib/job-form'
import { JOB_LIMITS } from '@/lib/limits'
import { useTrainingStore } from '@/stores/trainingStore'

const schema = formSchema(JOB_LIMITS)

/** The checked values as the engine takes them; null while something does not fit. */
export function toConfig(values: JobFormValues): TrainingJobCreate | null {
  const result = schema.safeParse(values)
  return result.success ? (result.data as unknown as TrainingJobCreate) : null
}

export function useCreateForm(from: TrainingJob | null, datasets: Dataset[], architectures: Architecture[]) {
  const createJob = useTrainingStore((state) => state.createJob)
  const form = useForm<JobFormValues>({
    defaultValues: from
      ? { ...toFormValues(from.config), job_name: `${from.name} again` }
      : { ...toFormValues({}), ...readDraft() },
    resolver: zodResolver(schema) as unknown as Resolver<JobFormValues>,
    mode: 'onTouched',
  })
  const { setValue, watch, getValues } = form
  const values = watch()

  // The first ready data set is a good guess; a guess never replaces a choice.
  const isKnown = datasets.some((dataset) => dataset.id === values.dataset_id)
  const firstReady = datasets.find((dataset) => dataset.status === 'ready')?.id
  useEffect(() => {
    if (!isKnown && firstReady) setValue('dataset_id', firstReady)
  }, [isKnown, firstReady, setValue])

  useSuggestedName(values, datasets, architectures, (name) => setValue('job_name', name))

  const isClone = from !== null
  useEffect(() => {
    if (!isClone) keepDraft(values)
  }, [isClone, values])

  // One key for one intention: pressing the button again after a lost answer returns the first job.
  const key = useRef(randomKey())
  const submit = async (): Promise<string | null> => {
    const config = toConfig(getValues())
    if (!config) return null
    try {
      const jobId = await createJob(config, key.current)
      dropDraft()
      return jobId
    } catch (error) {
      const fault = toApiError(error)
      key.current = fault.status === null ? key.current : randomKey()
      const field = fault.field?.split('.').at(-1) as JobField | undefined
      if (field && JOB_FIELDS.includes(field)) form.setError(field, { message: fault.message }, { shouldFocus: true })
      else form.setError('root', { message: fault.message })
      return null
    }
  }
  return { form, values, submit }
}

/** The name follows data set and network until the person writes one. */
function useSuggestedName(
  values: JobFormValues,
  datasets: Dataset[],
  architectures: Architecture[],
  apply: (name: string) => void,
): void {
  const suggested = useRef<string | null>(null)
  const dataset = datasets.find((one) => one.id === values.dataset_id)
  const isFree = values.job_name === '' || values.job_name === suggested.current
  const name =
    dataset && architectures.length > 0 ? `${dataset.name}, ${values.model_architecture}`.slice(0, 255) : null
  useEffect(() => {
    if (name === null || !isFree || suggested.current === name) return
    suggested.current = name
    apply(name)
  })
}
