// Products: one head of an exported page, computed in the browser from its queries and keys. The same definitions as
// lookbehind.atlas: a weight is exp(s - lse); enrichment and row-max are weights under another normaliser.

/**
 * @typedef {object} Spans which keys each row reads, as in lookbehind.spans
 * @property {Int32Array} rowPtr
 * @property {Int32Array} starts
 * @property {Int32Array} stops
 *
 * @typedef {object} Parts
 * @property {Float32Array} q [rows, width]
 * @property {Float32Array} k [keys, width]
 * @property {Float32Array} lse [rows]
 * @property {number} width
 * @property {Spans} spans
 * @property {number} offset position of row 0
 * @property {number} scale
 * @property {number | null} softcap
 * @property {number} slope ALiBi's, 0 for none
 * @property {number | null} sink a learned logit beside the keys
 *
 * @typedef {{of: string, pool: string, skip: number, renorm: number}} Lens
 * @typedef {import("./source.js").Frame} Frame
 */

const SLICE = 14;

/** Lets the page breathe. */
const breath = () => new Promise((done) => setTimeout(done, 0));

export class Products {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    this.rows = parts.lse.length;
    this.keys = parts.k.length / parts.width;
    /** @type {Map<number, {lse: Float64Array, peak: Float64Array}>} by how many first keys are left out */
    this.known = new Map();
  }

  /** q.k of a row and a key. @param {number} row @param {number} key */
  dot(row, key) {
    const { q, k, width } = this.parts;
    let sum = 0;
    for (let d = 0, a = row * width, b = key * width; d < width; d++) sum += q[a + d] * k[b + d];
    return sum;
  }

  /** The score that follows from q.k. @param {number} dot @param {number} row @param {number} key */
  score(dot, row, key) {
    const { scale, softcap, slope, offset } = this.parts;
    let s = dot * scale;
    if (softcap !== null) s = softcap * Math.tanh(s / softcap);
    return slope ? s + slope * (key - row - offset) : s;
  }

  /**
   * Calls back with each stretch of keys that a row reads within a range.
   *
   * @param {number} row @param {number} first @param {number} last @param {(start: number, stop: number) => void} each
   */
  reads(row, first, last, each) {
    const { rowPtr, starts, stops } = this.parts.spans;
    for (let n = rowPtr[row]; n < rowPtr[row + 1]; n++) {
      const start = Math.max(starts[n], first);
      const stop = Math.min(stops[n], last);
      if (start < stop) each(start, stop);
    }
  }

  /** How many keys a row reads, the first `skip` left out. @param {number} row @param {number} skip */
  count(row, skip) {
    let count = 0;
    this.reads(row, skip, this.keys, (start, stop) => void (count += stop - start));
    return count;
  }

  /** lse and the largest score of a row over the keys from `skip` on. @param {number} row @param {number} skip */
  normaliser(row, skip) {
    let known = this.known.get(skip);
    if (!known) {
      known = { lse: new Float64Array(this.rows).fill(NaN), peak: new Float64Array(this.rows).fill(NaN) };
      this.known.set(skip, known);
    }
    if (Number.isNaN(known.peak[row])) {
      /** @type {number[]} */
      const scores = [];
      let peak = -Infinity;
      this.reads(row, skip, this.keys, (start, stop) => {
        for (let key = start; key < stop; key++) {
          const s = this.score(this.dot(row, key), row, key);
          scores.push(s);
          if (s > peak) peak = s;
        }
      });
      const { sink } = this.parts;
      const top = sink !== null && sink > peak ? sink : peak;
      let sum = sink === null || !scores.length ? 0 : Math.exp(sink - top);
      for (const s of scores) sum += Math.exp(s - top);
      known.peak[row] = peak;
      known.lse[row] = scores.length ? top + Math.log(sum) : -Infinity;
    }
    return { lse: known.lse[row], peak: known.peak[row] };
  }

  /** What is taken off a row's scores before exp; null shows the scores themselves. @param {number} row @param {Lens} lens */
  above(row, lens) {
    if (lens.of === "score") return null;
    if (lens.of === "relative") return this.normaliser(row, lens.skip).peak;
    const renorm = lens.renorm && lens.skip;
    const lse = renorm ? this.normaliser(row, lens.skip).lse : this.parts.lse[row];
    if (lens.of === "weight") return lse;
    return lse - Math.log(Math.max(this.count(row, renorm ? lens.skip : 0), 1));
  }

  /**
   * Pixels of a level over rows and keys, pooled over the products in each; NaN where there is none.
   *
   * @param {number} z @param {number} row0 @param {number} key0 both multiples of 2 ** z
   * @param {number} height @param {number} width in pixels
   * @param {Lens} lens @param {AbortSignal} [signal]
   * @returns {Promise<Float32Array>}
   */
  async pixels(z, row0, key0, height, width, lens, signal) {
    const largest = lens.pool === "max";
    const out = new Float64Array(height * width).fill(largest ? -Infinity : 0);
    const counts = new Float64Array(height * width);
    const lastRow = Math.min(this.rows, row0 + height * 2 ** z);
    const lastKey = Math.min(this.keys, key0 + width * 2 ** z);
    let since = performance.now();
    for (let row = row0; row < lastRow; row++) {
      const above = this.above(row, lens);
      const base = ((row - row0) >> z) * width;
      this.reads(row, Math.max(key0, lens.skip), lastKey, (start, stop) => {
        for (let key = start; key < stop; key++) {
          const s = this.score(this.dot(row, key), row, key);
          // A row whose lse is -inf weighs nothing.
          const value = above === null ? s : above === -Infinity ? 0 : Math.exp(s - above);
          const at = base + ((key - key0) >> z);
          counts[at] += 1;
          if (!largest) out[at] += value;
          else if (value > out[at]) out[at] = value;
        }
      });
      if (performance.now() - since > SLICE) {
        await breath();
        if (signal?.aborted) throw new DOMException("no longer wanted", "AbortError");
        since = performance.now();
      }
    }
    const values = new Float32Array(height * width);
    for (let at = 0; at < values.length; at++) {
      values[at] = counts[at] ? (lens.pool === "mean" ? out[at] / counts[at] : out[at]) : NaN;
    }
    return values;
  }

  /** Exact weights of one row, NaN where none was computed. @param {number} row */
  row(row) {
    const found = new Float32Array(this.keys).fill(NaN);
    const lse = this.parts.lse[row];
    this.reads(row, 0, this.keys, (start, stop) => {
      for (let key = start; key < stop; key++) found[key] = Math.exp(this.score(this.dot(row, key), row, key) - lse);
    });
    return found;
  }

  /** Exact weights on one key, NaN where none was computed. @param {number} key */
  column(key) {
    const found = new Float32Array(this.rows).fill(NaN);
    for (let row = 0; row < this.rows; row++) {
      this.reads(row, key, key + 1, () => {
        found[row] = Math.exp(this.score(this.dot(row, key), row, key) - this.parts.lse[row]);
      });
    }
    return found;
  }

  /**
   * q.k, score and weight of each product of a rectangle.
   *
   * @param {number} q0 @param {number} q1 @param {number} k0 @param {number} k1
   * @returns {import("./source.js").Cells}
   */
  cells(q0, q1, k0, k1) {
    const rows = q1 - q0;
    const columns = k1 - k0;
    const [dots, scores, weights] = [0, 1, 2].map(() => new Float32Array(rows * columns).fill(NaN));
    for (let row = q0; row < q1; row++) {
      this.reads(row, k0, k1, (start, stop) => {
        for (let key = start; key < stop; key++) {
          const at = (row - q0) * columns + key - k0;
          dots[at] = this.dot(row, key);
          scores[at] = this.score(this.dot(row, key), row, key);
          weights[at] = Math.exp(scores[at] - this.parts.lse[row]);
        }
      });
    }
    return { rows, columns, dots, scores, weights };
  }
}

/**
 * Values as the frame that a server would send: float16 beside one power of two.
 *
 * @param {number} index @param {Float32Array} values @param {number} rows @param {number} columns @param {boolean} signed
 * @returns {Frame}
 */
export function frameOf(index, values, rows, columns, signed) {
  let largest = 0;
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    largest = Math.max(largest, Math.abs(value));
    if (!signed && value <= 0) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const lift = largest > 0 ? Math.floor(Math.log2(largest)) + 1 - 15 : 0;
  const multiplier = 2 ** Math.min(Math.max(lift, -120), 100);
  const halves = new Uint16Array(values.length);
  for (let at = 0; at < values.length; at++) halves[at] = half(values[at] / multiplier);
  const known = high >= low;
  return { index, state: "exact", rows, columns, multiplier, low: known ? low : 0, high: known ? high : 0, halves, words: "" };
}

/** @param {number} index @param {string} words @returns {Frame} */
export function failure(index, words) {
  return { index, state: "error", rows: 0, columns: 0, multiplier: 1, low: 0, high: 0, halves: new Uint16Array(0), words };
}

/** The bits of the float16 nearest to a number, ties to even. @param {number} value */
export function half(value) {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(size || 1e-30)), -14);
  // Below 2 ** -14 the steps stay those of 2 ** -24.
  const steps = even((size / 2 ** exponent) * 1024);
  if (exponent === -14 && steps < 1024) return sign | steps;
  return sign | (((exponent + 15) << 10) + steps - 1024);
}

/** @param {number} value */
function even(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest > 0.5 || (rest === 0.5 && floor % 2 === 1)) return floor + 1;
  return floor;
}
