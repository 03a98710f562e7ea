/** The engine writes for terminals too, with straight quotes; the page has one kind. Apostrophes stay apostrophes. */
export function inPageQuotes(text: string): string {
  return text
    .replace(/(?<=\w)'(?=\w)/g, '’')
    .replace(/(^|[\s(])'([^'\n]+)'(?=[\s.,:;!?)]|$)/g, '$1“$2”')
    .replace(/(^|[\s(])"([^"\n]+)"(?=[\s.,:;!?)]|$)/g, '$1“$2”')
}

/** `external_data` -> "External data". */
export function inWords(name: string): string {
  const words = name.replaceAll('_', ' ').replace(/\bonnx\b/i, 'ONNX')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
