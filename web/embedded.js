// The source of an exported page, which carries its data in itself: a JSON description, and numbers as deflated bytes in
// script elements that are never run. A head is there exactly (its queries and keys: products.js computes the rest),
// or coarsely (one level of its map, from which the levels above follow), or not at all; page and terminal say which.

import { failure, frameOf, Products } from "./products.js";
import { HALF } from "./scale.js";
import { SourceError } from "./source.js";

/**
 * @typedef {object} ExactHead
 * @property {string} q names of blobs
 * @property {string} k
 * @property {string} lse
 * @property {number} slope
 * @property {number | null} sink
 *
 * @typedef {object} CoarseHead
 * @property {number} z
 * @property {string} max blob of float16 [rows, columns]
 * @property {number} lift a value is float16 * lift
 * @property {string | null} mean
 * @property {number} mean_lift
 *
 * @typedef {object} HeadEntry
 * @property {ExactHead | null} exact
 * @property {CoarseHead | null} coarse
 * @property {string | null} tracks blob: a JSON header and float32 arrays, as a server sends it
 *
 * @typedef {object} LayerEntry
 * @property {number} width
 * @property {string} dtype "f4", "f2" or "bf"
 * @property {string} spans blob: int32 row_ptr, then starts, then stops
 *
 * @typedef {object} Said what the model said next
 * @property {string} ids blob of int32 [rows, width]
 * @property {string} probabilities blob of float32 [rows, width]
 * @property {string} loss blob of float32 [rows]
 * @property {number} width
 * @property {string} vocabulary blob of JSON: texts by id, or null
 *
 * @typedef {object} Manifest
 * @property {import("./source.js").Tape} tape
 * @property {string} tokens blob of JSON
 * @property {import("./source.js").HeadScores[]} heads
 * @property {Record<string, HeadEntry>} maps by "layer.head"
 * @property {LayerEntry[]} layers
 * @property {Said | null} said
 *
 * @typedef {import("./source.js").Frame} Frame
 */

const TILE = 256;
const THUMB = 128;
const DATA = "lookbehind-tape";
const BLOB = "lookbehind-blob-";
const OPENED = 8;
// Products times width that one tile may take: some seconds of one core.
const MOST = 6e9;

/** @returns {import("./source.js").Source | null} null where the page carries none: a server is asked instead */
export function embedded() {
  const text = document.getElementById(DATA)?.textContent;
  if (!text) return null;
  // Taken now: the page replaces everything that stands in it.
  for (const one of document.querySelectorAll(`script[id^="${BLOB}"]`)) contents.set(one.id, one.textContent ?? "");
  return new Embedded(JSON.parse(text)).source();
}

/** @type {Map<string, string>} */
const contents = new Map();

/** @param {string} name @returns {Promise<ArrayBuffer>} */
async function blob(name) {
  const text = atob(contents.get(BLOB + name) ?? "");
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

/**
 * Numbers as they were recorded, made float32: exact for every kind.
 *
 * @param {string} name @param {string} dtype
 */
async function floats(name, dtype) {
  const bytes = await blob(name);
  if (dtype === "f4") return new Float32Array(bytes);
  const halves = new Uint16Array(bytes);
  if (dtype === "f2") return Float32Array.from(halves, (bits) => HALF[bits]);
  return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
}

class Embedded {
  /** @param {Manifest} manifest */
  constructor(manifest) {
    this.manifest = manifest;
    /** @type {Map<string, Promise<Products>>} exact heads opened last */
    this.opened = new Map();
    /** @type {Map<string, Promise<Levels>>} */
    this.levels = new Map();
    /** @type {Promise<{ids: Int32Array, probabilities: Float32Array, loss: Float32Array, vocabulary: Record<string, string> | null}> | null} */
    this.saidNow = null;
    /** @type {Promise<import("./source.js").Tokens> | null} */
    this.text = null;
  }

  /** @returns {import("./source.js").Source} */
  source() {
    const { manifest } = this;
    return {
      live: false,
      tape: async () => manifest.tape,
      tokens: () => this.tokens(),
      heads: async () => ({ state: "ready", done: manifest.heads.length, total: manifest.heads.length, heads: manifest.heads }),
      status: async () => ({ alive: true, jobs: [], memory_mb: 0 }),
      influence: async () => null,
      finest: (layer, head) => {
        const entry = this.entry(layer, head);
        return entry?.exact ? null : (entry?.coarse?.z ?? manifest.tape.top);
      },
      thumb: (layer, head, signal) => this.thumb(layer, head, signal),
      tiles: (request, onFrame, signal) => this.tiles(request, onFrame, signal),
      row: async (layer, head, query) => (await this.exact(layer, head)).row(query),
      column: async (layer, head, key) => (await this.exact(layer, head)).column(key),
      cells: async (layer, head, q0, q1, k0, k1) => (await this.exact(layer, head)).cells(q0, q1, k0, k1),
      tracks: (layer, head) => this.tracks(layer, head),
      next: (query) => this.next(query),
    };
  }

  /** @param {number} layer @param {number} head @returns {HeadEntry | null} */
  entry(layer, head) {
    return this.manifest.maps[`${layer}.${head}`] ?? null;
  }

  /** What stands in the page in place of what was asked. @param {number} layer @param {number} head */
  missing(layer, head) {
    const coarse = this.entry(layer, head)?.coarse;
    const name = `layer ${layer}, head ${head}`;
    if (!coarse) return `${name} was left out of this page; \u201cnot all of it\u201d, above, says more`;
    const side = 2 ** coarse.z;
    return `this page holds ${name} only as weights pooled over ${side} x ${side} products; open the tape itself to see more`;
  }

  /** @param {number} layer @param {number} head @returns {Promise<Products>} */
  exact(layer, head) {
    const name = `${layer}.${head}`;
    const entry = this.entry(layer, head)?.exact;
    if (!entry) return Promise.reject(new SourceError(this.missing(layer, head), 404));
    const kept = this.opened.get(name);
    if (kept) return kept;
    const opened = this.open(layer, entry);
    this.opened.set(name, opened);
    for (const old of this.opened.keys()) {
      if (this.opened.size <= OPENED) break;
      this.opened.delete(old);
    }
    return opened;
  }

  /** @param {number} at @param {ExactHead} entry */
  async open(at, entry) {
    const { tape, layers } = this.manifest;
    const { width, dtype } = layers[at];
    const { scale, softcap } = tape.layers[at];
    const [q, k, lse, spans] = await Promise.all([
      floats(entry.q, dtype),
      floats(entry.k, dtype),
      floats(entry.lse, "f4"),
      this.spans(at),
    ]);
    return new Products({ q, k, lse, width, spans, offset: tape.offset, scale, softcap, slope: entry.slope, sink: entry.sink });
  }

  /** @param {number} at @returns {Promise<import("./products.js").Spans>} */
  async spans(at) {
    const all = new Int32Array(await blob(this.manifest.layers[at].spans));
    const rows = this.manifest.tape.n_queries + 1;
    const each = (all.length - rows) / 2;
    return { rowPtr: all.subarray(0, rows), starts: all.subarray(rows, rows + each), stops: all.subarray(rows + each) };
  }

  /** @param {number} layer @param {number} head @returns {Promise<Levels> | null} */
  coarse(layer, head) {
    const entry = this.entry(layer, head)?.coarse;
    if (!entry) return null;
    const name = `${layer}.${head}`;
    let kept = this.levels.get(name);
    if (!kept) {
      kept = this.openLevels(layer, entry);
      this.levels.set(name, kept);
    }
    return kept;
  }

  /** @param {number} layer @param {CoarseHead} entry */
  async openLevels(layer, entry) {
    const { n_queries, n_keys } = this.manifest.tape;
    const [max, mean, spans] = await Promise.all([
      floats(entry.max, "f2"),
      entry.mean ? floats(entry.mean, "f2") : null,
      entry.mean ? this.spans(layer) : null,
    ]);
    return new Levels(entry, n_queries, n_keys, max, mean, spans);
  }

  /** @param {number} layer @param {number} head @param {AbortSignal} [signal] @returns {Promise<Frame>} */
  async thumb(layer, head, signal) {
    const { n_queries, n_keys } = this.manifest.tape;
    let z = 0;
    while (THUMB * 2 ** z < Math.max(n_queries, n_keys)) z += 1;
    const levels = await this.coarse(layer, head);
    if (levels) {
      const { values, rows, columns } = levels.at(Math.max(z, levels.z), "max");
      return frameOf(0, values, rows, columns, false);
    }
    const products = await this.exact(layer, head);
    const rows = Math.ceil(n_queries / 2 ** z);
    const columns = Math.ceil(n_keys / 2 ** z);
    const lens = { of: "weight", pool: "max", skip: 0, renorm: 0 };
    return frameOf(0, await products.pixels(z, 0, 0, rows, columns, lens, signal), rows, columns, false);
  }

  /**
   * @param {import("./source.js").TileRequest} request
   * @param {(frame: Frame) => void} onFrame
   * @param {AbortSignal} signal
   */
  async tiles(request, onFrame, signal) {
    for (let index = 0; index < request.ids.length; index++) {
      await new Promise((done) => setTimeout(done, 0));
      if (signal.aborted) throw new DOMException("no longer wanted", "AbortError");
      onFrame(await this.tile(index, request, signal));
    }
  }

  /** @param {number} index @param {import("./source.js").TileRequest} lens @param {AbortSignal} signal @returns {Promise<Frame>} */
  async tile(index, lens, signal) {
    const [layer, head, z, y, x] = lens.ids[index].split(".").map(Number);
    const plain = lens.of === "weight" && !lens.skip;
    const levels = plain ? await this.coarse(layer, head) : null;
    if (levels && z >= levels.z && levels.has(lens.pool)) {
      return frameOf(index, cut(levels.at(z, lens.pool), y, x), TILE, TILE, false);
    }
    if (!this.entry(layer, head)?.exact) return failure(index, this.missing(layer, head));
    const side = TILE * 2 ** z;
    const { n_queries, n_keys } = this.manifest.tape;
    const area = Math.min(side, n_queries - y * side) * Math.min(side, n_keys - x * side);
    if (area * this.manifest.layers[layer].width > MOST) {
      return failure(index, "this view takes too long to compute in an exported page; zoom in, or open the tape itself");
    }
    const products = await this.exact(layer, head);
    const values = await products.pixels(z, y * side, x * side, TILE, TILE, lens, signal);
    return frameOf(index, values, TILE, TILE, lens.of === "score");
  }

  /** @param {number} layer @param {number} head @returns {Promise<import("./source.js").Tracks>} */
  async tracks(layer, head) {
    const { tape, said } = this.manifest;
    const name = this.entry(layer, head)?.tracks;
    /** @type {import("./source.js").Track[]} */
    const found = [];
    if (name) {
      const all = new Float32Array(await blob(name));
      const n = tape.n_queries;
      found.push({ name: "entropy", axis: "query", values: all.subarray(0, n) });
      found.push({ name: "sink", axis: "query", values: all.subarray(n, 2 * n) });
      found.push({ name: "received", axis: "key", values: all.subarray(2 * n) });
    }
    if (said) found.push({ name: "loss", axis: "query", values: (await this.saidAll()).loss });
    return { state: "ready", done: 1, total: 1, tracks: found };
  }

  tokens() {
    this.text ??= blob(this.manifest.tokens).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
    return this.text;
  }

  saidAll() {
    const said = /** @type {Said} */ (this.manifest.said);
    const names = [said.ids, said.probabilities, said.loss, said.vocabulary];
    this.saidNow ??= Promise.all(names.map(blob)).then(([ids, p, loss, texts]) => ({
      ids: new Int32Array(ids),
      probabilities: new Float32Array(p),
      loss: new Float32Array(loss),
      vocabulary: JSON.parse(new TextDecoder().decode(texts)),
    }));
    return this.saidNow;
  }

  /** @param {number} query @returns {Promise<import("./source.js").Next | null>} */
  async next(query) {
    const { said, tape } = this.manifest;
    if (!said) return null;
    const [{ ids, probabilities, loss, vocabulary }, text] = await Promise.all([this.saidAll(), this.tokens()]);
    const top = [];
    for (let at = query * said.width; at < (query + 1) * said.width; at++) {
      if (ids[at] >= 0) top.push({ token: vocabulary?.[ids[at]] ?? null, id: ids[at], p: probabilities[at] });
    }
    if (!top.length) return null;
    const position = query + tape.offset + 1;
    const id = text.ids?.[position];
    const known = id !== undefined && !Number.isNaN(loss[query]);
    const came = known ? { token: text.tokens?.[position] ?? vocabulary?.[id] ?? null, id, p: Math.exp(-loss[query]) } : null;
    return { query, top, came, recorded: true };
  }
}

/** @typedef {{values: Float32Array, rows: number, columns: number}} Image */

/** One level of a head's weights, and those above it. */
class Levels {
  /**
   * @param {CoarseHead} entry
   * @param {number} nQueries @param {number} nKeys
   * @param {Float32Array} max @param {Float32Array | null} mean
   * @param {import("./products.js").Spans | null} spans
   */
  constructor(entry, nQueries, nKeys, max, mean, spans) {
    this.z = entry.z;
    this.lift = entry.mean_lift;
    this.mean = mean;
    this.spans = spans;
    this.rows = Math.ceil(nQueries / 2 ** entry.z);
    this.columns = Math.ceil(nKeys / 2 ** entry.z);
    /** @type {Map<number, Image>} */
    this.max = new Map([[entry.z, this.image(max.map((value) => value * entry.lift))]]);
    /** @type {{sum: Map<number, Image>, count: Map<number, Image>} | null} made when a mean or sum is first asked for */
    this.sums = null;
  }

  /** @param {Float32Array} values @returns {Image} */
  image(values) {
    return { values, rows: this.rows, columns: this.columns };
  }

  /** @param {string} pool */
  has(pool) {
    return pool === "max" || this.mean !== null;
  }

  /** @param {number} z @param {string} pool @returns {Image} */
  at(z, pool) {
    const { mean, spans } = this;
    if (pool === "max" || !mean || !spans) return halved(this.max, z, Math.max);
    if (!this.sums) {
      const counts = counted(spans, this.z, this.rows, this.columns);
      const sums = mean.map((value, at) => (counts[at] ? value * this.lift * counts[at] : NaN));
      this.sums = { sum: new Map([[this.z, this.image(sums)]]), count: new Map([[this.z, this.image(counts)]]) };
    }
    const add = (/** @type {number} */ a, /** @type {number} */ b) => a + b;
    const sum = halved(this.sums.sum, z, add);
    if (pool === "sum") return sum;
    const count = halved(this.sums.count, z, add);
    return { ...sum, values: sum.values.map((value, at) => value / count.values[at]) };
  }
}

/**
 * A level, made from the one below where it is not known yet.
 *
 * @param {Map<number, Image>} levels @param {number} z @param {(a: number, b: number) => number} join
 * @returns {Image}
 */
function halved(levels, z, join) {
  const known = levels.get(z);
  if (known) return known;
  const below = halved(levels, z - 1, join);
  const rows = Math.ceil(below.rows / 2);
  const columns = Math.ceil(below.columns / 2);
  const values = new Float32Array(rows * columns).fill(NaN);
  for (let r = 0; r < below.rows; r++) {
    for (let c = 0; c < below.columns; c++) {
      const value = below.values[r * below.columns + c];
      if (Number.isNaN(value)) continue;
      const at = (r >> 1) * columns + (c >> 1);
      values[at] = Number.isNaN(values[at]) ? value : join(values[at], value);
    }
  }
  const made = { values, rows, columns };
  levels.set(z, made);
  return made;
}

/** How many products each pixel of a level holds. @param {import("./products.js").Spans} spans @param {number} z @param {number} rows @param {number} columns */
function counted({ rowPtr, starts, stops }, z, rows, columns) {
  const counts = new Float32Array(rows * columns);
  const side = 2 ** z;
  for (let row = 0; row + 1 < rowPtr.length; row++) {
    const base = (row >> z) * columns;
    for (let n = rowPtr[row]; n < rowPtr[row + 1]; n++) {
      for (let c = starts[n] >> z; c * side < stops[n]; c++) {
        counts[base + c] += Math.min(stops[n], (c + 1) * side) - Math.max(starts[n], c * side);
      }
    }
  }
  return counts;
}

/** A tile of an image, NaN beyond its edge. @param {Image} image @param {number} y @param {number} x */
function cut({ values, rows, columns }, y, x) {
  const out = new Float32Array(TILE * TILE).fill(NaN);
  for (let r = y * TILE; r < Math.min(rows, (y + 1) * TILE); r++) {
    const last = Math.min(columns, (x + 1) * TILE);
    if (x * TILE < last) out.set(values.subarray(r * columns + x * TILE, r * columns + last), (r - y * TILE) * TILE);
  }
  return out;
}
