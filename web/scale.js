// Scale: which value gets which place on the ramp, and the words for it. Weights span many orders of magnitude, so their
// scale is logarithmic unless asked otherwise; what lies beyond an end is drawn as that end, and the legend says so.

import { STEPS } from "./palette.js";

/** @typedef {import("./address.js").State} State */

const MOST_DECADES = 6;
const HALVES = 1 << 16;
const LEAST = 1e-45; // no weight is smaller: float32 has nothing below

/** What every float16 stands for. @type {Float32Array} */
export const HALF = new Float32Array(HALVES);
for (let bits = 0; bits < HALVES; bits++) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  HALF[bits] =
    exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : (2 ** -14 * fraction) / 1024);
}

/**
 * @typedef {object} Ruler
 * @property {State["of"]} of
 * @property {boolean} log
 * @property {boolean} diverging
 * @property {number} low the value drawn as the least, in shown units (log2 for enrichment)
 * @property {number} high
 * @property {boolean} fitted
 * @property {boolean} least whether the low end stands for everything below it
 */

/**
 * A ruler for what the state shows.
 *
 * @param {Pick<State, "of" | "scale" | "range">} state
 * @param {readonly [number, number]} fitted the ends that fit the view
 * @returns {Ruler}
 */
export function ruler(state, fitted) {
  const log = (state.of === "weight" || state.of === "relative") && state.scale === "log";
  let [low, high] = state.range ?? fitted;
  if (log && low < LEAST) low = high > 0 ? high * 1e-4 : 1e-4;
  if (high <= low) high = log ? low * 10 : low + 1;
  return { of: state.of, log, diverging: state.of === "enrichment", low, high, fitted: !state.range, least: true };
}

/** In the units that are shown: enrichment is sent as a ratio and shown as its log2. @param {State["of"]} of @param {number} value */
export const shown = (of, value) => (of === "enrichment" ? Math.log2(value) : value);

/**
 * Where a value (in shown units) lies on the ramp, 0 to 1. NaN stays NaN.
 *
 * @param {Ruler} scale
 * @param {number} value
 */
export function place(scale, value) {
  const { low, high } = scale;
  let at;
  if (scale.log) at = value <= low ? (Number.isNaN(value) ? NaN : 0) : Math.log(value / low) / Math.log(high / low);
  else if (scale.diverging && low < 0 && high > 0) at = value < 0 ? 0.5 - (0.5 * value) / low : 0.5 + (0.5 * value) / high;
  else at = (value - low) / (high - low);
  return Math.min(1, Math.max(0, at));
}

/**
 * Colours of all 65,536 float16 times a multiplier, as RGBA words; never computed is transparent.
 *
 * @param {Ruler} scale
 * @param {number} multiplier
 * @param {Uint32Array} colours a ramp, as words
 */
export function colourTable(scale, multiplier, colours) {
  const table = new Uint32Array(HALVES);
  for (let bits = 0; bits < HALVES; bits++) {
    const value = HALF[bits];
    if (Number.isNaN(value)) continue;
    table[bits] = colours[Math.round(place(scale, shown(scale.of, value * multiplier)) * (STEPS - 1))];
  }
  return table;
}

/**
 * The ends that show these values best: rounded outward, so that they change seldom while one looks around.
 *
 * @param {Pick<State, "of" | "scale">} state
 * @param {Float32Array} values finite values in sight (positive ones, unless scores)
 * @param {number} greatest
 * @returns {[number, number] | null} null where there is nothing to fit
 */
export function fit(state, values, greatest) {
  if (!values.length) return null;
  values.sort();
  const quantile = (/** @type {number} */ q) => values[Math.min(values.length - 1, Math.floor(q * values.length))];
  if (state.of === "enrichment") {
    const reach = Math.max(Math.abs(Math.log2(Math.max(quantile(0.02), 1e-6))), Math.abs(Math.log2(Math.max(quantile(0.995), 1e-6))));
    const end = Math.min(12, Math.max(1, Math.ceil(reach)));
    return [-end, end];
  }
  if (state.of === "score") {
    const low = quantile(0.01);
    const high = Math.max(greatest, quantile(1));
    const step = nice((high - low) / 4 || 1);
    return [Math.floor(low / step) * step, Math.ceil(high / step) * step || step];
  }
  const high = rounded(Math.max(greatest, quantile(1)), true);
  if (state.scale === "linear") return [0, high];
  const low = power(Math.floor(Math.log10(quantile(0.02)) + 1e-6));
  return [Math.min(Math.max(low, high * 10 ** -MOST_DECADES), high / 10), high];
}

/** Ends worth beginning with, before anything is in sight. @param {Pick<State, "of" | "scale">} state @returns {[number, number]} */
export function usual(state) {
  if (state.of === "enrichment") return [-6, 6];
  if (state.of === "score") return [-10, 10];
  return state.scale === "linear" ? [0, 1] : [1e-4, 1];
}

/** A factor times a power of ten, the number that is written so: 10 ** -5 is not quite 1e-5. */
const power = (/** @type {number} */ exponent, factor = 1) => Number(`${factor}e${exponent}`);

/** The nearest of 1, 2 or 5 times a power of ten, above or below. @param {number} value @param {boolean} up */
function rounded(value, up) {
  const exponent = Math.floor(Math.log10(value));
  const steps = [power(exponent), power(exponent, 2), power(exponent, 5), power(exponent + 1)];
  // A hair of slack: a weight of 1 comes out of float16 as 1.0005, and is still 1.
  if (up) return steps.find((step) => step >= value * (1 - 1e-3)) ?? steps[3];
  return [...steps].reverse().find((step) => step <= value * (1 + 1e-3)) ?? steps[0];
}

/** A round step at least this large: 1, 2 or 5 times a power of ten. @param {number} raw */
export const nice = (raw) => rounded(raw, true);

/**
 * Values worth a mark on the legend.
 *
 * @param {Ruler} scale
 */
export function ticks(scale) {
  const { low, high } = scale;
  let inner = [];
  if (scale.log) {
    for (let e = Math.ceil(Math.log10(low) - 1e-9); e <= Math.log10(high) + 1e-9; e++) inner.push(power(e));
  } else {
    const step = nice((high - low) / 6);
    for (let t = Math.ceil(low / step - 1e-9); t * step <= high + step * 1e-6; t++) inner.push(t * step);
  }
  // Those far enough from the ends that the numbers do not touch.
  inner = inner.filter((value) => place(scale, value) > 0.09 && place(scale, value) < 0.91);
  return [low, ...inner, high];
}

/** A tick in few characters: 1, 0.02, 1e−5. @param {number} value */
export function tickText(value) {
  const size = Math.abs(value);
  const text = size === 0 || (size >= 1e-3 && size < 1e5) ? String(Number(value.toPrecision(4))) : value.toExponential(0).replace("e+", "e");
  return text.replace(/-/g, "\u2212");
}

const POOLED = { max: "largest", mean: "mean", sum: "sum of the" };
const NAMES = { weight: "weight", enrichment: "enrichment", score: "score", relative: "weight relative to its row's largest" };

/**
 * What one pixel shows, in words.
 *
 * @param {Pick<State, "of" | "pool">} state
 * @param {number} pooled cells along the side of a pixel's square
 */
export function pixelWords({ of, pool }, pooled) {
  if (pooled === 1) return `a cell is one ${NAMES[of]}`;
  const many = pool === "sum" ? "weights" : NAMES[of];
  return `a pixel is the ${POOLED[pool]} ${many} of ${pooled} × ${pooled} cells`;
}

/** What the ramp means, in words. @param {Ruler} scale */
export function scaleWords(scale) {
  const { of, log, low, high, fitted } = scale;
  const kind = of === "enrichment" ? "log2(weight × visible keys), 0 = an even look" : of === "score" ? "scores before the softmax" : log ? "log scale" : "linear scale";
  return `${kind}, ${fitted ? "fitted to the view" : "fixed"}: ${tickText(low)} to ${tickText(high)}`;
}

/** What was left out, in words; empty where nothing was. @param {Pick<State, "skip" | "renorm" | "of">} state */
export function skipWords({ skip, renorm, of }) {
  if (!skip) return "";
  const keys = skip === 1 ? "key 0 left out" : `first ${skip} keys left out`;
  return of === "score" ? keys : `${keys}, rows ${renorm ? "renormalised over the rest" : "not renormalised"}`;
}
