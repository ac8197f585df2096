// Picture: the view as a file, with its title, axes, tracks, legend and words; painted by what paints the page.

import { paintAxes } from "./axes.js";
import { paintCells } from "./cells.js";
import { el } from "./dom.js";
import { paintLegend } from "./legend.js";
import { luminance, STEPS } from "./palette.js";
import { extent, paintMap, wishes } from "./plate.js";
import { valueAt } from "./readout.js";
import { place } from "./scale.js";
import { SvgPen } from "./svg.js";
import { paintTracks } from "./tracks.js";
import { sight, snap, toX, toY } from "./view.js";
import { caption, pinWords, title, where } from "./words.js";

/** @typedef {import("./plate.js").Scene} Scene */

const SHARP = 2;
const MARGIN = 24;
const HEAD = 44;
const LINE = 17;
const NARROWEST = 560; // title and words need as much

/** The value's luminance under a cell's words. @param {Scene} scene @returns {(row: number, key: number) => number | null} */
export const groundOf = (scene) => (row, key) => {
  const found = valueAt(scene, row, key);
  return found && !Number.isNaN(found.value) ? luminance(scene.rgba, Math.round(place(scene.ruler, found.value) * (STEPS - 1))) : null;
};

/**
 * Asks which kind of file, and saves it.
 *
 * @param {Scene} scene
 * @param {HTMLElement} parent
 */
export function savePicture(scene, parent) {
  if (parent.querySelector("dialog[open]")) return;
  const close = () => {
    dialog.close();
    dialog.remove();
  };
  const save = (/** @type {"png" | "svg"} */ kind) => async () => {
    close();
    const blob = kind === "png" ? await png(scene) : new Blob([svg(scene)], { type: "image/svg+xml" });
    download(blob, `${fileName(scene)}.${kind}`);
    scene.app.say(`saved ${fileName(scene)}.${kind}`);
  };
  const dialog = el(
    "dialog",
    { class: "save", "aria-label": "Save this view", cancel: close },
    el("p", {}, "Save this view, with its axes, tracks, legend and words, as"),
    el("p", { class: "buttons" }, el("button", { autofocus: true, click: save("png") }, "PNG"), el("button", { click: save("svg") }, "SVG"), el("button", { class: "quiet", click: close }, "Cancel")),
  );
  parent.append(dialog);
  dialog.showModal();
}

/** @param {Scene} scene */
function fileName({ app, state }) {
  const name = app.tape.title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 40) || "map";
  return `${name}-layer${state.layer}-head${state.head}`;
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has taken the blob by the time anything else happens; a moment is for slow ones.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * The words below the picture, in lines that fit.
 *
 * @param {Scene} scene
 * @param {CanvasRenderingContext2D} ruler
 * @param {number} room
 */
function lines(scene, ruler, room) {
  ruler.font = `12px ${scene.font}`;
  const { missing, sampled } = scene.tiles.standing();
  const clauses = [where(scene, sight(scene.view)), ...caption(scene)];
  const pin = pinWords(scene);
  if (pin) clauses.push(pin);
  if (sampled) clauses.push("sampled: a preview, not exact");
  if (missing) clauses.push("some tiles had not arrived: coarser ones stand in for them");
  const wrapped = [""];
  for (const clause of clauses) {
    const last = wrapped[wrapped.length - 1];
    const joined = last ? `${last}  \u00b7  ${clause}` : clause;
    if (last && ruler.measureText(joined).width > room) wrapped.push(clause);
    else wrapped[wrapped.length - 1] = joined;
  }
  wrapped.push(`lookbehind \u00b7 ${[scene.app.tape.title, scene.app.tape.model].filter((part, index, all) => part && all.indexOf(part) === index).join(" \u00b7 ")}`);
  return wrapped;
}

/**
 * Everything but the raster of the map.
 *
 * @param {import("./axes.js").Pen} pen
 * @param {Scene} scene
 * @param {string[]} words
 */
function around(pen, scene, words) {
  const { theme, font, layout } = scene;
  pen.fillStyle = theme.ink;
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  pen.font = `19px ${font}`;
  pen.fillText(title(scene), layout.plot.x, -16);
  paintAxes(pen, scene);
  paintTracks(pen, scene);
  paintLegend(pen, scene, scene.layout.legend);
  paintPins(pen, scene);
  pen.font = `12px ${font}`;
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  words.forEach((line, index) => {
    pen.fillStyle = theme.soft;
    pen.fillText(line, 14, layout.height + 18 + index * LINE);
  });
}

/** @param {import("./axes.js").Pen} pen @param {Scene} scene */
export function paintPins(pen, { view, state, theme }) {
  const box = extent(view);
  pen.strokeStyle = theme.pin;
  pen.lineWidth = 1;
  if (state.query !== null) {
    const y = snap(view, toY(view, state.query));
    const h = Math.max(1, snap(view, toY(view, state.query + 1)) - y);
    if (y >= box.y && y + h <= box.y + box.height) pen.strokeRect(box.x, y, box.width, h);
  }
  if (state.key !== null) {
    const x = snap(view, toX(view, state.key));
    const w = Math.max(1, snap(view, toX(view, state.key + 1)) - x);
    if (x >= box.x && x + w <= box.x + box.width) pen.strokeRect(x, box.y, w, box.height);
  }
}

/** @param {Scene} scene @param {number} ratio */
function sharper(scene, ratio) {
  return { ...scene, view: { ...scene.view, ratio } };
}

/** @param {number} width @param {number} height */
function sheet(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width);
  canvas.height = Math.round(height);
  return { canvas, context: /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")) };
}

/** @param {Scene} scene the map alone, its upper left corner at the plot's */
function mapAlone(scene) {
  const { layout } = scene;
  const sharp = sharper(scene, SHARP);
  const { canvas, context } = sheet(layout.width * SHARP, layout.height * SHARP);
  context.setTransform(SHARP, 0, 0, SHARP, 0, 0);
  // The tiles of the page's own level: what was looked at is what is saved.
  paintMap(context, sharp, wishes(scene).own);
  return { canvas, sharp };
}

/**
 * @param {Scene} scene
 * @returns {Promise<Blob>}
 */
async function png(scene) {
  const { layout, theme } = scene;
  const { canvas: map, sharp } = mapAlone(scene);
  const width = Math.max(layout.width, NARROWEST);
  const words = lines(scene, sheet(1, 1).context, width - 28);
  const { canvas, context } = sheet((width + 2 * MARGIN) * SHARP, (layout.height + HEAD + words.length * LINE + MARGIN + 12) * SHARP);
  context.setTransform(SHARP, 0, 0, SHARP, 0, 0);
  context.fillStyle = theme.paper;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.translate(MARGIN, HEAD);
  context.drawImage(map, 0, 0, layout.width, layout.height);
  paintCells(context, sharp, groundOf(sharp));
  around(context, sharp, words);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser made no picture"))), "image/png"));
}

/** @param {Scene} scene */
function svg(scene) {
  const { layout, theme } = scene;
  const { canvas: map, sharp } = mapAlone(scene);
  const ruler = sheet(1, 1).context;
  const width = Math.max(layout.width, NARROWEST);
  const words = lines(scene, ruler, width - 28);
  const box = extent(sharp.view);
  const part = sheet(box.width * SHARP, box.height * SHARP);
  part.context.drawImage(map, -box.x * SHARP, -box.y * SHARP);
  const pen = new SvgPen(width + 2 * MARGIN, layout.height + HEAD + words.length * LINE + MARGIN + 12, ruler);
  pen.fillStyle = theme.paper;
  pen.fillRect(0, 0, pen.width, pen.height);
  pen.save();
  pen.translate(MARGIN, HEAD);
  pen.picture(part.canvas.toDataURL("image/png"), box);
  pen.strokeStyle = theme.rule;
  pen.strokeRect(box.x - 0.5, box.y - 0.5, box.width + 1, box.height + 1);
  paintCells(pen, sharp, groundOf(sharp));
  around(pen, sharp, words);
  pen.restore();
  return pen.text(title(scene));
}
