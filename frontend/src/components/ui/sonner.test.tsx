import { act, render, screen, waitFor } from '@testing-library/react'
import { toast } from 'sonner'
import { afterEach, expect, it, vi } from 'vitest'
import { tellError, tellSuccess } from '@/lib/notify'
import { ConfirmDialog } from './alert-dialog'
import { Toaster } from './sonner'

function showOn(isNarrow: boolean) {
  const told = matchMedia('')
  vi.spyOn(globalThis, 'matchMedia').mockImplementation((query) => ({
    ...told,
    matches: query.includes('max-width') === isNarrow,
  }))
  const page = (isOpen: boolean) => (
    <>
      <Toaster theme="light" />
      <ConfirmDialog
        open={isOpen}
        onOpenChange={() => undefined}
        title="Delete 5 jobs?"
        action="Delete"
        onConfirm={() => undefined}
      >
        Their curves are lost.
      </ConfirmDialog>
    </>
  )
  const { rerender } = render(page(false))
  return (isOpen: boolean) => rerender(page(isOpen))
}

const edgeOf = (text: string) =>
  screen.getByText(text).closest('[data-sonner-toaster]')?.getAttribute('data-y-position')

afterEach(() => {
  act(() => {
    toast.dismiss()
  })
  vi.restoreAllMocks()
})

it('on a phone a confirmation is clear of toasts: successes leave, errors stay at the upper edge', async () => {
  const setOpen = showOn(true)
  act(() => {
    tellSuccess('5 jobs resumed')
    tellError('Not done', new Error('Somebody was faster.'))
  })
  await screen.findByText('5 jobs resumed')
  expect(edgeOf('Not done')).toBe('bottom')
  setOpen(true)
  await waitFor(() => expect(screen.queryByText('5 jobs resumed')).toBeNull())
  expect(edgeOf('Not done')).toBe('top')
  act(() => tellSuccess('Told late'))
  await screen.findByText('Told late')
  expect(edgeOf('Told late')).toBe('top')
  setOpen(false)
  await waitFor(() => expect(edgeOf('Not done')).toBe('bottom'))
})

it('on a wide screen, where no dialog reaches them, toasts stay', async () => {
  const setOpen = showOn(false)
  act(() => tellSuccess('5 jobs paused'))
  await screen.findByText('5 jobs paused')
  setOpen(true)
  await screen.findByRole('alertdialog')
  expect(edgeOf('5 jobs paused')).toBe('bottom')
  expect(toast.getToasts()).toHaveLength(1)
})
