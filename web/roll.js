// A roll of text: all of it scrolls, and only the lines in sight are elements.

import { count, el } from "./dom.js";
import { broken, lineOf } from "./lines.js";

const LINE = 24; // pixels, as in pages.css
const SPARE = 6; // lines kept above and below those in sight

/** One piece of a token in sight; `shade` is the dresser's own. @typedef {HTMLSpanElement & {token: number, shade: number}} Piece */

export class Roll {
  /**
   * @param {readonly string[]} tokens
   * @param {(piece: Piece) => void} dress called for every piece that comes into sight
   */
  constructor(tokens, dress) {
    this.tokens = tokens;
    this.dress = dress;
    this.room = el("div", { class: "text-room" });
    this.element = el(
      "div",
      {
        class: "text-scroll",
        tabindex: 0,
        role: "group",
        "aria-roledescription": "text of tokens",
        "aria-label": `The text, ${count(tokens.length)} tokens. Arrow keys move over tokens, or move the pin; Enter pins, Escape unpins.`,
        "data-testid": "text",
      },
      this.room,
    );
    this.lines = broken([], 1, () => 0);
    /** Lines in sight, by number. @type {Map<number, HTMLElement>} */
    this.drawn = new Map();
    /** The token last brought into sight, until the person scrolls: it stays there when the room changes. @type {number | null} */
    this.kept = null;
    /** When it last moved, by `performance.now()`. */
    this.scrolled = -Infinity;
    this.width = 0;
    this.frame = 0;
    this.pen = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
    /** @type {Map<string, number>} */
    this.widths = new Map();

    this.element.addEventListener(
      "scroll",
      () => {
        this.scrolled = performance.now();
        this.frame ||= requestAnimationFrame(() => this.render());
      },
      { passive: true },
    );
    for (const moved of ["wheel", "pointerdown", "touchstart"]) {
      this.element.addEventListener(moved, () => (this.kept = null), { passive: true });
    }
    this.resized = new ResizeObserver(() => {
      this.#layOut();
      if (this.kept !== null) this.reveal(this.kept);
      this.render();
    });
    this.resized.observe(this.element);
  }

  /** The pieces in sight. @returns {Generator<Piece>} */
  *pieces() {
    for (const line of this.drawn.values()) yield* /** @type {Iterable<Piece>} */ (/** @type {unknown} */ (line.children));
  }

  /** The token that an event is about. @param {EventTarget | null} target */
  tokenOf(target) {
    return target instanceof HTMLElement && "token" in target ? Number(target.token) : null;
  }

  /** The first token of the first line that is wholly in sight. */
  get first() {
    return this.#firstOf(Math.min(this.lines.length - 1, Math.ceil(this.element.scrollTop / LINE)));
  }

  /** Scrolls so that a token is in sight, and in the middle if it was not. @param {number} token */
  reveal(token) {
    this.kept = token;
    const top = lineOf(this.lines, token) * LINE;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop + LINE || top > scrollTop + clientHeight - 2 * LINE) this.element.scrollTop = top - clientHeight / 2;
  }

  /**
   * Where a key moves a cursor.
   *
   * @param {string} key
   * @param {number} from
   * @returns {number | null} null where the key moves none
   */
  step(key, from) {
    const last = this.tokens.length - 1;
    const within = (/** @type {number} */ token) => Math.min(Math.max(0, token), last);
    if (key === "ArrowRight") return within(from + 1);
    if (key === "ArrowLeft") return within(from - 1);
    if (key === "Home") return 0;
    if (key === "End") return last;
    const page = Math.max(1, Math.floor(this.element.clientHeight / LINE) - 2);
    const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page }[key];
    if (by === undefined) return null;
    const line = lineOf(this.lines, from);
    const next = Math.min(Math.max(0, line + by), this.lines.length - 1);
    // As far along the next line as it is along its own.
    const ends = Math.max(this.lines.starts[next], this.lines.starts[next + 1] - 1);
    return within(Math.min(this.#firstOf(next) + from - this.#firstOf(line), this.lines.token[ends]));
  }

  /** Makes the lines in sight, and forgets the others. */
  render() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { scrollTop, clientHeight } = this.element;
    const from = Math.max(0, Math.floor(scrollTop / LINE) - SPARE);
    const to = Math.min(this.lines.length, Math.ceil((scrollTop + clientHeight) / LINE) + SPARE);
    for (const [at, line] of this.drawn) {
      if (at < from || at >= to) {
        line.remove();
        this.drawn.delete(at);
      }
    }
    const fresh = document.createDocumentFragment();
    for (let at = from; at < to; at++) if (!this.drawn.has(at)) fresh.append(this.#line(at));
    this.room.append(fresh);
  }

  destroy() {
    this.resized.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** @param {number} at */
  #line(at) {
    const { starts, text, token } = this.lines;
    const line = document.createElement("div");
    line.className = "text-line";
    line.style.top = `${at * LINE}px`;
    for (let piece = starts[at]; piece < starts[at + 1]; piece++) {
      const span = /** @type {Piece} */ (document.createElement("span"));
      span.textContent = text[piece];
      span.token = token[piece];
      span.shade = -1;
      span.dataset.token = String(span.token);
      this.dress(span);
      line.append(span);
    }
    this.drawn.set(at, line);
    return line;
  }

  /** @param {number} line */
  #firstOf(line) {
    return this.lines.token[this.lines.starts[line]] ?? 0;
  }

  /** Breaks the text anew where the width has changed; what was at the top stays there. */
  #layOut() {
    const style = getComputedStyle(this.element);
    const width = this.element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (width <= 0 || width === this.width) return;
    const top = this.#firstOf(Math.min(this.lines.length - 1, Math.floor(this.element.scrollTop / LINE)));
    this.width = width;
    this.pen.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    this.lines = broken(this.tokens, width, (text) => {
      let wide = this.widths.get(text);
      if (wide === undefined) this.widths.set(text, (wide = this.pen.measureText(text).width));
      return wide;
    });
    this.room.style.height = `${this.lines.length * LINE}px`;
    this.drawn.clear();
    this.room.replaceChildren();
    this.element.scrollTop = lineOf(this.lines, top) * LINE;
  }
}
