import type { TrainedModelDetail } from '@/api/types'
import { formatMetres } from '@/lib/format'

/** The model's error beside the classical methods on the same examples. */
export function BaselineTable({ model }: { model: TrainedModelDetail }) {
  const final = model.final_metrics
  if (final.val_error_median_m === null && model.baselines.length === 0) return null
  const own = {
    id: 'own',
    name: 'This model',
    error_median_m: final.val_error_median_m,
    error_p68_m: final.val_error_p68_m,
    error_p95_m: final.val_error_p95_m,
    reason: null,
  }
  const limit = model.physical_limit
  const rows = [
    own,
    ...model.baselines,
    ...(limit ? [{ ...limit, id: 'limit', name: 'Physical limit', reason: null }] : []),
  ]
  return (
    <table className="mt-3 w-full text-right text-sm">
      <thead>
        <tr className="border-b text-muted">
          <th scope="col" className="w-full py-1 text-left font-medium">
            Error
          </th>
          {['median', '68 %', '95 %'].map((name) => (
            <th key={name} scope="col" className="py-1 pl-3 font-medium whitespace-nowrap">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.id} className={row.id === 'own' ? 'border-b font-semibold' : 'border-b'}>
            <th scope="row" className="py-1 text-left font-[inherit]">
              {row.name}
            </th>
            {row.reason ? (
              <td colSpan={3} className="py-1 pl-3 text-muted">
                {row.reason}
              </td>
            ) : (
              [row.error_median_m, row.error_p68_m, row.error_p95_m].map((error_m, index) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: three fixed columns
                <td key={index} className="py-1 pl-3 whitespace-nowrap">
                  {formatMetres(error_m)}
                </td>
              ))
            )}
          </tr>
        ))}
      </tbody>
      {limit && <caption className="caption-bottom pt-2 text-left text-xs text-muted">{limit.assumptions}</caption>}
    </table>
  )
}

export function TensorTable({ title, tensors }: { title: string; tensors: TrainedModelDetail['inputs'] }) {
  if (tensors.length === 0) return null
  return (
    <div className="mt-4">
      <h4 className="mb-1 text-sm font-medium">{title}</h4>
      <ul className="flex flex-col gap-1.5">
        {tensors.map((tensor) => (
          <li key={tensor.name} className="text-sm">
            <code className="font-mono text-xs">
              {tensor.name}: {tensor.dtype}[{tensor.shape.join(', ')}]
            </code>
            <p className="text-xs text-muted">{[tensor.meaning, tensor.unit].filter(Boolean).join(', ')}</p>
          </li>
        ))}
      </ul>
    </div>
  )
}
