const COPIED = [
  'stroke',
  'fill',
  'stroke-width',
  'stroke-dasharray',
  'opacity',
  'font-size',
  'font-family',
  'font-weight',
  'text-anchor',
]

/** Draws an SVG of the page as a PNG. Colours come from CSS variables, which a lone SVG does not see, so they are written in. */
export async function svgToPng(svg: SVGSVGElement, title: string, scale = 2): Promise<Blob> {
  const { width, height } = svg.getBoundingClientRect()
  const header = 32
  const copy = svg.cloneNode(true) as SVGSVGElement
  inlineStyles(svg, copy)
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  copy.setAttribute('width', String(width))
  copy.setAttribute('height', String(height))
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: 'image/svg+xml' }))
  try {
    const image = await loadImage(url)
    const canvas = document.createElement('canvas')
    canvas.width = width * scale
    canvas.height = (height + header) * scale
    const context = canvas.getContext('2d')
    if (!context) throw new Error('This browser cannot draw the picture.')
    const style = getComputedStyle(document.documentElement)
    context.scale(scale, scale)
    context.fillStyle = style.getPropertyValue('--card')
    context.fillRect(0, 0, width, height + header)
    context.fillStyle = style.getPropertyValue('--text')
    context.font = '600 14px system-ui, sans-serif'
    context.fillText(title, 14, 22)
    context.drawImage(image, 0, header, width, height)
    return await new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('The picture is empty.'))), 'image/png'),
    )
  } finally {
    URL.revokeObjectURL(url)
  }
}

function inlineStyles(source: Element, target: Element): void {
  const style = getComputedStyle(source)
  for (const name of COPIED) {
    const value = style.getPropertyValue(name)
    if (value) (target as SVGElement).style.setProperty(name, value)
  }
  for (let index = 0; index < source.children.length; index += 1) {
    const from = source.children[index]
    const to = target.children[index]
    if (from && to) inlineStyles(from, to)
  }
}

function loadImage(url: string): Promise<HTMLImageElement> {
  return new Promise((resolve, reject) => {
    const image = new Image()
    image.onload = () => resolve(image)
    image.onerror = () => reject(new Error('The chart could not be drawn as a picture.'))
    image.src = url
  })
}
