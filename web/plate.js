// Plate: the map of tiles as it lies in the view, and where everything around it goes. The page and the exported picture
// are painted by the same code, so they cannot disagree.

import { cover } from "./tiles.js";
import { sight, snap, toX, toY } from "./view.js";

/**
 * Everything that painting needs to know; what is painted depends on nothing else.
 *
 * @typedef {object} Scene
 * @property {import("./view.js").View} view
 * @property {number} level of the tiles that are shown
 * @property {import("./tiles.js").Tiles} tiles
 * @property {import("./scale.js").Ruler} ruler
 * @property {Uint8ClampedArray} rgba the ramp
 * @property {string} colours name of scale and theme together
 * @property {import("./palette.js").Theme} theme
 * @property {string} font family
 * @property {Readonly<import("./address.js").State>} state
 * @property {import("./app.js").App} app
 * @property {import("./cells.js").CellStore} cells
 * @property {import("./tracks.js").Series[]} series
 * @property {Layout} layout
 *
 * @typedef {import("./view.js").Rect} Rect
 * @typedef {object} Layout
 * @property {Rect} plot
 * @property {Rect} right tracks per query; without width where there is no room for them
 * @property {Rect} below the track per key
 * @property {Rect} legend
 * @property {number} width
 * @property {number} height
 * @property {number} left room of the axis at the left
 * @property {number} strip width of a track
 * @property {boolean} named whether tokens stand on the axes
 */

/** Below this width, as on a phone, there are no tracks right of the map, and the legend lies below it. */
const NARROW = 560;
const LEFT = { wide: 134, narrow: 112 };
/** Room above the map: for numbers, and for tokens that stand on end. */
const TOP = { numbers: 46, tokens: 68 };
const BELOW = 64;
const GAP = 10;
const EDGE = 14;
const LEGEND = 186;

/**
 * Where the parts of a plate lie: axes left and above, tracks right and below, the legend in the corner between.
 *
 * @param {number} width
 * @param {number} height
 * @param {number} perQuery tracks right of the map
 * @param {boolean} named whether tokens stand on the axes
 * @returns {Layout}
 */
export function layoutOf(width, height, perQuery, named) {
  const top = named ? TOP.tokens : TOP.numbers;
  const narrow = width < NARROW;
  const left = narrow ? LEFT.narrow : LEFT.wide;
  const strip = Math.max(width < 760 ? 42 : 56, Math.min(84, Math.floor(width / 14)));
  const right = narrow ? 0 : Math.max(perQuery * (strip + GAP), LEGEND);
  const plot = {
    x: left,
    y: top,
    width: Math.max(120, width - left - (narrow ? 0 : GAP + right) - EDGE),
    height: Math.max(120, height - top - (GAP + BELOW) * (narrow ? 2 : 1) - EDGE),
  };
  return { ...beside(plot, plot, right), width, height, left, strip: narrow ? 0 : right / perQuery - GAP, named };
}

/**
 * Tracks and legend along the edges of a map that does not fill its plot, so that they stay beside what they are about.
 *
 * @param {Layout} layout
 * @param {Rect} map
 * @returns {Layout}
 */
export const attached = (layout, map) => ({ ...layout, ...beside(layout.plot, map, layout.right.width) });

/** @param {Rect} plot @param {Rect} map @param {number} right */
function beside(plot, map, right) {
  const x = map.x + map.width + GAP;
  const y = map.y + map.height + GAP;
  return {
    plot,
    right: { x, y: plot.y, width: right, height: map.height },
    below: { x: plot.x, y, width: map.width, height: BELOW },
    legend: right ? { x: x + 6, y, width: right - 6, height: BELOW } : { x: plot.x, y: y + BELOW + GAP, width: plot.width, height: BELOW },
  };
}

/**
 * The part of the plot that is map, in CSS pixels on whole device pixels.
 *
 * @param {import("./view.js").View} view
 * @returns {Rect}
 */
export function extent(view) {
  const { plot } = view;
  const x0 = Math.max(plot.x, snap(view, toX(view, 0)));
  const y0 = Math.max(plot.y, snap(view, toY(view, 0)));
  const x1 = Math.min(plot.x + plot.width, snap(view, toX(view, view.columns)));
  const y1 = Math.min(plot.y + plot.height, snap(view, toY(view, view.rows)));
  return { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) };
}

/**
 * The tiles that a scene wants, the dearest first: a coarse cover of the whole sight, then its own level.
 *
 * @param {Pick<Scene, "view" | "level" | "tiles" | "app">} scene
 */
export function wishes({ view, level, tiles, app }) {
  const { tile, top } = app.tape;
  const seen = sight(view);
  const own = cover(seen, level, tile);
  const places = [];
  const known = (/** @type {import("./tiles.js").Place} */ at) => {
    for (let z = at.z; z <= top; z++) if (tiles.has({ z, y: at.y >> (z - at.z), x: at.x >> (z - at.z) })) return true;
    return false;
  };
  // Where not even an ancestor is at hand, a few coarse tiles come first: they cover everything at once.
  if (level < top && own.some((at) => !known(at))) places.push(...cover(seen, Math.min(top, level + 3), tile));
  return { own, places: [...places, ...own] };
}

/** @type {WeakMap<object, Map<string, CanvasPattern>>} */
const hatches = new WeakMap();

/**
 * Slanted lines for what was never computed, which is not a value of the ramp.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} paper
 * @param {string} ink
 * @param {number} ratio
 */
export function hatch(context, paper, ink, ratio) {
  const made = hatches.get(context) ?? new Map();
  hatches.set(context, made);
  const name = `${paper} ${ink} ${ratio}`;
  const known = made.get(name);
  if (known) return known;
  const side = Math.max(4, Math.round(7 * ratio));
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.fillStyle = paper;
  pen.fillRect(0, 0, side, side);
  pen.strokeStyle = ink;
  pen.lineWidth = Math.max(1, 0.9 * ratio);
  for (const shift of [-side, 0, side]) {
    pen.beginPath();
    pen.moveTo(shift - 1, side + 1);
    pen.lineTo(shift + side + 1, -1);
    pen.stroke();
  }
  const pattern = /** @type {CanvasPattern} */ (context.createPattern(canvas, "repeat"));
  made.set(name, pattern);
  return pattern;
}

/**
 * Paints the tiles in sight, and what stands in for those that are not there yet.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {import("./tiles.js").Place[]} own tiles of the view's level
 */
export function paintMap(context, scene, own) {
  const { view, tiles, theme, rgba, ruler, colours, app, state } = scene;
  const { ratio } = view;
  const { tile: side, top } = app.tape;
  const box = extent(view);
  const px = (/** @type {number} */ key) => Math.round(toX(view, key) * ratio);
  const py = (/** @type {number} */ row) => Math.round(toY(view, row) * ratio);
  const words = new Uint32Array(rgba.buffer);

  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.beginPath();
  context.rect(Math.round(box.x * ratio), Math.round(box.y * ratio), Math.round(box.width * ratio), Math.round(box.height * ratio));
  context.clip();
  context.fillStyle = theme.empty;
  context.fillRect(box.x * ratio, box.y * ratio, box.width * ratio, box.height * ratio);

  const lines = hatch(context, theme.paper, theme.hatch, ratio);
  // The hatch moves with the map, as if printed on it.
  lines.setTransform(new DOMMatrix().translate(px(0), py(0)));

  /**
   * Paints the part of a tile that lies in a square of the map.
   *
   * @param {import("./tiles.js").Tile} tile
   * @param {{k0: number, k1: number, q0: number, q1: number}} part
   */
  const draw = (tile, part) => {
    const cells = 2 ** tile.at.z;
    const left = tile.at.x * side * cells;
    const upper = tile.at.y * side * cells;
    const k0 = Math.max(part.k0, left);
    const k1 = Math.min(part.k1, left + tile.columns * cells);
    const q0 = Math.max(part.q0, upper);
    const q1 = Math.min(part.q1, upper + tile.rows * cells);
    if (k0 >= k1 || q0 >= q1) return;
    const x = px(k0);
    const y = py(q0);
    const width = px(k1) - x;
    const height = py(q1) - y;
    if (width <= 0 || height <= 0) return;
    if (tile.holes) {
      context.fillStyle = lines;
      context.fillRect(x, y, width, height);
    }
    if (tile.bare) return;
    const picture = tiles.picture(tile, ruler, colours, words);
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, (k0 - left) / cells, (q0 - upper) / cells, (k1 - k0) / cells, (q1 - q0) / cells, x, y, width, height);
  };

  const seen = sight(view);
  /** @type {{x: number, y: number}[]} */
  const sampled = [];
  for (const at of own) {
    const cells = 2 ** at.z;
    // Whole values only, and only those in sight: a cell may be as large as the screen.
    const part = {
      k0: Math.max(at.x * side * cells, Math.floor(seen.k0 / cells) * cells),
      k1: Math.min((at.x + 1) * side * cells, Math.ceil(seen.k1 / cells) * cells),
      q0: Math.max(at.y * side * cells, Math.floor(seen.q0 / cells) * cells),
      q1: Math.min((at.y + 1) * side * cells, Math.ceil(seen.q1 / cells) * cells),
    };
    const tile = tiles.get(at);
    if (tile?.sampled && !tile.bare) sampled.push({ x: Math.max(px(part.k0), Math.round(box.x * ratio)), y: Math.max(py(part.q0), Math.round(box.y * ratio)) });
    if (tile) {
      draw(tile, part);
      continue;
    }
    for (let z = at.z + 1; z <= top; z++) {
      const parent = tiles.get({ z, y: at.y >> (z - at.z), x: at.x >> (z - at.z) });
      if (!parent) continue;
      draw(parent, part);
      break;
    }
    for (const child of childrenOf(at)) {
      const finer = tiles.has(child) ? tiles.get(child) : undefined;
      if (finer) draw(finer, part);
    }
  }

  if (state.skip) {
    context.fillStyle = theme.left;
    context.fillRect(px(0), 0, Math.max(1, px(state.skip) - px(0)), context.canvas.height);
  }
  if (view.scale * 2 ** scene.level >= 10) rule(context, scene, px, py);
  if (state.grow && state.query !== null) {
    context.fillStyle = theme.veil;
    context.fillRect(0, py(state.query + 1), context.canvas.width, context.canvas.height);
  }
  labelSampled(context, scene, sampled);
  context.restore();

  context.strokeStyle = theme.rule;
  context.lineWidth = 1;
  context.strokeRect(box.x - 0.5, box.y - 0.5, box.width + 1, box.height + 1);
}

/**
 * Says in the corner of each sampled tile that it is.
 *
 * @param {CanvasRenderingContext2D} context in device pixels
 * @param {Scene} scene
 * @param {{x: number, y: number}[]} corners
 */
function labelSampled(context, { view, theme, font }, corners) {
  const { ratio } = view;
  context.font = `${11 * ratio}px ${font}`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  const width = context.measureText("sampled").width + 10 * ratio;
  for (const { x, y } of corners) {
    context.fillStyle = theme.paper;
    context.fillRect(x + 4 * ratio, y + 4 * ratio, width, 16 * ratio);
    context.fillStyle = theme.pin;
    context.fillText("sampled", x + 9 * ratio, y + 12.5 * ratio);
  }
}

/** @param {import("./tiles.js").Place} at */
function* childrenOf({ z, y, x }) {
  if (z === 0) return;
  for (const dy of [0, 1]) for (const dx of [0, 1]) yield { z: z - 1, y: 2 * y + dy, x: 2 * x + dx };
}

/**
 * Hair lines of paper between values that are large enough to be told apart: cells, or what is pooled of several where nothing
 * finer is held.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {(key: number) => number} px
 * @param {(row: number) => number} py
 */
function rule(context, { view, level, theme }, px, py) {
  const { q0, q1, k0, k1 } = sight(view);
  const cells = 2 ** level;
  context.fillStyle = theme.paper;
  context.globalAlpha = view.scale * cells >= 28 ? 0.9 : 0.45;
  for (let k = k0 - (k0 % cells); k <= k1; k += cells) context.fillRect(px(k), py(q0), 1, py(q1) - py(q0));
  for (let q = q0 - (q0 % cells); q <= q1; q += cells) context.fillRect(px(k0), py(q), px(k1) - px(k0), 1);
  context.globalAlpha = 1;
}
