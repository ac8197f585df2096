import assert from "node:assert/strict";
import { test } from "node:test";
import { paintCells, ROOM } from "../cells.js";

test("what is written into a cell stays in it, however small the weight and long the tokens", () => {
  const cell = { dot: -1234.567, score: -1.234e-5, weight: 5.6789e-11 };
  const tokens = ["a", "Donaudampfschifffahrtsgesellschaft"];
  for (let scale = ROOM.weight; scale <= 160; scale++) {
    /** @type {string[]} */
    const written = [];
    const pen = {
      font: "",
      save() {},
      restore() {},
      beginPath() {},
      rect() {},
      clip() {},
      measureText: (/** @type {string} */ text) => ({ width: [...text].length * 0.62 * parseFloat(pen.font) }),
      fillText: (/** @type {string} */ text) => written.push(text),
    };
    const view = { scale, x: 1, y: 1, rows: 2, columns: 2, plot: { x: 0, y: 0, width: 2 * scale, height: 2 * scale } };
    const app = { tokens, token: (/** @type {number} */ at) => tokens[at], position: (/** @type {number} */ row) => row };
    paintCells(/** @type {any} */ (pen), /** @type {any} */ ({ view, state: { layer: 0, head: 0 }, cells: { get: () => cell }, font: "x", app }), () => 1);
    assert.ok(written.length >= 4);
    for (const text of written) assert.ok(pen.measureText(text).width <= scale, `${text} in ${scale}`);
    if (scale >= ROOM.tokens) assert.ok(written.some((text) => text.startsWith("a → Don") || text.startsWith("Don")));
  }
});
