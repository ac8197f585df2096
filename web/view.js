// View: which part of the map lies in which part of the screen. All of it is arithmetic; nothing here draws.

/**
 * A rectangle of the screen, in CSS pixels.
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Rect
 *
 * @typedef {object} View
 * @property {Rect} plot where the map is drawn
 * @property {number} x key in the middle of the plot
 * @property {number} y query row in the middle of the plot
 * @property {number} scale pixels per cell
 * @property {number} ratio device pixels per CSS pixel
 * @property {number} rows query rows of the map
 * @property {number} columns keys of the map
 */

export const LARGEST_CELL = 168;

/** Where a key's left edge lies. @param {View} view @param {number} key */
export const toX = (view, key) => view.plot.x + view.plot.width / 2 + (key - view.x) * view.scale;

/** Where a query row's upper edge lies. @param {View} view @param {number} row */
export const toY = (view, row) => view.plot.y + view.plot.height / 2 + (row - view.y) * view.scale;

/** Key (with fraction) at a place of the screen. @param {View} view @param {number} x */
export const keyAt = (view, x) => view.x + (x - view.plot.x - view.plot.width / 2) / view.scale;

/** Query row (with fraction) at a place of the screen. @param {View} view @param {number} y */
export const rowAt = (view, y) => view.y + (y - view.plot.y - view.plot.height / 2) / view.scale;

/** On a whole device pixel: edges of tiles, cells and tracks all meet there. @param {View} view @param {number} at */
export const snap = (view, at) => Math.round(at * view.ratio) / view.ratio;

/** The scale at which the whole map is in sight. @param {Rect} plot @param {number} rows @param {number} columns */
export const wholeScale = (plot, rows, columns) => Math.min(LARGEST_CELL, plot.width / columns, plot.height / rows);

/**
 * The level whose values are at least one device pixel large: nothing is ever thinned out by drawing.
 *
 * @param {View} view
 * @param {number} top
 */
export const levelOf = (view, top) => Math.min(top, Math.max(0, Math.ceil(-Math.log2(view.scale * view.ratio) - 1e-9)));

/**
 * Rows and keys in sight, as half-open ranges of whole cells.
 *
 * @param {View} view
 */
export function sight(view) {
  const { plot, rows, columns } = view;
  return {
    q0: Math.max(0, Math.floor(rowAt(view, plot.y))),
    q1: Math.min(rows, Math.ceil(rowAt(view, plot.y + plot.height))),
    k0: Math.max(0, Math.floor(keyAt(view, plot.x))),
    k1: Math.min(columns, Math.ceil(keyAt(view, plot.x + plot.width))),
  };
}

/**
 * The view that a state asks for, kept within the map: no nearer than single cells, no farther than all of it, and
 * never with the map out of sight.
 *
 * @param {{x: number | null, y: number | null, z: number | null}} state
 * @param {Rect} plot
 * @param {number} ratio
 * @param {number} rows
 * @param {number} columns
 * @returns {View}
 */
export function viewOf({ x, y, z }, plot, ratio, rows, columns) {
  const whole = wholeScale(plot, rows, columns);
  const scale = z === null ? whole : Math.min(LARGEST_CELL, Math.max(whole, 2 ** -z));
  const middle = (/** @type {number | null} */ at, /** @type {number} */ length, /** @type {number} */ pixels) => {
    const half = pixels / scale / 2;
    return length <= 2 * half ? length / 2 : Math.min(Math.max(at ?? length / 2, half), length - half);
  };
  // What fits whole is put against the axes, not floated in the middle.
  const cx = columns * scale <= plot.width ? plot.width / scale / 2 : middle(x, columns, plot.width);
  const cy = rows * scale <= plot.height ? plot.height / scale / 2 : middle(y, rows, plot.height);
  return { plot, x: cx, y: cy, scale, ratio, rows, columns };
}

/**
 * Round numbers for an axis: at multiples of 1, 2 or 5 times a power of ten, at least `gap` pixels apart.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} scale pixels per cell
 * @param {number} gap
 */
export function marks(from, to, scale, gap) {
  const raw = Math.max(1, gap / scale);
  const decade = 10 ** Math.floor(Math.log10(raw));
  const step = /** @type {number} */ ([1, 2, 5, 10].map((f) => f * decade).find((s) => s >= raw - 1e-9));
  const found = [];
  for (let at = Math.ceil(from / step) * step; at < to; at += step) found.push(at);
  return found;
}
