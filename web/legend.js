// Legend: the ramp with its numbers, and what is not on it.

import { hatch } from "./plate.js";
import { STEPS } from "./palette.js";
import { place, tickText, ticks } from "./scale.js";

const TITLES = {
  weight: "weight",
  enrichment: "log2 (weight × visible keys)",
  score: "score",
  relative: "weight ÷ largest of its row",
};

/**
 * Paints the legend into its box.
 *
 * @param {import("./axes.js").Pen} pen
 * @param {import("./plate.js").Scene} scene
 * @param {import("./view.js").Rect} box
 */
export function paintLegend(pen, scene, box) {
  const { ruler, rgba, theme, font, app } = scene;
  const width = Math.min(box.width, 240);
  const slices = 96;
  for (let slice = 0; slice < slices; slice++) {
    const step = Math.round(((slice + 0.5) / slices) * (STEPS - 1));
    pen.fillStyle = `rgb(${rgba[4 * step]}, ${rgba[4 * step + 1]}, ${rgba[4 * step + 2]})`;
    const x = box.x + (slice * width) / slices;
    // A hair wider than its share, so that no seam shows.
    pen.fillRect(x, box.y, width / slices + (slice < slices - 1 ? 0.5 : 0), 9);
  }
  pen.font = `11px ${font}`;
  pen.textBaseline = "alphabetic";
  pen.fillStyle = theme.soft;
  const marks = ticks(ruler);
  let free = -Infinity;
  const last = marks.length - 1;
  const end = box.x + width - pen.measureText(tickText(marks[last])).width - 6;
  marks.forEach((value, index) => {
    const text = tickText(value);
    const x = box.x + place(ruler, value) * width;
    const half = pen.measureText(text).width / 2;
    const from = index === 0 ? box.x : index === last ? box.x + width - 2 * half : x - half;
    if (index !== 0 && index !== last && (from < free || x + half > end)) return;
    pen.textAlign = "left";
    pen.fillText(text, from, box.y + 21);
    free = from + 2 * half + 8;
  });
  pen.fillStyle = theme.ink;
  pen.textAlign = "left";
  pen.fillText(TITLES[ruler.of] + (ruler.log ? ", log scale" : ""), box.x, box.y + 35);

  const y = box.y + 41;
  if (pen instanceof CanvasRenderingContext2D) {
    const lines = hatch(pen, theme.paper, theme.hatch, 1);
    lines.setTransform(new DOMMatrix());
    pen.fillStyle = lines;
    pen.fillRect(box.x, y, 22, 11);
  } else {
    pen.strokeStyle = theme.hatch;
    for (let x = -11; x < 22; x += 5) {
      pen.beginPath();
      pen.moveTo(box.x + Math.max(0, x), y + 11 - Math.max(0, -x));
      pen.lineTo(box.x + Math.min(22, x + 11), y + Math.max(0, x + 11 - 22));
      pen.stroke();
    }
  }
  pen.strokeStyle = theme.rule;
  pen.lineWidth = 1;
  pen.strokeRect(box.x + 0.5, y + 0.5, 21, 10);
  pen.fillStyle = theme.soft;
  pen.fillText("never computed", box.x + 28, y + 10);
  if (app.tape.steps.length < 2) return;
  // The bar along the queries tells rows of the prefill from decoded ones.
  let x = box.x;
  for (const [name, colour] of [["prefill rows", theme.rule], ["decoded rows", theme.line]]) {
    pen.fillStyle = colour;
    pen.fillRect(x, y + 15, 3, 10);
    pen.fillStyle = theme.soft;
    pen.fillText(name, x + 7, y + 24);
    x += 20 + pen.measureText(name).width;
  }
}
