// A pen that writes SVG: it knows what axes, tracks and legend draw with, and nothing more.

/** @param {string} text */
const escaped = (text) =>
  // Characters that XML cannot hold at all are shown as what they are: unknown.
  text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd").replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** @param {number} value */
const short = (value) => String(Math.round(value * 100) / 100);

const ANCHOR = /** @type {const} */ ({ left: "start", right: "end", center: "middle", start: "start", end: "end" });

/** The subset of a canvas context that lookbehind's plates draw with. */
export class SvgPen {
  /** @param {number} width @param {number} height @param {CanvasRenderingContext2D} ruler measures text */
  constructor(width, height, ruler) {
    this.width = width;
    this.height = height;
    this.ruler = ruler;
    /** @type {string[]} */
    this.out = [];
    /** @type {string[]} what each open group is closed by */
    this.groups = [];
    this.path = "";
    this.clips = 0;
    this.font = "11px sans-serif";
    this.fillStyle = /** @type {string | CanvasGradient | CanvasPattern} */ ("#000");
    this.strokeStyle = /** @type {string | CanvasGradient | CanvasPattern} */ ("#000");
    this.lineWidth = 1;
    this.globalAlpha = 1;
    this.textAlign = /** @type {CanvasTextAlign} */ ("left");
    this.textBaseline = /** @type {CanvasTextBaseline} */ ("alphabetic");
  }

  save() {
    this.groups.push("");
  }

  restore() {
    this.out.push(this.groups.pop() ?? "");
  }

  /** @param {string} attributes */
  #open(attributes) {
    this.out.push(`<g ${attributes}>`);
    if (this.groups.length) this.groups[this.groups.length - 1] += "</g>";
  }

  /** @param {number} x @param {number} y */
  translate(x, y) {
    this.#open(`transform="translate(${short(x)} ${short(y)})"`);
  }

  /** @param {number} angle */
  rotate(angle) {
    this.#open(`transform="rotate(${short((angle * 180) / Math.PI)})"`);
  }

  clip() {
    const id = `c${this.clips++}`;
    this.out.push(`<clipPath id="${id}"><path d="${this.path}"/></clipPath>`);
    this.#open(`clip-path="url(#${id})"`);
  }

  /** @param {string} text */
  measureText(text) {
    this.ruler.font = this.font;
    return this.ruler.measureText(text);
  }

  /** @param {string} text @param {number} x @param {number} y */
  fillText(text, x, y) {
    const [, size, family] = /** @type {RegExpMatchArray} */ (this.font.match(/^([\d.]+)px (.*)$/));
    const shift = this.textBaseline === "middle" ? Number(size) * 0.35 : 0;
    this.out.push(
      `<text x="${short(x)}" y="${short(y + shift)}" font-family="${escaped(family)}" font-size="${size}" text-anchor="${ANCHOR[this.textAlign]}" fill="${escaped(String(this.fillStyle))}" xml:space="preserve">${escaped(text)}</text>`,
    );
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h */
  fillRect(x, y, w, h) {
    this.out.push(`<rect x="${short(x)}" y="${short(y)}" width="${short(Math.max(0, w))}" height="${short(Math.max(0, h))}" fill="${this.fillStyle}"/>`);
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h */
  strokeRect(x, y, w, h) {
    this.out.push(`<rect x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"/>`);
  }

  beginPath() {
    this.path = "";
  }

  /** @param {number} x @param {number} y */
  moveTo(x, y) {
    this.path += `M${short(x)} ${short(y)}`;
  }

  /** @param {number} x @param {number} y */
  lineTo(x, y) {
    this.path += `L${short(x)} ${short(y)}`;
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h */
  rect(x, y, w, h) {
    this.path += `M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}z`;
  }

  closePath() {
    this.path += "z";
  }

  fill() {
    this.out.push(`<path d="${this.path}" fill="${this.fillStyle}"/>`);
  }

  stroke() {
    this.out.push(`<path d="${this.path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"/>`);
  }

  /** @param {string} address of a picture, as data @param {import("./view.js").Rect} box */
  picture(address, box) {
    this.out.push(`<image href="${address}" x="${short(box.x)}" y="${short(box.y)}" width="${short(box.width)}" height="${short(box.height)}" style="image-rendering: pixelated"/>`);
  }

  /** @param {string} title */
  text(title) {
    return `<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}" role="img">\n<title>${escaped(title)}</title>\n${this.out.filter(Boolean).join("\n")}\n</svg>\n`;
  }
}
