// Tracks: one number per query right of the map, one per key below it, on the map's own pixels: what stands beside a row
// of pixels is the least, the mean and the greatest of exactly the queries of that row.

import { number } from "./dom.js";
import { keyAt, rowAt, sight, snap, toX, toY } from "./view.js";

/**
 * @typedef {object} Series a track with what painting it needs
 * @property {string} name
 * @property {"query" | "key"} axis
 * @property {Float32Array} values
 * @property {string} title
 * @property {string} unit
 * @property {boolean} log
 * @property {number} low
 * @property {number} high
 * @property {Blocks} blocks
 *
 * @typedef {{least: Float32Array, most: Float32Array, sum: Float64Array, n: Int32Array}} Blocks
 */

const BLOCK = 64;

/** @type {Record<string, {words: string, unit?: string, log?: boolean, high?: number}>} */
export const KNOWN = {
  entropy: { words: "entropy of the query\u2019s row of weights, in nats", unit: "nats" },
  sink: { words: "the query\u2019s weight on key 0", high: 1 },
  loss: { words: "the model\u2019s loss on the token after the query, in nats", unit: "nats" },
  received: { words: "received mass: the sum of the weights by which all queries read the key", log: true },
};

/**
 * A track, ready to be painted: its ends are those of the whole track, so that zooming never rescales it.
 *
 * @param {import("./source.js").Track} track
 * @returns {Series}
 */
export function series({ name, axis, values }) {
  const known = KNOWN[name] ?? { words: name };
  const blocks = blocksOf(values);
  let most = 0;
  let least = Infinity;
  for (const value of values) {
    if (value > most) most = value;
    if (value > 0 && value < least) least = value;
  }
  const log = known.log ?? false;
  // Below a millionth there is only rounding: the entropy of a query with one key.
  const high = known.high ?? (most > 1e-6 ? most : 1);
  const low = log ? Math.max(Math.min(least, high / 10), high * 1e-5) : 0;
  return { name, axis, values, title: name, unit: known.unit ?? "", log, low, high, blocks };
}

/** @param {Float32Array} values @returns {Blocks} */
function blocksOf(values) {
  const size = Math.ceil(values.length / BLOCK);
  const blocks = { least: new Float32Array(size), most: new Float32Array(size), sum: new Float64Array(size), n: new Int32Array(size) };
  for (let b = 0; b < size; b++) {
    const { least, most, sum, n } = plain(values, b * BLOCK, Math.min(values.length, (b + 1) * BLOCK));
    blocks.least[b] = least;
    blocks.most[b] = most;
    blocks.sum[b] = sum;
    blocks.n[b] = n;
  }
  return blocks;
}

/** @param {Float32Array} values @param {number} from @param {number} to */
function plain(values, from, to) {
  let least = Infinity;
  let most = -Infinity;
  let sum = 0;
  let n = 0;
  for (let i = from; i < to; i++) {
    const value = values[i];
    if (Number.isNaN(value)) continue;
    if (value < least) least = value;
    if (value > most) most = value;
    sum += value;
    n += 1;
  }
  return { least, most, sum, n };
}

/**
 * Least, greatest and sum of the values from one index to another; values that are not there (NaN) do not count.
 *
 * @param {Pick<Series, "values" | "blocks">} track
 * @param {number} from
 * @param {number} to
 */
export function pooled({ values, blocks }, from, to) {
  const first = Math.ceil(from / BLOCK);
  const last = Math.floor(to / BLOCK);
  if (first >= last) return plain(values, from, to);
  const all = plain(values, from, first * BLOCK);
  const tail = plain(values, last * BLOCK, to);
  all.least = Math.min(all.least, tail.least);
  all.most = Math.max(all.most, tail.most);
  all.sum += tail.sum;
  all.n += tail.n;
  for (let b = first; b < last; b++) {
    all.least = Math.min(all.least, blocks.least[b]);
    all.most = Math.max(all.most, blocks.most[b]);
    all.sum += blocks.sum[b];
    all.n += blocks.n[b];
  }
  return all;
}

/** Where a value lies between the ends of a track, 0 to 1. @param {Series} track @param {number} value */
export function share({ log, low, high }, value) {
  const at = log ? (value <= low ? 0 : Math.log(value / low) / Math.log(high / low)) : value / high;
  return Math.min(1, Math.max(0, at));
}

/**
 * The steps of a track on the screen: for each pixel (or each cell, where cells are larger) its place and what of the
 * track lies in it.
 *
 * @param {Series} track
 * @param {import("./view.js").View} view
 * @returns {{from: number, to: number, least: number, mean: number, most: number}[]}
 */
export function stepsOf(track, view) {
  const { plot, ratio, scale } = view;
  const seen = sight(view);
  const rows = track.axis === "query";
  const first = rows ? seen.q0 : seen.k0;
  const last = Math.min(rows ? seen.q1 : seen.k1, track.values.length);
  const steps = [];
  if (scale * ratio >= 1) {
    const edge = (/** @type {number} */ cell) => snap(view, rows ? toY(view, cell) : toX(view, cell));
    for (let cell = first; cell < last; cell++) {
      const value = track.values[cell];
      if (!Number.isNaN(value)) steps.push({ from: edge(cell), to: edge(cell + 1), least: value, mean: value, most: value });
    }
    return steps;
  }
  // The pixel rows of the map: those of its level, which the map draws one value at a time.
  const start = Math.round((rows ? plot.y : plot.x) * ratio);
  const pixels = Math.round((rows ? plot.height : plot.width) * ratio);
  const at = (/** @type {number} */ pixel) => (rows ? rowAt(view, pixel / ratio) : keyAt(view, pixel / ratio));
  for (let pixel = start; pixel < start + pixels; pixel++) {
    // A cell begins where its edge is rounded to, here as in the map.
    const from = Math.max(first, Math.ceil(at(pixel - 0.5)));
    const to = Math.min(last, Math.max(Math.ceil(at(pixel + 0.5)), from + 1));
    if (from >= to) continue;
    const { least, most, sum, n } = pooled(track, from, to);
    if (n) steps.push({ from: pixel / ratio, to: (pixel + 1) / ratio, least, mean: sum / n, most });
  }
  return steps;
}

/**
 * Paints all tracks.
 *
 * @param {import("./axes.js").Pen} pen
 * @param {import("./plate.js").Scene} scene
 */
export function paintTracks(pen, scene) {
  const { layout, series: all, theme, font } = scene;
  const beside = all.filter((track) => track.axis === "query" && layout.strip > 0);
  beside.forEach((track, index) => {
    const box = { x: layout.right.x + 6 + index * (layout.strip + 10), y: layout.right.y, width: layout.strip, height: layout.right.height };
    paint(pen, scene, track, box);
    pen.font = `11px ${font}`;
    pen.textAlign = "left";
    pen.textBaseline = "alphabetic";
    pen.fillStyle = theme.ink;
    pen.fillText(track.title, box.x, box.y - 22);
    pen.fillStyle = theme.soft;
    const some = track.blocks.n.some((n) => n > 0);
    pen.fillText(some ? "0" : "none yet", box.x, box.y - 8);
    const named = pen.measureText(`${track.title} `).width;
    if (named + pen.measureText(track.unit).width <= layout.strip + 4) pen.fillText(track.unit, box.x + named, box.y - 22);
    if (!some) return;
    pen.textAlign = "right";
    pen.fillText(number(track.high, 2), box.x + box.width, box.y - 8);
  });
  const under = all.find((track) => track.axis === "key");
  if (!under) return;
  const box = { ...layout.below };
  paint(pen, scene, under, box);
  pen.font = `11px ${font}`;
  pen.textAlign = "right";
  pen.textBaseline = "alphabetic";
  pen.fillStyle = theme.ink;
  pen.fillText(under.title, box.x - 10, box.y + box.height / 2);
  pen.fillStyle = theme.soft;
  pen.fillText(under.log ? "log" : "", box.x - 10, box.y + box.height / 2 + 13);
  pen.fillText(number(under.high, 2), box.x - 10, box.y + 8);
  pen.fillText(number(under.low, 2), box.x - 10, box.y + box.height);
}

/**
 * One track in its box: a band from the least to the greatest value of each pixel, and a line at the mean.
 *
 * @param {import("./axes.js").Pen} pen
 * @param {import("./plate.js").Scene} scene
 * @param {Series} track
 * @param {import("./view.js").Rect} box
 */
function paint(pen, { view, theme }, track, box) {
  const steps = stepsOf(track, view);
  const across = track.axis === "query";
  const out = (/** @type {number} */ value) => {
    const at = share(track, value);
    return across ? box.x + at * box.width : box.y + box.height - at * box.height;
  };
  pen.fillStyle = theme.rule;
  if (across) pen.fillRect(box.x - 1, box.y, 1, box.height);
  else pen.fillRect(box.x, box.y + box.height, box.width, 1);
  if (!steps.length) return;
  const single = view.scale * view.ratio >= 1;
  const base = across ? box.x : box.y + box.height;

  pen.save();
  pen.beginPath();
  // A hair wider than the box, so that a line at an end is whole.
  pen.rect(box.x - 1, box.y - (across ? 0 : 1), box.width + 2, box.height + (across ? 0 : 2));
  pen.clip();
  pen.fillStyle = theme.band;
  pen.beginPath();
  for (const { from, to, least, most } of steps) {
    const a = single ? base : out(least);
    const b = out(most);
    if (across) pen.rect(a, from, b - a, to - from);
    else pen.rect(from, b, to - from, a - b);
  }
  pen.fill();

  pen.fillStyle = theme.line;
  pen.beginPath();
  for (const { from, to, mean } of steps) {
    const at = out(mean);
    if (across) pen.rect(at - 0.75, from, 1.5, to - from);
    else pen.rect(from, at - 0.75, to - from, 1.5);
  }
  pen.fill();
  pen.restore();
}
