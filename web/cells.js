// Cells: the products themselves, where single cells are in sight. Kept in blocks, asked for a moment after the view rests.

import { fitted } from "./axes.js";
import { number, visible } from "./dom.js";
import { inkOn } from "./palette.js";
import { aborted } from "./source.js";
import { sight, toX, toY } from "./view.js";

const SIDE = 64;
const MOST_BLOCKS = 48;
const REST = 70;
const PAUSE = 3000;

/** @typedef {{dot: number, score: number, weight: number}} Cell */

export class CellStore {
  /**
   * @param {import("./source.js").Source} source
   * @param {() => void} changed
   */
  constructor(source, changed) {
    this.source = source;
    this.changed = changed;
    /** @type {Map<string, import("./source.js").Cells | null>} null while it is being fetched */
    this.blocks = new Map();
    /** @type {Map<string, number>} */
    this.timers = new Map();
    /** @type {Set<AbortController>} */
    this.running = new Set();
  }

  /**
   * A cell, or null while it is not known.
   *
   * @param {number} layer
   * @param {number} head
   * @param {number} query
   * @param {number} key
   * @returns {Cell | null}
   */
  get(layer, head, query, key) {
    const q0 = query - (query % SIDE);
    const k0 = key - (key % SIDE);
    const block = this.blocks.get(`${layer}.${head}.${q0}.${k0}`);
    if (!block) return null;
    const at = (query - q0) * block.columns + (key - k0);
    return { dot: block.dots[at], score: block.scores[at], weight: block.weights[at] };
  }

  /**
   * Asks for the cells of a range, once nothing else was asked for the same reason for a moment.
   *
   * @param {"sight" | "point" | "pin"} why
   * @param {number} layer
   * @param {number} head
   * @param {{q0: number, q1: number, k0: number, k1: number}} range
   * @param {number} rows
   * @param {number} columns
   */
  want(why, layer, head, range, rows, columns) {
    /** @type {[number, number][]} */
    const missing = [];
    for (let q = range.q0 - (range.q0 % SIDE); q < range.q1; q += SIDE) {
      for (let k = range.k0 - (range.k0 % SIDE); k < range.k1; k += SIDE) if (!this.blocks.has(`${layer}.${head}.${q}.${k}`)) missing.push([q, k]);
    }
    if (!missing.length) return;
    clearTimeout(this.timers.get(why));
    const fetch = () => {
      for (const [q, k] of missing) void this.#fetch(layer, head, q, k, rows, columns);
    };
    this.timers.set(why, window.setTimeout(fetch, REST));
  }

  stop() {
    for (const timer of this.timers.values()) clearTimeout(timer);
    for (const request of this.running) request.abort();
  }

  /** @param {number} layer @param {number} head @param {number} q @param {number} k @param {number} rows @param {number} columns */
  async #fetch(layer, head, q, k, rows, columns) {
    const name = `${layer}.${head}.${q}.${k}`;
    if (this.blocks.has(name)) return;
    this.blocks.set(name, null);
    const stop = new AbortController();
    this.running.add(stop);
    try {
      const block = await this.source.cells(layer, head, q, Math.min(q + SIDE, rows), k, Math.min(k + SIDE, columns), stop.signal);
      this.blocks.set(name, block);
      for (const old of this.blocks.keys()) {
        if (this.blocks.size <= MOST_BLOCKS) break;
        this.blocks.delete(old);
      }
      this.changed();
    } catch (error) {
      // Left as not known, and not asked for again at once: a server that has stopped is not to be hammered.
      if (aborted(error)) this.blocks.delete(name);
      else setTimeout(() => this.blocks.delete(name), PAUSE);
    } finally {
      this.running.delete(stop);
    }
  }
}

/** Pixels from which a cell has room for its weight, for its product in full, and for its two tokens as well. */
export const ROOM = { weight: 34, product: 58, tokens: 104 };

/**
 * Writes into each cell what it is: the dot product, the score, the weight, and where there is room both tokens.
 *
 * @param {import("./axes.js").Pen} pen
 * @param {import("./plate.js").Scene} scene
 * @param {(row: number, key: number) => number | null} ground luminance of the colour under a cell, 0 to 1
 */
export function paintCells(pen, scene, ground) {
  const { view, state, cells, font, app } = scene;
  if (view.scale < ROOM.weight) return;
  const { q0, q1, k0, k1 } = sight(view);
  const { plot, scale } = view;
  pen.save();
  pen.beginPath();
  pen.rect(plot.x, plot.y, plot.width, plot.height);
  pen.clip();
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (let row = q0; row < q1; row++) {
    if (state.grow && state.query !== null && row > state.query) break;
    for (let key = k0; key < k1; key++) {
      const cell = cells.get(state.layer, state.head, row, key);
      if (!cell || Number.isNaN(cell.weight)) continue;
      const under = ground(row, key);
      pen.fillStyle = inkOn(under ?? 1);
      const x = toX(view, key + 0.5);
      const y = toY(view, row + 0.5);
      const room = scale - 3;
      if (scale < ROOM.product) {
        pen.font = `${scale < 44 ? 9.5 : 11}px ${font}`;
        pen.fillText(short(pen, "", cell.weight, 2, room), x, y);
        continue;
      }
      const size = Math.min(13, 10 + (scale - ROOM.product) / 40);
      pen.font = `${size}px ${font}`;
      const lines = [short(pen, "q\u00b7k ", cell.dot, 3, room), short(pen, "s ", cell.score, 3, room), short(pen, "p ", cell.weight, 3, room)];
      if (scale >= ROOM.tokens && app.tokens) lines.unshift(pair(pen, app.token(app.position(row)) ?? "", app.token(key) ?? "", room));
      const leading = size * 1.35;
      lines.forEach((line, index) => pen.fillText(line, x, y + (index - (lines.length - 1) / 2) * leading));
    }
  }
  pen.restore();
}

/** A number with as many digits, up to `most`, as fit behind a name. @param {import("./axes.js").Pen} pen @param {string} name @param {number} value @param {number} most @param {number} room */
function short(pen, name, value, most, room) {
  let text = "";
  for (let digits = most; digits > 0; digits--) {
    text = name + number(value, digits);
    if (pen.measureText(text).width <= room) break;
  }
  return text;
}

/** Who reads whom: what one token leaves of the room is the other's. @param {import("./axes.js").Pen} pen @param {string} reader @param {string} read @param {number} room */
function pair(pen, reader, read, room) {
  const arrow = " \u2192 ";
  const free = room - pen.measureText(arrow).width;
  const from = fitted(pen, reader, Math.max(free / 2, free - pen.measureText(visible(read, 40)).width));
  return from + arrow + fitted(pen, read, free - pen.measureText(from).width);
}
