// Tiles: what is in sight is asked for, in one request, from the middle outwards; what is out of sight is no longer
// wanted. The cache is bounded, and knows for any tile what can stand in for it until it arrives.

import { colourTable, HALF } from "./scale.js";
import { aborted, SourceError } from "./source.js";

/**
 * @typedef {object} Place a square of the map: level, row and column of tiles
 * @property {number} z
 * @property {number} y
 * @property {number} x
 *
 * @typedef {object} Tile
 * @property {Place} at
 * @property {Uint16Array} halves
 * @property {number} rows
 * @property {number} columns
 * @property {number} multiplier
 * @property {number} high
 * @property {boolean} sampled
 * @property {boolean} holes whether something in it was never computed
 * @property {boolean} bare whether nothing in it was
 * @property {Float32Array} samples some of its finite values, to fit the scale
 * @property {HTMLCanvasElement | null} picture
 * @property {string} colours which scale the picture is coloured by
 *
 * @typedef {import("./source.js").Source} Source
 * @typedef {{layer: number, head: number, of: string, pool: string, skip: number, renorm: boolean}} Subject
 */

const MOST_TILES = 320;
const MOST_AT_ONCE = 48;
const SOON = 30;
const AGAIN = 4000;
const SAMPLE = 127;

/** @param {Subject} s */
export const subjectName = (s) => `${s.layer}.${s.head} ${s.of} ${s.pool} ${s.skip} ${s.renorm ? 1 : 0}`;

/** @param {Place} at */
const nameOf = (at) => `${at.z}.${at.y}.${at.x}`;

export class Tiles {
  /**
   * @param {Source} source
   * @param {{changed: () => void, missed: () => void}} tell
   */
  constructor(source, tell) {
    this.source = source;
    this.tell = tell;
    /** @type {Map<string, Tile>} oldest first */
    this.kept = new Map();
    /** @type {Subject} */
    this.subject = { layer: 0, head: 0, of: "weight", pool: "max", skip: 0, renorm: false };
    this.prefix = "";
    /** @type {Place[]} */
    this.wanted = [];
    /** @type {Set<string>} names of `wanted` */
    this.names = new Set();
    /** @type {Set<{names: Set<string>, stop: AbortController}>} */
    this.running = new Set();
    /** @type {Map<string, {words: string, until: number}>} */
    this.failed = new Map();
    /** @type {Set<string>} sampled tiles that should be asked for again */
    this.stale = new Set();
    this.timer = 0;
    /** @type {Map<number, Uint32Array>} colour tables by multiplier */
    this.tables = new Map();
    this.tablesFor = "";
  }

  /**
   * Says which tiles are in sight, dearest first. Requests start a moment later, so that a wheel in motion does not
   * ask for every level it passes.
   *
   * @param {Subject} subject
   * @param {Place[]} places
   */
  want(subject, places) {
    this.subject = subject;
    this.prefix = `${subjectName(subject)} `;
    this.wanted = places;
    this.names = new Set(places.map((at) => this.prefix + nameOf(at)));
    for (const request of this.running) {
      const still = [...request.names].filter((name) => this.names.has(name)).length;
      if (still * 2 < request.names.size) request.stop.abort();
    }
    if (!this.timer) this.timer = setTimeout(() => this.#ask(), SOON);
  }

  /** @param {Place} at */
  get(at) {
    const name = this.prefix + nameOf(at);
    const tile = this.kept.get(name);
    if (tile) {
      // Read again: the youngest now.
      this.kept.delete(name);
      this.kept.set(name, tile);
    }
    return tile;
  }

  /** Whether a tile is kept, without making it younger. @param {Place} at */
  has(at) {
    return this.kept.has(this.prefix + nameOf(at));
  }

  /** How the wanted tiles stand: all there, how many missing or sampled, and what went wrong. */
  standing() {
    let missing = 0;
    let sampled = 0;
    let words = "";
    for (const name of this.names) {
      const tile = this.kept.get(name);
      if (!tile) missing += 1;
      else if (tile.sampled) sampled += 1;
      const failed = this.failed.get(name);
      if (failed && !tile) words = failed.words;
    }
    return { missing, sampled, words };
  }

  /** Asks again for sampled tiles: exact ones exist now. */
  refresh() {
    for (const [name, tile] of this.kept) if (tile.sampled) this.stale.add(name);
    this.failed.clear();
    this.#ask();
  }

  /** Some finite values of the tiles in sight, and the greatest. */
  samples() {
    const parts = [];
    let size = 0;
    let greatest = -Infinity;
    for (const name of this.names) {
      const tile = this.kept.get(name);
      if (!tile || tile.bare) continue;
      parts.push(tile.samples);
      size += tile.samples.length;
      greatest = Math.max(greatest, tile.high);
    }
    const all = new Float32Array(size);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return { values: all, greatest };
  }

  /**
   * The picture of a tile in the colours of a scale.
   *
   * @param {Tile} tile
   * @param {import("./scale.js").Ruler} scale
   * @param {string} name of scale and theme together
   * @param {Uint32Array} colours
   */
  picture(tile, scale, name, colours) {
    if (tile.picture && tile.colours === name) return tile.picture;
    if (this.tablesFor !== name) {
      this.tables.clear();
      this.tablesFor = name;
    }
    let table = this.tables.get(tile.multiplier);
    if (!table) {
      table = colourTable(scale, tile.multiplier, colours);
      this.tables.set(tile.multiplier, table);
    }
    const canvas = tile.picture ?? document.createElement("canvas");
    canvas.width = tile.columns;
    canvas.height = tile.rows;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = context.createImageData(tile.columns, tile.rows);
    const words = new Uint32Array(image.data.buffer);
    const { halves } = tile;
    for (let i = 0; i < halves.length; i++) words[i] = table[halves[i]];
    context.putImageData(image, 0, 0);
    tile.picture = canvas;
    tile.colours = name;
    return canvas;
  }

  /** The value (true units) of a tile at a row and column of it. @param {Tile} tile @param {number} row @param {number} column */
  static value(tile, row, column) {
    return HALF[tile.halves[row * tile.columns + column]] * tile.multiplier;
  }

  stop() {
    clearTimeout(this.timer);
    for (const request of this.running) request.stop.abort();
    this.wanted = [];
    this.names.clear();
  }

  #ask() {
    clearTimeout(this.timer);
    this.timer = 0;
    const now = performance.now();
    const underWay = new Set([...this.running].flatMap((request) => [...request.names]));
    const missing = this.wanted.filter((at) => {
      const name = this.prefix + nameOf(at);
      if (underWay.has(name) || (this.failed.get(name)?.until ?? 0) > now) return false;
      return !this.kept.has(name) || this.stale.has(name);
    });
    for (let at = 0; at < missing.length; at += MOST_AT_ONCE) void this.#fetch(missing.slice(at, at + MOST_AT_ONCE));
  }

  /** @param {Place[]} places */
  async #fetch(places) {
    const { prefix, subject } = this;
    const ids = places.map((at) => `${subject.layer}.${subject.head}.${nameOf(at)}`);
    const request = { names: new Set(places.map((at) => prefix + nameOf(at))), stop: new AbortController() };
    this.running.add(request);
    try {
      await this.source.tiles(
        { of: subject.of, pool: subject.pool, skip: subject.skip, renorm: subject.renorm ? 1 : 0, ids },
        (frame) => {
          const name = prefix + nameOf(places[frame.index]);
          request.names.delete(name);
          this.stale.delete(name);
          if (frame.state === "error") this.#fail(name, frame.words);
          else this.#keep(name, places[frame.index], frame);
          this.tell.changed();
        },
        request.stop.signal,
      );
    } catch (error) {
      if (!aborted(error)) {
        const words = error instanceof Error ? error.message : String(error);
        for (const name of request.names) this.#fail(name, words);
        if (error instanceof SourceError && error.status === 0) this.tell.missed();
        this.tell.changed();
      }
    } finally {
      this.running.delete(request);
    }
    // What was in sight when this request was cut short, or failed, is asked for again.
    if (this.standing().missing && !this.timer) {
      const wait = this.failed.size ? AGAIN : SOON;
      this.timer = setTimeout(() => this.#ask(), wait);
    }
  }

  /** @param {string} name @param {string} words */
  #fail(name, words) {
    this.failed.set(name, { words, until: performance.now() + AGAIN });
  }

  /** @param {string} name @param {Place} at @param {import("./source.js").Frame} frame */
  #keep(name, at, frame) {
    const { halves } = frame;
    let missing = 0;
    for (let i = 0; i < halves.length; i++) if ((halves[i] & 0x7fff) > 0x7c00) missing += 1;
    const signed = name.includes(" score ");
    const samples = [];
    for (let i = (halves.length - 1) % SAMPLE; i < halves.length; i += SAMPLE) {
      const value = HALF[halves[i]] * frame.multiplier;
      if (Number.isFinite(value) && (signed || value > 0)) samples.push(value);
    }
    this.failed.delete(name);
    this.kept.delete(name);
    this.kept.set(name, {
      at,
      halves,
      rows: frame.rows,
      columns: frame.columns,
      multiplier: frame.multiplier,
      high: frame.high,
      sampled: frame.state === "sampled",
      holes: missing > 0,
      bare: missing === halves.length,
      samples: new Float32Array(samples),
      picture: null,
      colours: "",
    });
    if (this.kept.size <= MOST_TILES) return;
    for (const old of this.kept.keys()) {
      if (this.names.has(old)) continue;
      this.kept.delete(old);
      this.stale.delete(old);
      if (this.kept.size <= MOST_TILES) return;
    }
  }
}

/**
 * The tiles of a level that cover a range of rows and keys, from the middle outwards.
 *
 * @param {{q0: number, q1: number, k0: number, k1: number}} sight
 * @param {number} z
 * @param {number} tile values along a side
 * @returns {Place[]}
 */
export function cover({ q0, q1, k0, k1 }, z, tile) {
  const side = tile * 2 ** z;
  /** @type {Place[]} */
  const places = [];
  for (let y = Math.floor(q0 / side); y * side < q1; y++) for (let x = Math.floor(k0 / side); x * side < k1; x++) places.push({ z, y, x });
  const my = (q0 + q1) / 2 / side - 0.5;
  const mx = (k0 + k1) / 2 / side - 0.5;
  const far = (/** @type {Place} */ at) => (at.y - my) ** 2 + (at.x - mx) ** 2;
  return places.sort((a, b) => far(a) - far(b));
}
