// Axes: tokens where there is room for them, round positions where there is not.

import { count, visible } from "./dom.js";
import { marks, sight, toX, toY } from "./view.js";

/** Pixels that a token needs across its line. */
export const TOKEN_ROOM = 14;

/** Pixels that a token needs along its line, to be written level. */
const FLAT_ROOM = 56;

/** @typedef {Pick<CanvasRenderingContext2D, "save" | "restore" | "translate" | "rotate" | "fillText" | "measureText" | "fillRect" | "strokeRect" | "beginPath" | "moveTo" | "lineTo" | "closePath" | "rect" | "clip" | "fill" | "stroke" | "font" | "fillStyle" | "strokeStyle" | "lineWidth" | "textAlign" | "textBaseline" | "globalAlpha">} Pen */

/** @type {Map<string, string>} */
const cut = new Map();

/**
 * A token cut to a width, white space visible.
 *
 * @param {Pen} pen
 * @param {string} token
 * @param {number} room pixels
 */
export function fitted(pen, token, room) {
  const name = `${pen.font} ${room} ${token}`;
  const known = cut.get(name);
  if (known !== undefined) return known;
  let shown = visible(token, 40);
  if (pen.measureText(shown).width > room) {
    const letters = [...shown];
    while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > room) letters.pop();
    shown = `${letters.join("")}…`;
  }
  if (cut.size > 20000) cut.clear();
  cut.set(name, shown);
  return shown;
}

/**
 * Paints both axes.
 *
 * @param {Pen} pen
 * @param {import("./plate.js").Scene} scene
 */
export function paintAxes(pen, scene) {
  const { view, theme, font, app } = scene;
  const { plot } = view;
  const { q0, q1, k0, k1 } = sight(view);
  const { offset } = app.tape;
  const { left } = scene.layout;
  const named = view.scale >= TOKEN_ROOM;
  const tokens = scene.layout.named;
  const small = `11px ${font}`;
  const middle = { key: (/** @type {number} */ k) => toX(view, k + 0.5), row: (/** @type {number} */ r) => toY(view, r + 0.5) };
  const inside = (/** @type {number} */ at, /** @type {number} */ from, /** @type {number} */ length) => at >= from - 0.5 && at <= from + length + 0.5;

  // Names of the axes, where the map begins.
  pen.font = `12.5px ${font}`;
  pen.fillStyle = theme.ink;
  pen.textBaseline = "alphabetic";
  pen.textAlign = "right";
  pen.fillText("key j (is read) \u2192", plot.x - 10, plot.y - 10);
  pen.save();
  pen.translate(plot.x - left + 18, plot.y);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "right";
  pen.fillText("\u2190 query i (reads)", 0, 0);
  pen.restore();

  // Keys, above: round numbers, and where tokens have room, the tokens between them and the map.
  pen.font = small;
  const flat = view.scale >= FLAT_ROOM;
  const right = scene.layout.right.x - 2;
  for (const k of flat ? range(k0, k1) : marks(k0, k1, view.scale, 68)) {
    const x = middle.key(k);
    if (!inside(x, plot.x, plot.width)) continue;
    if (!named) tick(pen, theme.rule, x, plot.y - 6, x, plot.y - 1);
    // A number that would run into the tracks is left out.
    if (x + pen.measureText(count(k)).width / 2 > right) continue;
    pen.fillStyle = theme.soft;
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    pen.fillText(count(k), x, tokens ? flat ? plot.y - 28 : 14 : plot.y - 10);
  }
  for (const k of tokens ? range(k0, k1) : []) {
    const x = middle.key(k);
    if (!inside(x, plot.x, plot.width)) continue;
    tick(pen, theme.rule, x, plot.y - 6, x, plot.y - 1);
    pen.fillStyle = theme.ink;
    const token = app.tokens?.[k] ?? "";
    if (flat) {
      pen.textAlign = "center";
      pen.textBaseline = "alphabetic";
      pen.fillText(fitted(pen, token, view.scale - 8), x, plot.y - 10);
      continue;
    }
    pen.save();
    pen.translate(x, plot.y - 9);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillText(fitted(pen, token, plot.y - 28), 0, 0);
    pen.restore();
  }

  // Queries, on the left.
  for (const r of named ? range(q0, q1) : rowMarks(q0, q1, offset, view.scale)) {
    const y = middle.row(r);
    if (!inside(y, plot.y, plot.height)) continue;
    tick(pen, theme.rule, plot.x - 6, y, plot.x - 1, y);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    const label = count(r + offset);
    const end = plot.x - 10;
    pen.fillStyle = theme.soft;
    if (tokens) {
      pen.textAlign = "left";
      pen.fillText(label, plot.x - left + 28, y + 0.5);
      pen.textAlign = "right";
      pen.fillStyle = theme.ink;
      pen.fillText(fitted(pen, app.tokens?.[r + offset] ?? "", left - 46 - pen.measureText(label).width), end, y + 0.5);
    } else pen.fillText(label, end, y + 0.5);
  }
  paintSteps(pen, scene);
}

/** @param {number} from @param {number} to */
function range(from, to) {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}

/** Rows at round positions. @param {number} q0 @param {number} q1 @param {number} offset @param {number} scale */
const rowMarks = (q0, q1, offset, scale) => marks(q0 + offset, q1 + offset, scale, 44).map((position) => position - offset);

/** @param {Pen} pen @param {string} colour @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 */
function tick(pen, colour, x0, y0, x1, y1) {
  pen.fillStyle = colour;
  pen.fillRect(Math.round(x0), Math.round(y0), Math.max(1, Math.round(x1 - x0)), Math.max(1, Math.round(y1 - y0)));
}

/**
 * A thin bar that tells the rows of the prefill from those decoded one by one.
 *
 * @param {Pen} pen
 * @param {import("./plate.js").Scene} scene
 */
function paintSteps(pen, { view, theme, app }) {
  const { steps } = app.tape;
  if (steps.length < 2) return;
  const { plot } = view;
  const bar = (/** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ colour) => {
    const y0 = Math.max(plot.y, toY(view, from));
    const y1 = Math.min(plot.y + plot.height, toY(view, to));
    if (y1 <= y0) return;
    pen.fillStyle = colour;
    pen.fillRect(plot.x - 4, y0, 3, Math.max(1, y1 - y0 - (view.scale > 4 ? 1 : 0)));
  };
  let row = 0;
  const { q0, q1 } = sight(view);
  bar(0, steps[0], theme.rule);
  if (view.scale <= 4) {
    bar(steps[0], app.tape.n_queries, theme.line);
    return;
  }
  steps.forEach((rows, step) => {
    if (step && row + rows > q0 && row < q1) bar(row, row + rows, theme.line);
    row += rows;
  });
}
