// A card of the contact sheet: one head as a small map, its name and what stands out in it.

import { el, fill, number } from "./dom.js";
import { MEASURES, notable } from "./measures.js";
import { STEPS } from "./palette.js";
import { HALF } from "./scale.js";

/** @typedef {import("./source.js").Frame} Frame */

/** The ends of the one scale of all cards. */
export const LOW = 1e-4;
export const HIGH = 1;

/** One head: its small map, its name and what stands out in it. */
export class Card {
  /** @param {import("./app.js").App} app @param {number} layer @param {number} head */
  constructor(app, layer, head) {
    this.layer = layer;
    this.head = head;
    this.name = `${layer}.${head}`;
    this.seen = false;
    this.wanting = true;
    /** @type {"none" | "exact" | "sampled" | "error"} */
    this.state = "none";
    /** @type {Frame | null} */
    this.frame = null;
    this.colours = new Uint32Array(STEPS);
    this.canvas = el("canvas", { width: 1, height: 1, "aria-hidden": "true" });
    this.note = el("span", { class: "note" });
    this.title = el("span", { class: "name" });
    this.trait = el("span", { class: "trait" });
    this.rule = el("span", { class: "rule", hidden: true }, ...broken(app.tape.layers[layer]?.pattern ?? ""));
    this.element = el(
      "a",
      {
        class: "sheet-head",
        href: `#/map/${layer}/${head}`,
        "data-head": this.name,
        "data-state": "none",
        click: (/** @type {MouseEvent} */ event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a new tab is the browser's
          event.preventDefault();
          app.set({ page: "map", layer, head, x: null, y: null, z: null }, { push: true });
        },
      },
      el("span", { class: "frame" }, this.canvas, this.note),
      el("span", { class: "words" }, this.title, this.trait),
      this.rule,
    );
    this.item = el("li", {}, this.element);
    const { n_queries, n_keys } = app.tape;
    const wide = Math.min(1, n_keys / Math.max(1, n_queries));
    const tall = Math.min(1, n_queries / Math.max(1, n_keys));
    this.canvas.style.width = `${Math.max(4, 100 * wide)}%`;
    this.canvas.style.height = `${Math.max(4, 100 * tall)}%`;
  }

  /** @param {Frame} frame */
  show(frame) {
    this.frame = frame;
    this.state = frame.state;
    this.element.dataset.state = frame.state;
    this.note.textContent = frame.state === "sampled" ? "sampled" : "";
    this.draw(this.colours);
  }

  /** @param {string} words */
  fail(words) {
    if (this.frame) return;
    this.state = "error";
    this.element.dataset.state = "error";
    this.note.textContent = words;
  }

  /** @param {Uint32Array<ArrayBuffer>} colours */
  draw(colours) {
    this.colours = colours;
    if (!this.frame) return;
    const { rows, columns, halves, multiplier } = this.frame;
    this.canvas.width = columns;
    this.canvas.height = rows;
    const pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const image = pen.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const reach = (STEPS - 1) / Math.log(HIGH / LOW);
    for (let at = 0; at < pixels.length; at++) {
      const value = HALF[halves[at]] * multiplier;
      if (Number.isNaN(value)) continue; // never computed: the hatch behind shows
      const step = value <= LOW ? 0 : Math.min(STEPS - 1, Math.round(reach * Math.log(value / LOW)));
      pixels[at] = colours[step];
    }
    pen.putImageData(image, 0, 0);
  }

  /**
   * @param {import("./measures.js").Measure | null} measure what all are sorted or sifted by
   * @param {boolean} flat whether the heads stand in one row, not by layer
   * @param {boolean} mixed whether layers differ in pattern
   * @param {import("./source.js").HeadScores | null} scores
   */
  caption(measure, flat, mixed, scores) {
    this.title.textContent = flat ? `L${this.layer} H${this.head}` : `head ${this.head}`;
    this.rule.hidden = !flat || !mixed;
    const trait = measure ?? notable(scores);
    const words = trait?.words.replace(" token", "") ?? "";
    const said = trait ? valueOf(scores, trait) : "";
    // What all are sorted or sifted by is said once, above.
    fill(this.trait, measure || !trait ? "" : `${words} `, el("b", {}, said));
    const told = [`Layer ${this.layer}, head ${this.head}`, this.rule.textContent, `${words} ${said}`.trim()];
    this.element.setAttribute("aria-label", told.filter(Boolean).join(", "));
    this.element.title = scores ? MEASURES.map((one) => `${one.words} ${valueOf(scores, one)}`).join("\n") : "";
  }
}

/** @param {import("./source.js").HeadScores | null} scores @param {import("./measures.js").Measure} measure */
function valueOf(scores, measure) {
  const value = scores?.[measure.name] ?? null;
  return value === null ? "–" : number(value);
}

/** A pattern that may break before each operator. @param {string} pattern */
export function broken(pattern) {
  return pattern.split(/(?= [&|] )/).flatMap((part) => [el("span", {}, part)]);
}
