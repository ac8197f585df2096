// Controls: one sentence that says what the map shows, in which every word that can be changed is a field.

import { areEnds } from "./address.js";
import { choice, el } from "./dom.js";
import { tickText } from "./scale.js";
import { layerName } from "./words.js";

/** @typedef {import("./address.js").State} State */

/**
 * @param {HTMLElement} parent
 * @param {HTMLElement} tools where the buttons go
 * @param {import("./app.js").App} app
 * @param {{range: () => readonly [number, number], whole: () => void, picture: () => void}} map
 */
export function controls(parent, tools, app, map) {
  const { layers } = app.tape;
  const push = { push: true };
  const options = (/** @type {number} */ n) => Array.from({ length: n }, (_, i) => /** @type {const} */ ([String(i), String(i)]));

  const layer = choice(
    "layer",
    layers.map((one, index) => [String(index), layerName(one)]),
    "",
    (value) => app.set({ layer: Number(value) }, push),
  );
  const head = choice("head", [], "", (value) => app.set({ head: Number(value) }, push));
  const of = choice(
    "what a cell shows",
    [
      ["weight", "weight"],
      ["enrichment", "enrichment"],
      ["score", "raw score"],
      ["relative", "weight ÷ row’s largest"],
    ],
    "",
    (value) => app.set({ of: /** @type {State["of"]} */ (value), range: null }, push),
  );
  const pool = choice(
    "how cells become a pixel",
    [
      ["max", "largest"],
      ["mean", "mean"],
      ["sum", "sum of"],
    ],
    "",
    (value) => app.set({ pool: /** @type {State["pool"]} */ (value), range: null }, push),
  );
  const scale = choice(
    "scale",
    [
      ["log", "log scale"],
      ["linear", "linear scale"],
    ],
    "",
    (value) => app.set({ scale: /** @type {State["scale"]} */ (value), range: null }, push),
  );
  const range = choice(
    "range of the scale",
    [
      ["fitted", "fitted to the view"],
      ["fixed", "fixed"],
    ],
    "",
    (value) => app.set({ range: value === "fixed" ? [...map.range()] : null }, push),
  );
  const end = (/** @type {string} */ label, /** @type {0 | 1} */ which) => {
    const input = el("input", {
      type: "text",
      inputmode: "decimal",
      size: 6,
      "aria-label": label,
      change: () => {
        const now = app.state.range ?? map.range();
        const value = Number(input.value.replace(/\u2212/g, "-"));
        const ends = /** @type {[number, number]} */ (which ? [now[0], value] : [value, now[1]]);
        if (input.value.trim() && areEnds(...ends)) app.set({ range: ends }, push);
        else {
          said = "";
          update(app.state);
        }
      },
    });
    return input;
  };
  const low = end("low end of the scale", 0);
  const high = end("high end of the scale", 1);
  const plain = el("span", {}, "scale ");
  const ends = el("span", { class: "ends" }, " from ", low, " to ", high);

  const skip = el("input", {
    type: "number",
    min: 0,
    max: Math.max(0, app.tape.n_keys - 1),
    step: 1,
    "aria-label": "first keys to leave out",
    change: () => app.set({ skip: Math.max(0, Math.trunc(Number(skip.value) || 0)) }, push),
  });
  const renorm = choice(
    "rows renormalised",
    [
      ["0", "rows not renormalised"],
      ["1", "rows renormalised over the rest"],
    ],
    "",
    (value) => app.set({ renorm: value === "1" }, push),
  );

  const panes = el("button", { class: "quiet", "aria-pressed": "true", click: () => app.set({ panes: !app.state.panes }, push) }, "Text");
  parent.append(
    el("span", { class: "phrase" }, "Layer ", layer, " head ", head),
    el("span", { class: "phrase" }, "shows the ", pool, " ", of),
    el("span", { class: "phrase" }, "on a ", scale, plain, " ", range, ends),
    el("span", { class: "phrase" }, "leaving out the first ", skip, " keys ", renorm),
  );
  tools.append(
    el(
      "span",
      { class: "tools" },
      el("button", { class: "quiet", title: "The whole map (0)", click: map.whole }, "Whole map"),
      el("button", { class: "quiet", title: "Save this view as a picture (e)", click: map.picture }, "Picture"),
      panes,
    ),
  );

  let said = "";
  /** @param {Readonly<State>} state */
  function update(state) {
    // While the map moves nothing here changes, and nothing is touched.
    const now = [state.layer, state.head, state.of, state.pool, state.scale, state.range, state.skip, state.renorm, state.panes].join();
    if (now === said) return;
    said = now;
    layer.value = String(state.layer);
    const heads = layers[state.layer].n_heads;
    if (head.options.length !== heads) head.replaceChildren(...options(heads).map(([value, words]) => el("option", { value }, words)));
    head.value = String(state.head);
    of.value = state.of;
    pool.value = state.pool;
    for (const option of pool.options) if (option.value === "sum") option.disabled = state.of !== "weight";
    scale.value = state.scale;
    scale.hidden = state.of === "enrichment" || state.of === "score";
    plain.hidden = !scale.hidden;
    range.value = state.range ? "fixed" : "fitted";
    ends.hidden = !state.range;
    if (state.range) {
      low.value = tickText(state.range[0]);
      high.value = tickText(state.range[1]);
    }
    skip.value = String(state.skip);
    renorm.hidden = !state.skip || state.of === "score";
    renorm.value = state.renorm ? "1" : "0";
    panes.setAttribute("aria-pressed", String(state.panes));
  }
  return { update };
}
