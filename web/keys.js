// Keys: what a wheel and a pointer can do, without them. chrome.js lists them under `?`.

import { toX, toY } from "./view.js";

/** @type {Record<string, readonly [number, number]>} what the map moves by, in steps */
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Listens on the whole page, since the map is what the page is about; keys in a field or a dialog stay there.
 *
 * @param {HTMLElement} canvas
 * @param {import("./app.js").App} app
 * @param {object} map
 * @param {(dx: number, dy: number) => void} map.pan
 * @param {(factor: number, x: number, y: number) => void} map.zoom
 * @param {() => import("./plate.js").Scene} map.scene
 * @param {() => void} map.picture
 * @returns {() => void} stops listening
 */
export function keys(canvas, app, map) {
  /** @param {KeyboardEvent} event */
  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const at = /** @type {HTMLElement} */ (event.target);
    const onMap = at === canvas || at === document.body;
    if (!onMap && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) return;
    const { state } = app;
    const arrow = ARROWS[event.key];
    if (arrow && onMap) (event.shiftKey ? movePin : move)(...arrow);
    else if (event.key === "+" || event.key === "=") map.zoom(Math.SQRT2, ...focus());
    else if (event.key === "-" || event.key === "_") map.zoom(Math.SQRT1_2, ...focus());
    else if (event.key === "0" || (event.key === "Home" && onMap)) app.set({ x: null, y: null, z: null }, { push: true });
    else if (event.key === "Escape" && onMap && (state.query !== null || state.key !== null)) app.pin(null, null);
    else if (event.key === "e") map.picture();
    else if (event.key === "t") app.set({ panes: !state.panes }, { push: true });
    else if (event.key === "[" || event.key === "]") nextHead(event.key === "]" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  /** An eighth of the view. @param {number} right @param {number} down */
  function move(right, down) {
    const { plot } = map.scene().view;
    const step = Math.round(Math.min(plot.width, plot.height) / 8);
    map.pan(right * step, down * step);
  }

  /** Moves what is pinned by a pixel of the map, which may be a single cell. @param {number} right @param {number} down */
  function movePin(right, down) {
    const { state, tape } = app;
    const { view, level } = map.scene();
    const by = 2 ** level;
    const within = (/** @type {number} */ value, /** @type {number} */ length) => Math.min(length - 1, Math.max(0, value));
    app.set({
      query: within((state.query ?? Math.floor(view.y)) - down * by, tape.n_queries),
      key: within((state.key ?? Math.floor(view.x)) - right * by, tape.n_keys),
    });
  }

  /** Where the keyboard zooms: at the pinned cell if that is in sight, else in the middle. @returns {[number, number]} */
  function focus() {
    const { view } = map.scene();
    const { plot } = view;
    const x = app.state.key === null ? NaN : toX(view, app.state.key + 0.5);
    const y = app.state.query === null ? NaN : toY(view, app.state.query + 0.5);
    const inside = x >= plot.x && x <= plot.x + plot.width && y >= plot.y && y <= plot.y + plot.height;
    return inside ? [x, y] : [plot.x + plot.width / 2, plot.y + plot.height / 2];
  }

  /** @param {1 | -1} by */
  function nextHead(by) {
    const { layers } = app.tape;
    let { layer, head } = app.state;
    head += by;
    if (head < 0 && layer > 0) head = layers[--layer].n_heads - 1;
    else if (head >= layers[layer].n_heads && layer < layers.length - 1) [layer, head] = [layer + 1, 0];
    app.set({ layer, head }, { push: true });
  }

  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}
