// Gestures: wheel, drag, pinch and keys become moves of the view. Nothing here knows what is drawn.

/**
 * @typedef {object} Moves
 * @property {(dx: number, dy: number) => void} pan by pixels
 * @property {(factor: number, x: number, y: number) => void} zoom about a place of the screen
 * @property {(x: number, y: number) => void} point
 * @property {() => void} leave
 * @property {(x: number, y: number) => void} click
 */

// A notch of an ordinary wheel is 100 pixels: a third of a level. Trackpads send many small ones.
const WHEEL = 1 / 300;
const PINCH = 1 / 60;
// A finger is less still than a mouse.
const STILL = { mouse: 4, touch: 10 };

/**
 * Listens on an element, in its own pixels.
 *
 * @param {HTMLElement} element
 * @param {Moves} moves
 */
export function gestures(element, moves) {
  /** @type {Map<number, {x: number, y: number}>} */
  const down = new Map();
  let travelled = 0;
  let still = STILL.mouse;

  // Asked for once a while: asking makes the browser lay out the page anew, which every move would pay for.
  /** @type {DOMRect | null} */
  let box = null;
  const forget = () => {
    box = null;
  };
  new ResizeObserver(forget).observe(element);
  element.addEventListener("pointerenter", forget);
  element.addEventListener("pointerdown", forget, { capture: true });
  const place = (/** @type {MouseEvent} */ event) => {
    box ??= element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = place(event);
      const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1);
      // Browsers send a trackpad's pinch as a wheel with the control key.
      moves.zoom(2 ** (-Math.max(-240, Math.min(240, pixels)) * (event.ctrlKey ? PINCH : WHEEL)), x, y);
    },
    { passive: false },
  );

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    still = event.pointerType === "mouse" ? STILL.mouse : STILL.touch;
    if (down.size === 1) travelled = 0;
    else travelled = Infinity;
  });

  element.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = down.get(event.pointerId);
    if (!before) {
      moves.point(now.x, now.y);
      return;
    }
    const dx = now.x - before.x;
    const dy = now.y - before.y;
    if (down.size === 1) {
      travelled = Math.max(travelled, Math.hypot(dx, dy));
      if (travelled < still) return;
      element.classList.add("dragged");
      moves.pan(dx, dy);
    } else if (down.size === 2) {
      const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const span = (/** @type {{x: number, y: number}} */ p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
        moves.pan(dx / 2, dy / 2);
        moves.zoom(span(now) / span(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
      }
    }
    moves.point(now.x, now.y);
    down.set(event.pointerId, now);
  });

  const up = (/** @type {PointerEvent} */ event) => {
    const at = down.get(event.pointerId);
    if (!at) return;
    down.delete(event.pointerId);
    element.classList.remove("dragged");
    if (down.size) return;
    if (event.type === "pointerup" && travelled < still) moves.click(at.x, at.y);
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", () => {
    if (!down.size) moves.leave();
  });
}
