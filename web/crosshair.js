// Crosshair: thin boxes over the row and the column pointed at, and over the pinned ones. They lie above the canvas, so that
// pointing paints nothing anew.

import { el } from "./dom.js";
import { extent } from "./plate.js";
import { snap, toX, toY } from "./view.js";

/** Below this many pixels a box would hide what it frames: it becomes a line. */
const THIN = 5;

/** @param {HTMLElement} figure */
export function crosshair(figure) {
  const [overRow, overKey, pinRow, pinKey] = ["hover-row", "hover-key", "pin-row", "pin-key"].map((name) => el("div", { class: `cross ${name}`, hidden: true }));
  figure.append(overRow, overKey, pinRow, pinKey);

  return {
    /** Puts everything where it belongs. @param {import("./plate.js").Scene} scene */
    put({ view, level, layout, app, state }) {
      const box = extent(view);
      const { hover } = app;
      // On the map one points at a pixel, which may be many cells.
      const cells = hover?.from === "map" ? 2 ** level : 1;
      /** @param {HTMLElement} mark @param {number | null | undefined} at @param {boolean} row @param {number} size */
      const place = (mark, at, row, size) => {
        mark.hidden = at === null || at === undefined;
        if (at === null || at === undefined) return;
        const from = at - (at % size);
        const where = (/** @type {number} */ cell) => (row ? toY(view, cell) : toX(view, cell));
        const [start, room] = row ? [box.y, box.height] : [box.x, box.width];
        mark.hidden = where(from + size) <= start || where(from) >= start + room;
        if (mark.hidden) return;
        const edge = (/** @type {number} */ cell) => Math.min(start + room, Math.max(start, snap(view, where(cell))));
        const a = edge(from);
        const length = Math.max(1, edge(from + size) - a);
        const [near, far] = row ? [layout.plot.x - 6, layout.right.x + layout.right.width] : [layout.plot.y - 6, layout.below.y + layout.below.height];
        mark.style.transform = row ? `translate(${near}px, ${a}px)` : `translate(${a}px, ${near}px)`;
        mark.style.width = `${row ? far - near : length}px`;
        mark.style.height = `${row ? length : far - near}px`;
        mark.classList.toggle("thin", length < THIN);
      };
      place(overRow, hover?.query, true, cells);
      place(overKey, hover?.key, false, cells);
      place(pinRow, state.query, true, 1);
      place(pinKey, state.key, false, 1);
    },
  };
}
