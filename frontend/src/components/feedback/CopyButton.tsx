import { Check, Copy } from 'lucide-react'
import { useEffect, useState } from 'react'
import { Button } from '@/components/ui/button'
import { copyText } from '@/lib/download'

interface CopyButtonProps {
  text: string
  label: string
  /** Shown beside the icon; without it the label is for screen readers only. */
  children?: string
}

export function CopyButton({ text, label, children }: CopyButtonProps) {
  const [isCopied, setCopied] = useState(false)
  useEffect(() => {
    if (!isCopied) return
    const timer = setTimeout(() => setCopied(false), 1500)
    return () => clearTimeout(timer)
  }, [isCopied])
  const copy = async () => {
    await copyText(text)
    setCopied(true)
  }
  const icon = isCopied ? <Check /> : <Copy />
  return children ? (
    <Button size="sm" onClick={copy}>
      {icon} {isCopied ? 'Copied' : children}
    </Button>
  ) : (
    <Button variant="ghost" size="icon" aria-label={isCopied ? 'Copied' : label} onClick={copy}>
      {icon}
    </Button>
  )
}
