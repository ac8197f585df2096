// Words: what the map shows, in sentences; on the page, for screen readers and under exported pictures alike.

import { ROOM } from "./cells.js";
import { count, number, visible } from "./dom.js";
import { pixelWords, scaleWords, skipWords } from "./scale.js";

/** @param {import("./source.js").Layer} layer */
export const layerName = (layer) => `${layer.index}`;

/** @param {import("./plate.js").Scene} scene */
export function title({ state }) {
  return `Layer ${state.layer}, head ${state.head}: what each query reads`;
}

/**
 * The caption, as clauses.
 *
 * @param {import("./plate.js").Scene} scene
 * @returns {string[]}
 */
export function caption({ app, state, view, level, ruler }) {
  const layer = app.tape.layers[state.layer];
  // An exported page may hold a head from some level on only; that is what is drawn, however near one comes.
  const clauses = [`pattern: ${layer.pattern}`, pixelWords(state, 2 ** level), scaleWords(ruler)];
  if (view.scale >= ROOM.product && level === 0) clauses.push("in it: q\u00b7k, score s, weight p");
  const skipped = skipWords(state);
  if (skipped) clauses.push(skipped);
  if (layer.softcap) clauses.push(`scores softcapped at ${layer.softcap}`);
  if (layer.alibi) clauses.push("scores with ALiBi slopes");
  if (layer.sinks) clauses.push("a learned sink takes part of each row");
  if (state.grow && state.query !== null) clauses.push(`rows after query ${count(app.position(state.query))} are veiled`);
  return clauses;
}

/** Where the view lies, in words. @param {import("./plate.js").Scene} scene @param {{q0: number, q1: number, k0: number, k1: number}} seen */
export function where({ app }, { q0, q1, k0, k1 }) {
  return `queries ${count(app.position(q0))} to ${count(app.position(q1 - 1))} of ${count(app.position(app.tape.n_queries - 1))}, keys ${count(k0)} to ${count(k1 - 1)} of ${count(app.tape.n_keys - 1)}`;
}

/** What is pinned, in words; empty where nothing is. @param {import("./plate.js").Scene} scene */
export function pinWords({ app, state, cells }) {
  const { query, key, layer, head } = state;
  const named = (/** @type {string} */ what, /** @type {number} */ position) => {
    const token = app.token(position);
    return `${what} ${count(position)}${token === null ? "" : ` \u201c${visible(token, 24)}\u201d`}`;
  };
  const reader = query === null ? "" : named("query", app.position(query));
  const read = key === null ? "" : named("key", key);
  if (!reader || !read) return reader || read ? `pinned: ${reader || read}` : "";
  const cell = query === null || key === null ? null : cells.get(layer, head, query, key);
  if (!cell) return `pinned: ${reader} and ${read}`;
  return Number.isNaN(cell.weight) ? `pinned: ${reader} does not read ${read}` : `pinned: ${reader} reads ${read}, weight ${number(cell.weight)}, score ${number(cell.score)}`;
}
