// Looks: rows and columns of weights, placed along the text, and the shades they are drawn in.

import { STEPS, inkOn, luminance, ramp } from "./palette.js";
import { nice } from "./scale.js";

/**
 * A row (what a query reads) or a column (what reads a key) of one head.
 *
 * @typedef {object} Choice
 * @property {number} layer
 * @property {number} head
 * @property {"row" | "column"} kind
 * @property {number} at the query row, or the key
 *
 * Its weights by position in the text, NaN where nothing was computed; the ends of the scale that shows them; and
 * where the largest are.
 * @typedef {{values: Float32Array, low: number, high: number, largest: number[]}} Look
 */

const KEPT = 24; // one of 131,072 keys is half a megabyte
const SHADES = 48;
const DECADES = 4; // the most that a scale spans
const SAMPLE = 4096; // weights that the low end is fitted to
const NAMED = 3; // of the largest weights

/** @param {Choice} choice */
export const nameOf = ({ layer, head, kind, at }) => `${layer}/${head}/${kind}/${at}`;

/** The rows and columns asked for lately. */
export class Looks {
  /**
   * @param {import("./source.js").Source} source
   * @param {number} length positions of the text
   * @param {number} offset position of query row 0
   */
  constructor(source, length, offset) {
    this.source = source;
    this.length = length;
    this.offset = offset;
    /** @type {Map<string, Promise<Look>>} */
    this.kept = new Map();
  }

  /** @param {Choice} choice @returns {Promise<Look>} */
  get(choice) {
    const name = nameOf(choice);
    const known = this.kept.get(name);
    if (known) return known;
    const made = this.#ask(choice);
    this.kept.set(name, made);
    made.catch(() => this.kept.delete(name));
    for (const old of this.kept.keys()) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(old);
    }
    return made;
  }

  /** @param {Choice} choice @returns {Promise<Look>} */
  async #ask({ layer, head, kind, at }) {
    const values = await this.source[kind](layer, head, at);
    const first = kind === "row" ? 0 : this.offset;
    const placed = new Float32Array(this.length).fill(NaN);
    placed.set(values.subarray(0, this.length - first), first);
    return { values: placed, ...fitted(placed), largest: largest(placed) };
  }
}

/**
 * The ends of the logarithmic scale that tells weights apart: a round number at or above the largest, and a power of
 * ten below all but the smallest of them.
 *
 * @param {Float32Array} values
 */
export function fitted(values) {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  const high = nice(most || 1);
  const every = Math.max(1, Math.floor(values.length / SAMPLE));
  const some = values.filter((value, at) => at % every === 0 && value > 0).sort();
  const small = some.length ? some[Math.floor(some.length / 20)] : 0;
  const low = small > 0 ? 10 ** Math.floor(Math.log10(small) + 1e-6) : 0;
  return { low: Math.min(Math.max(low, high / 10 ** DECADES), high / 10), high };
}

/** Where the largest weights are, the largest first. @param {Float32Array} values */
export function largest(values) {
  /** @type {number[]} */
  const found = [];
  values.forEach((value, at) => {
    if (!(value > (found.length < NAMED ? 0 : values[found[NAMED - 1]]))) return;
    found.splice(NAMED - 1, 1);
    found.splice(found.filter((one) => values[one] >= value).length, 0, at);
  });
  return found;
}

/** The shade of a weight. @param {Look} look @param {number} value */
export function shadeOf({ low, high }, value) {
  if (value <= low) return 0;
  return Math.round(Math.min(1, Math.log(value / low) / Math.log(high / low)) * (SHADES - 1));
}

/** The colours behind and of the text, by shade. @param {boolean} dark */
export function inks(dark) {
  const rgba = ramp(dark);
  const paper = [];
  const ink = [];
  for (let shade = 0; shade < SHADES; shade++) {
    const at = Math.round((shade / (SHADES - 1)) * (STEPS - 1));
    paper.push(`rgb(${rgba[4 * at]}, ${rgba[4 * at + 1]}, ${rgba[4 * at + 2]})`);
    ink.push(inkOn(luminance(rgba, at)));
  }
  return { paper, ink };
}
