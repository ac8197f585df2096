// Readout: what is pointed at, in words, exact where single cells can be told apart.

import { count, el, fill, number, visible } from "./dom.js";
import { pixelWords, shown } from "./scale.js";
import { Tiles } from "./tiles.js";

/** @typedef {import("./plate.js").Scene} Scene */

/**
 * The value of the map at a cell, in shown units, as the finest tile at hand has it.
 *
 * @param {Scene} scene
 * @param {number} row
 * @param {number} key
 */
export function valueAt(scene, row, key) {
  const { tile: side, top } = scene.app.tape;
  for (let z = scene.level; z <= top; z++) {
    const r = Math.floor(row / 2 ** z);
    const c = Math.floor(key / 2 ** z);
    const tile = scene.tiles.get({ z, y: Math.floor(r / side), x: Math.floor(c / side) });
    if (tile) return { value: shown(scene.ruler.of, Tiles.value(tile, r % side, c % side)), z, sampled: tile.sampled };
  }
  return null;
}

/** A position and its token, where the text is known. @param {Scene["app"]} app @param {number} at @returns {(Node | string)[]} */
function named(app, at) {
  const token = app.token(at);
  return token === null ? [count(at)] : [`${count(at)} `, el("b", { class: "token" }, visible(token, 24))];
}

/**
 * Fills the readout.
 *
 * @param {HTMLElement} line
 * @param {Scene} scene
 */
export function readout(line, scene) {
  const { app, state, series, level, cells } = scene;
  const { hover } = app;
  const row = hover ? hover.query : state.query;
  const key = hover ? hover.key : state.key;
  const pinned = !hover && (state.query !== null || state.key !== null);
  if (row === null && key === null) {
    fill(line, el("span", { class: "hint" }, "Point at the map: which query reads which key, and how much. Click to pin; ? for the keys."));
    return;
  }
  /** @type {(Node | string)[]} */
  const parts = [];
  if (pinned) parts.push(el("span", { class: "pin-mark" }, "pinned "));
  const fromMap = hover?.from === "map";
  if (row !== null && key !== null && fromMap && level > 0) {
    // A pixel is many cells: it is named as what it is.
    const cellsAcross = 2 ** level;
    const span = (/** @type {number} */ at, /** @type {number} */ length, /** @type {number} */ first) => {
      const from = at - (at % cellsAcross);
      return `${count(from + first)}\u2013${count(Math.min(from + cellsAcross, length) - 1 + first)}`;
    };
    parts.push(`queries ${span(row, app.tape.n_queries, app.tape.offset)}, keys ${span(key, app.tape.n_keys, 0)}: `);
    const found = valueAt(scene, row, key);
    if (!found) parts.push("on its way \u2026");
    else if (Number.isNaN(found.value)) parts.push("never computed");
    else {
      const words = pixelWords(state, 2 ** found.z).replace(/^a pixel is the | of \d+ × \d+ cells$/g, "");
      parts.push(`${words} `, el("b", {}, number(found.value)), ` in ${count(2 ** found.z)} × ${count(2 ** found.z)} cells${found.sampled ? " (sampled)" : ""}`);
    }
  } else {
    if (row !== null) parts.push("query ", ...named(app, app.position(row)));
    if (row !== null && key !== null) {
      const cell = cells.get(state.layer, state.head, row, key);
      if (cell && Number.isNaN(cell.weight)) parts.push(" does not read key ");
      else parts.push(" reads key ");
      parts.push(...named(app, key));
      if (!cell) parts.push((app.source.finest?.(state.layer, state.head) ?? null) === null ? ": \u2026" : ": this product is not in this page");
      else if (Number.isNaN(cell.weight)) parts.push(": never computed");
      else {
        parts.push(": weight ", el("b", {}, number(cell.weight, 4)), `, score ${number(cell.score, 4)}, q\u00b7k ${number(cell.dot, 4)}`);
        if (state.of === "enrichment" || state.of === "relative" || state.skip) {
          const found = level === 0 ? valueAt(scene, row, key) : null;
          const name = state.of === "enrichment" ? "log2 enrichment" : state.of === "relative" ? "of its row's largest" : state.skip ? "as shown" : "";
          if (found && name && !Number.isNaN(found.value)) parts.push(`, ${name} ${number(found.value)}`);
        }
      }
    } else if (key !== null) parts.push("key ", ...named(app, key));
  }
  const beside = series
    .map((track) => {
      const at = track.axis === "query" ? row : key;
      const value = at === null || (fromMap && level > 0) ? undefined : track.values[at];
      return value === undefined || Number.isNaN(value) ? "" : `${track.title} ${number(value)} ${track.unit}`.trim();
    })
    .filter(Boolean);
  if (beside.length) parts.push(el("span", { class: "hint" }, `  \u00b7  ${beside.join(", ")}`));
  fill(line, ...parts);
}
