// The one object that every part of the page shares: the state, the tape, what is pointed at, and who wants to know.

import { read, write } from "./address.js";
import { SourceError } from "./source.js";

/** @typedef {import("./address.js").State} State */
/** @typedef {import("./source.js").Source} Source */
/** @typedef {import("./source.js").Status} Status */

/**
 * What is pointed at: a query row, a key, or both. `from` names the part of the page that says so.
 *
 * @typedef {{query: number | null, key: number | null, from: string}} Hover
 *
 * A part of the page. `update` is called after every change of state.
 * @typedef {{update: (state: Readonly<State>, before: Readonly<State>) => void, destroy: () => void}} Part
 * @typedef {(parent: HTMLElement, app: App) => Part} Mount
 *
 * @typedef {"state" | "hover" | "status" | "theme"} AppEvent
 */

// Browsers allow a hundred changes of the address in half a minute: while the map moves, it is written this often.
const ADDRESS_EVERY = 350;
const POLL_BUSY = 1000;
const POLL_CALM = 5000;

export class App {
  /**
   * @param {Source} source
   * @param {import("./source.js").Tape} tape
   * @param {import("./source.js").Tokens} tokens
   */
  constructor(source, tape, tokens) {
    this.source = source;
    this.tape = tape;
    /** @type {readonly string[] | null} one text per key position */
    this.tokens = tokens.tokens;
    /** @type {readonly number[] | null} */
    this.ids = tokens.ids;
    /** @type {Readonly<State>} */
    this.state = this.#sane(read(location.hash));
    /** @type {Hover | null} */
    this.hover = null;
    /** @type {Status | null} last answer; null before the first and while the server is away */
    this.status = null;
    /** @type {boolean} whether the server answers */
    this.alive = true;
    /** @type {Map<AppEvent, Set<() => void>>} */
    this.listeners = new Map();
    this.addressTimer = 0;
    this.pollTimer = 0;

    addEventListener("popstate", () => this.#follow());
    addEventListener("hashchange", () => this.#follow());
    history.replaceState(null, "", write(this.state));
    if (source.live) void this.poll();
  }

  /**
   * Changes the state. `push` makes it a step that the Back button undoes; without it the address only follows.
   *
   * @param {Partial<State>} patch
   * @param {{push?: boolean}} [how]
   */
  set(patch, { push = false } = {}) {
    const state = this.#sane({ ...this.state, ...patch });
    const address = write(state);
    if (push && address !== write(this.state)) {
      this.#settle();
      history.pushState(null, "", address);
    }
    this.state = state;
    if (!push && !this.addressTimer) this.addressTimer = setTimeout(() => this.#settle(), ADDRESS_EVERY);
    this.emit("state");
  }

  /**
   * Points at a query row and a key; null for nothing.
   *
   * @param {Hover | null} hover
   */
  point(hover) {
    const now = this.hover;
    if (now === hover || (now && hover && now.query === hover.query && now.key === hover.key && now.from === hover.from)) return;
    this.hover = hover;
    this.emit("hover");
  }

  /**
   * Pins a query row and a key (null unpins, undefined leaves as it is): a step that Back undoes.
   *
   * @param {number | null | undefined} query
   * @param {number | null | undefined} key
   */
  pin(query, key) {
    this.set({ ...(query === undefined ? {} : { query }), ...(key === undefined ? {} : { key }) }, { push: true });
  }

  /**
   * Moves the map so that a query row and a key lie in its middle, magnified at least to `cells` cells across.
   *
   * @param {{query?: number | null, key?: number | null, cells?: number, push?: boolean}} where
   */
  look({ query = null, key = null, cells = 160, push = true }) {
    const { n_queries, n_keys, offset } = this.tape;
    const q = query ?? (key === null ? n_queries / 2 : Math.min(Math.max(key - offset, 0), n_queries - 1));
    const k = key ?? Math.min(Math.max(q + offset, 0), n_keys - 1);
    const z = Math.min(this.state.z ?? Infinity, Math.log2(cells / 800));
    this.set({ page: "map", x: k + 0.5, y: q + 0.5, z }, { push });
  }

  /**
   * The text of the token at a position, or null.
   *
   * @param {number} position
   */
  token(position) {
    return this.tokens?.[position] ?? null;
  }

  /** The position of a query row in the text. @param {number} row */
  position(row) {
    return row + this.tape.offset;
  }

  /** The query row of a position, or null where the position was not a query. @param {number} position */
  row(position) {
    const row = position - this.tape.offset;
    return row >= 0 && row < this.tape.n_queries ? row : null;
  }

  /**
   * Calls back after each event of a kind; what it returns stops that.
   *
   * @param {AppEvent} event
   * @param {() => void} listener
   */
  on(event, listener) {
    const listeners = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** @param {AppEvent} event */
  emit(event) {
    for (const listener of [...(this.listeners.get(event) ?? [])]) listener();
  }

  /** Says words to a screen reader, politely. @param {string} words */
  say(words) {
    const region = document.getElementById("said");
    if (region) region.textContent = words;
  }

  /** Asks the server how it is, now and from now on. */
  async poll() {
    clearTimeout(this.pollTimer);
    try {
      this.status = await this.source.status();
      this.alive = true;
    } catch (error) {
      this.status = null;
      // One that knows nothing under this address is another server, or this one started anew.
      this.alive = error instanceof SourceError && error.status >= 500;
    }
    this.emit("status");
    const busy = !this.alive || (this.status?.jobs.length ?? 0) > 0;
    this.pollTimer = setTimeout(() => void this.poll(), busy ? POLL_BUSY : POLL_CALM);
  }

  /** To be told when a request found no server: the banner need not wait for the next poll. */
  missed() {
    if (this.alive && this.source.live) void this.poll();
  }

  #settle() {
    clearTimeout(this.addressTimer);
    this.addressTimer = 0;
    const address = write(this.state);
    if (address !== location.hash) history.replaceState(null, "", address);
  }

  #follow() {
    if (write(this.state) === location.hash) return;
    clearTimeout(this.addressTimer);
    this.addressTimer = 0;
    this.state = this.#sane(read(location.hash));
    this.emit("state");
  }

  /**
   * A state that this tape can show: what an address of another tape asks for becomes the nearest there is.
   *
   * @param {State} state
   * @returns {State}
   */
  #sane(state) {
    const { layers, n_queries, n_keys } = this.tape;
    const within = (/** @type {number} */ value, /** @type {number} */ length) => Math.min(Math.max(0, Math.trunc(value)), Math.max(0, length - 1));
    const layer = within(state.layer, layers.length);
    return {
      ...state,
      layer,
      head: within(state.head, layers[layer]?.n_heads ?? 1),
      query: state.query === null ? null : within(state.query, n_queries),
      key: state.key === null ? null : within(state.key, n_keys),
      skip: within(state.skip, n_keys),
      renorm: state.renorm && state.skip > 0,
      pool: state.pool === "sum" && state.of !== "weight" ? "max" : state.pool,
    };
  }
}
