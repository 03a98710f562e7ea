import { Controller, type FieldErrors, type UseFormReturn } from 'react-hook-form'
import type { Dataset } from '@/api/types'
import { Field } from '@/components/ui/field'
import { Fold } from '@/components/ui/fold'
import { Input } from '@/components/ui/input'
import { Select, SelectContent, SelectItem, SelectTrigger, SelectValue } from '@/components/ui/select'
import type { JobField, JobFormValues } from '@/lib/job-form'
import { describeField, JOB_LIMITS } from '@/lib/limits'

interface FormFieldProps {
  name: JobField
  label: string
  form: UseFormReturn<JobFormValues>
  error: string | undefined
}

export function InputField({
  name,
  label,
  form,
  error,
  ...input
}: FormFieldProps & { autoFocus?: boolean; placeholder?: string }) {
  const isNumber = JOB_LIMITS[name].type !== 'string'
  return (
    <Field label={label} help={name === 'job_name' ? undefined : describeField(JOB_LIMITS[name])} error={error}>
      <Input
        {...form.register(name)}
        {...input}
        inputMode={isNumber ? 'decimal' : 'text'}
        autoComplete="off"
        required={JOB_LIMITS[name].required}
      />
    </Field>
  )
}

export interface Choice {
  value: string
  label: string
  note?: string
  isDisabled?: boolean
}

export function ChoiceField({
  name,
  label,
  form,
  error,
  choices,
  placeholder,
}: FormFieldProps & { choices: Choice[]; placeholder?: string }) {
  return (
    <Controller
      control={form.control}
      name={name}
      render={({ field }) => (
        <Field label={label} help={choices.find((choice) => choice.value === field.value)?.note} error={error}>
          <ChoiceSelect value={field.value} onChange={field.onChange} choices={choices} placeholder={placeholder} />
        </Field>
      )}
    />
  )
}

interface ChoiceSelectProps {
  value: string
  onChange: (value: string) => void
  choices: Choice[]
  placeholder: string | undefined
  id?: string
  'aria-describedby'?: string
  'aria-invalid'?: boolean
}

/** Passes the ids of `Field` on to the trigger, which is what a label must point at. */
function ChoiceSelect({ value, onChange, choices, placeholder, ...aria }: ChoiceSelectProps) {
  return (
    <Select value={value} onValueChange={onChange}>
      <SelectTrigger {...aria}>
        <SelectValue placeholder={placeholder} />
      </SelectTrigger>
      <SelectContent>
        {choices.map((choice) => (
          <SelectItem key={choice.value} value={choice.value} note={choice.note} disabled={choice.isDisabled ?? false}>
            {choice.label}
          </SelectItem>
        ))}
      </SelectContent>
    </Select>
  )
}

const NUMBERS: [JobField, string][] = [
  ['seed', 'Seed'],
  ['validation_fold', 'Validation fold'],
  ['weight_decay', 'Weight decay'],
  ['max_grad_norm', 'Largest gradient norm'],
  ['accuracy_radius_m', 'Accuracy radius (m)'],
]

const CHOICES: [JobField, string][] = [
  ['optimizer', 'Optimizer'],
  ['lr_scheduler', 'Learning rate schedule'],
  ['device', 'Device'],
  ['precision', 'Precision'],
]

interface AdvancedProps {
  form: UseFormReturn<JobFormValues>
  errors: FieldErrors<JobFormValues>
  dataset: Dataset | undefined
}

export function AdvancedFields({ form, errors, dataset }: AdvancedProps) {
  const hasError = [...NUMBERS, ...CHOICES].some(([name]) => errors[name])
  const radius = dataset?.accuracy_radius_m
  return (
    <Fold title="Advanced" open={hasError || undefined}>
      <div className="grid grid-cols-1 gap-4 px-3 pb-4 sm:grid-cols-3">
        {CHOICES.map(([name, label]) => (
          <ChoiceField
            key={name}
            name={name}
            label={label}
            form={form}
            error={errors[name]?.message}
            choices={(JOB_LIMITS[name].options ?? []).map((value) => ({
              value,
              label: value,
              note: JOB_LIMITS[name].help,
            }))}
          />
        ))}
        {NUMBERS.map(([name, label]) => (
          <InputField
            key={name}
            name={name}
            label={label}
            form={form}
            error={errors[name]?.message}
            {...(name === 'accuracy_radius_m' && radius ? { placeholder: `${radius}, from the data set` } : {})}
          />
        ))}
      </div>
    </Fold>
  )
}
