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

export interface PictureText {
  title: string
  /** Quieter, below the title: of which runs. */
  caption: string
  legend: readonly { name: string; color: string; dash?: string }[]
}

const MARGIN = 14
const LINE_HEIGHT = 20
const FONT = 'system-ui, sans-serif'

/** Draws an SVG of the page as a PNG. Colours come from CSS variables, which a lone SVG does not see, so they are written in. */
export async function svgToPng(svg: SVGSVGElement, text: PictureText, scale = 2): Promise<Blob> {
  const { width, height } = svg.getBoundingClientRect()
  const copy = svg.cloneNode(true) as SVGSVGElement
  inlineStyles(svg, copy)
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  copy.setAttribute('width', String(width))
  copy.setAttribute('height', String(height))
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: 'image/svg+xml' }))
  try {
    const image = await loadImage(url)
    const canvas = document.createElement('canvas')
    const context = canvas.getContext('2d')
    if (!context) throw new Error('This browser cannot draw the picture.')
    // Measured first: the legend may need several lines, and a canvas is emptied by a change of its size.
    const header = drawHeader(context, text, width)
    canvas.width = width * scale
    canvas.height = (height + header) * scale
    context.scale(scale, scale)
    context.fillStyle = colorOf('var(--card)')
    context.fillRect(0, 0, width, height + header)
    drawHeader(context, text, width)
    context.drawImage(image, 0, header, width, height)
    return await new Promise((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('The picture is empty.'))), 'image/png'),
    )
  } finally {
    URL.revokeObjectURL(url)
  }
}

/** Title, runs and legend, wrapped to the width; returns how high they are. */
function drawHeader(context: CanvasRenderingContext2D, { title, caption, legend }: PictureText, width: number): number {
  context.setLineDash([])
  context.fillStyle = colorOf('var(--text)')
  context.font = `600 14px ${FONT}`
  context.fillText(title, MARGIN, 22)
  context.font = `13px ${FONT}`
  context.fillStyle = colorOf('var(--muted)')
  let y = 22
  if (caption) {
    y += LINE_HEIGHT
    context.fillText(caption, MARGIN, y, width - 2 * MARGIN)
  }
  let x = MARGIN
  y += LINE_HEIGHT
  for (const { name, color, dash } of legend) {
    const length = 32 + context.measureText(name).width
    if (x > MARGIN && x + length > width - MARGIN) {
      x = MARGIN
      y += LINE_HEIGHT
    }
    context.strokeStyle = colorOf(color)
    context.lineWidth = 2.5
    context.setLineDash(dash ? dash.split(' ').map(Number) : [])
    context.beginPath()
    context.moveTo(x, y - 4)
    context.lineTo(x + 18, y - 4)
    context.stroke()
    context.fillText(name, x + 24, y)
    x += length + 16
  }
  return y + 12
}

/** A canvas knows no CSS variables. */
function colorOf(color: string): string {
  const name = /^var\((--[\w-]+)\)$/.exec(color)?.[1]
  return name ? getComputedStyle(document.documentElement).getPropertyValue(name) : color
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
