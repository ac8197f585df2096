// Influence: which inputs an audit found to change which outputs, beside the attention map. For the small lengths that
// an audit works at; mounted only where a report was given.

import { el, number } from "./dom.js";
import { STEPS, isDark, ramp } from "./palette.js";

const AHEAD = [217, 84, 26, 255]; // stands out on light and on dark paper
const DECADES = 6;

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  const canvas = el("canvas", { class: "influence-map", role: "img" });
  const told = el("p", { class: "influence-told", "data-testid": "influence-told" });
  parent.append(
    el(
      "div",
      { class: "influence", "data-testid": "influence" },
      canvas,
      el(
        "div",
        {},
        el("h2", {}, "Influence"),
        el(
          "p",
          { class: "influence-lead" },
          "From the audit, on its own text: how far output i, down, moves when input j, across, changes.",
        ),
        told,
      ),
    ),
  );
  /** @type {readonly (readonly (number | null)[])[]} null where nothing was tried */
  let values = [];
  let high = 0;
  let gone = false;

  canvas.addEventListener("pointermove", (event) => {
    const n = values.length;
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const i = Math.floor(((event.clientY - top) / height) * n);
    const j = Math.floor(((event.clientX - left) / width) * n);
    const value = values[i]?.[j];
    if (value === undefined) return;
    const said = value === null ? "not tried" : value === 0 ? "no influence" : `moved by ${number(value)} of the largest`;
    told.textContent = `output ${i}, input ${j}: ${said}${j > i && value ? "; the input is ahead" : ""}`;
  });
  canvas.addEventListener("pointerleave", rest);

  function rest() {
    const ahead = values.reduce((sum, row, i) => sum + row.filter((value, j) => j > i && (value ?? 0) > 0).length, 0);
    told.textContent = ahead
      ? `${ahead} ${ahead === 1 ? "pair" : "pairs"} above the diagonal: an output depends on an input ahead of it.`
      : "Nothing above the diagonal: no output depends on an input ahead of it.";
  }

  function draw() {
    const n = values.length;
    if (!n) return;
    const columns = values[0].length;
    canvas.width = columns;
    canvas.height = n;
    canvas.setAttribute("aria-label", `Influence map of ${n} outputs and ${columns} inputs`);
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = pen.createImageData(columns, n);
    const colours = ramp(isDark());
    values.forEach((row, i) =>
      row.forEach((value, j) => {
        if (!value || value < 0) return; // nothing found: the hatch behind shows
        const at = Math.max(0, Math.min(1, 1 + Math.log10(value / high) / DECADES));
        const step = 4 * Math.round(at * (STEPS - 1));
        const pixel = 4 * (i * columns + j);
        if (j > i) image.data.set(AHEAD, pixel);
        else image.data.set(colours.subarray(step, step + 4), pixel);
      }),
    );
    pen.putImageData(image, 0, 0);
  }

  app.source
    .influence()
    .then((found) => {
      if (gone) return;
      if (!found) return;
      values = found.values;
      high = Math.max(1e-30, ...values.map((row) => Math.max(...row.map((value) => value ?? 0))));
      draw();
      rest();
    })
    .catch((error) => {
      told.textContent = error instanceof Error ? error.message : String(error);
    });
  const off = app.on("theme", draw);
  return {
    update() {},
    destroy() {
      gone = true;
      off();
    },
  };
}
