// Made by `npm run build` in web/ from the modules there: change those, not this.
"use strict";
(() => {
  var __defProp = Object.defineProperty;
  var __export = (target, all) => {
    for (var name in all)
      __defProp(target, name, { get: all[name], enumerable: true });
  };

  // address.js
  var START = Object.freeze({
    page: "sheet",
    layer: 0,
    head: 0,
    x: null,
    y: null,
    z: null,
    of: "weight",
    pool: "max",
    scale: "log",
    range: null,
    skip: 0,
    renorm: false,
    query: null,
    key: null,
    grow: false,
    panes: true,
    more: Object.freeze({})
  });
  var CHOICES = {
    of: ["weight", "enrichment", "score", "relative"],
    pool: ["max", "mean", "sum"],
    scale: ["log", "linear"]
  };
  var FARTHEST = 64;
  var KNOWN = /* @__PURE__ */ new Set(["x", "y", "z", "of", "pool", "scale", "range", "skip", "renorm", "q", "k", "grow", "panes"]);
  var areEnds = (low, high) => Math.max(-low, high) < 1e38 && high - low > Math.max(1e-38, 1e-5 * Math.max(-low, high));
  var whole = (text) => text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
  var real = (text) => text !== null && text !== "" && Number.isFinite(Number(text)) ? Number(text) : null;
  function read(hash) {
    const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
    const [page, layer, head] = path.split("/");
    const given2 = new URLSearchParams(search);
    const state = { ...START, more: {} };
    if (page === "map" || page === "lesson" || page === "quiz") state.page = page;
    if (page === "map") {
      state.layer = whole(layer ?? null) ?? 0;
      state.head = whole(head ?? null) ?? 0;
    }
    state.x = real(given2.get("x"));
    state.y = real(given2.get("y"));
    state.z = real(given2.get("z"));
    if (state.x === null || state.y === null || state.z === null || Math.abs(state.z) > FARTHEST) state.x = state.y = state.z = null;
    for (
      const name of
      /** @type {const} */
      ["of", "pool", "scale"]
    ) {
      const value = given2.get(name);
      if (value !== null && CHOICES[name].includes(value)) Object.assign(state, { [name]: value });
    }
    if (state.pool === "sum" && state.of !== "weight") state.pool = "max";
    const ends = (given2.get("range") ?? "").split("_").map(real);
    if (ends.length === 2 && ends[0] !== null && ends[1] !== null && areEnds(ends[0], ends[1])) state.range = [ends[0], ends[1]];
    state.skip = whole(given2.get("skip")) ?? 0;
    state.renorm = given2.get("renorm") === "1" && state.skip > 0;
    state.query = whole(given2.get("q"));
    state.key = whole(given2.get("k"));
    state.grow = given2.get("grow") === "1";
    state.panes = given2.get("panes") !== "0";
    state.more = Object.fromEntries([...given2].filter(([name]) => !KNOWN.has(name)));
    return state;
  }
  function write(state) {
    const given2 = new URLSearchParams();
    const round = (value, digits) => String(Number(value.toFixed(digits)));
    if (state.page === "map") {
      if (state.x !== null && state.y !== null && state.z !== null) {
        const digits = Math.max(0, Math.ceil(2 - state.z * Math.LOG10E * Math.LN2));
        given2.set("x", round(state.x, digits));
        given2.set("y", round(state.y, digits));
        given2.set("z", round(state.z, 4));
      }
      for (
        const name of
        /** @type {const} */
        ["of", "pool", "scale"]
      ) {
        if (state[name] !== START[name]) given2.set(name, state[name]);
      }
      if (state.range) given2.set("range", state.range.map((end) => String(Number(end.toPrecision(6)))).join("_"));
      if (state.skip) given2.set("skip", String(state.skip));
      if (state.skip && state.renorm) given2.set("renorm", "1");
      if (state.grow) given2.set("grow", "1");
      if (!state.panes) given2.set("panes", "0");
    }
    if (state.query !== null) given2.set("q", String(state.query));
    if (state.key !== null) given2.set("k", String(state.key));
    for (const [name, value] of Object.entries(state.more)) if (!KNOWN.has(name)) given2.set(name, value);
    const path = state.page === "map" ? `map/${state.layer}/${state.head}` : state.page;
    const search = given2.toString();
    return `#/${path}${search ? `?${search}` : ""}`;
  }

  // source.js
  var HEADER = 32;
  var STATES = (
    /** @type {const} */
    ["exact", "sampled", "error"]
  );
  var SourceError = class extends Error {
    /** @param {string} words @param {number} status */
    constructor(words2, status) {
      super(words2);
      this.status = status;
    }
  };
  var aborted = (error) => error instanceof DOMException && error.name === "AbortError";
  function server() {
    async function get(path, signal) {
      let answer;
      try {
        answer = await fetch(`api/${path}`, { signal, cache: "no-store" });
      } catch (error) {
        if (aborted(error)) throw error;
        throw new SourceError("the server does not answer", 0);
      }
      if (answer.ok) return answer;
      const said = await answer.json().catch(() => null);
      throw new SourceError(said?.error ?? `the server answered ${answer.status}`, answer.status);
    }
    const json = async (path, signal) => (await get(path, signal)).json();
    const floats2 = async (path, signal) => new Float32Array(await (await get(path, signal)).arrayBuffer());
    return {
      live: true,
      tape: () => json("tape"),
      tokens: () => json("tokens"),
      heads: () => json("heads"),
      status: () => json("status"),
      influence: () => json("influence"),
      row: (layer, head, query, signal) => floats2(`row/${layer}/${head}/${query}`, signal),
      column: (layer, head, key, signal) => floats2(`column/${layer}/${head}/${key}`, signal),
      async thumb(layer, head, signal) {
        const bytes = new Uint8Array(await (await get(`thumb/${layer}/${head}`, signal)).arrayBuffer());
        const frame = frames(() => {
        });
        const [one] = frame(bytes);
        if (!one || one.state === "error") throw new SourceError(one?.words ?? "an empty answer", 500);
        return one;
      },
      async tiles({ of, pool, skip, renorm, ids }, onFrame, signal) {
        const answer = await get(`tiles?of=${of}&pool=${pool}&skip=${skip}&renorm=${renorm}&ids=${ids.join(",")}`, signal);
        const take = frames(onFrame);
        const reader = (
          /** @type {ReadableStream<Uint8Array>} */
          answer.body.getReader()
        );
        try {
          for (; ; ) {
            const { done, value } = await reader.read();
            if (done) return;
            take(value);
          }
        } catch (error) {
          if (aborted(error) || signal.aborted) throw new DOMException("no longer wanted", "AbortError");
          throw new SourceError("the server stopped in the middle of an answer", 0);
        }
      },
      async cells(layer, head, q0, q1, k0, k1, signal) {
        const all = await floats2(`cells/${layer}/${head}?q0=${q0}&q1=${q1}&k0=${k0}&k1=${k1}`, signal);
        const size = (q1 - q0) * (k1 - k0);
        return {
          rows: q1 - q0,
          columns: k1 - k0,
          dots: all.subarray(0, size),
          scores: all.subarray(size, 2 * size),
          weights: all.subarray(2 * size, 3 * size)
        };
      },
      async tracks(layer, head) {
        const buffer = await (await get(`tracks/${layer}/${head}`)).arrayBuffer();
        return tracks(buffer);
      },
      async next(query, signal) {
        try {
          return await json(`next/${query}`, signal);
        } catch (error) {
          if (error instanceof SourceError && error.status === 404) return null;
          throw error;
        }
      }
    };
  }
  function tracks(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const { state, done, total, names } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let at = 4 + length;
    const found = [];
    for (const { name, axis, length: n } of names) {
      found.push({ name, axis, values: new Float32Array(buffer.slice(at, at + 4 * n)) });
      at += 4 * n;
    }
    return { state, done, total, tracks: found };
  }
  function frames(onFrame) {
    let kept = new Uint8Array(0);
    return (bytes) => {
      if (kept.length) {
        const joined2 = new Uint8Array(kept.length + bytes.length);
        joined2.set(kept);
        joined2.set(bytes, kept.length);
        bytes = joined2;
      }
      const done = [];
      let at = 0;
      while (bytes.length - at >= HEADER) {
        const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER);
        const size = view.getUint32(28, true);
        if (bytes.length - at < HEADER + size) break;
        const payload = bytes.slice(at + HEADER, at + HEADER + size);
        const state = STATES[view.getUint32(4, true)] ?? "error";
        const frame = {
          index: view.getUint32(0, true),
          state,
          rows: view.getUint32(8, true),
          columns: view.getUint32(12, true),
          multiplier: view.getFloat32(16, true),
          low: view.getFloat32(20, true),
          high: view.getFloat32(24, true),
          halves: state === "error" ? new Uint16Array(0) : new Uint16Array(payload.buffer, 0, size >> 1),
          words: state === "error" ? new TextDecoder().decode(payload) : ""
        };
        done.push(frame);
        onFrame(frame);
        at += HEADER + size;
      }
      kept = bytes.slice(at);
      return done;
    };
  }

  // app.js
  var ADDRESS_EVERY = 350;
  var POLL_BUSY = 1e3;
  var POLL_CALM = 5e3;
  var App = class {
    /**
     * @param {Source} source
     * @param {import("./source.js").Tape} tape
     * @param {import("./source.js").Tokens} tokens
     */
    constructor(source, tape, tokens) {
      this.source = source;
      this.tape = tape;
      this.tokens = tokens.tokens;
      this.ids = tokens.ids;
      this.state = this.#sane(read(location.hash));
      this.hover = null;
      this.status = null;
      this.alive = true;
      this.listeners = /* @__PURE__ */ new Map();
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
      if (now === hover || now && hover && now.query === hover.query && now.key === hover.key && now.from === hover.from) return;
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
      this.set({ ...query === void 0 ? {} : { query }, ...key === void 0 ? {} : { key } }, { push: true });
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
      const listeners = this.listeners.get(event) ?? /* @__PURE__ */ new Set();
      this.listeners.set(event, listeners.add(listener));
      return () => void listeners.delete(listener);
    }
    /** @param {AppEvent} event */
    emit(event) {
      for (const listener of [...this.listeners.get(event) ?? []]) listener();
    }
    /** Says words to a screen reader, politely. @param {string} words */
    say(words2) {
      const region = document.getElementById("said");
      if (region) region.textContent = words2;
    }
    /** Asks the server how it is, now and from now on. */
    async poll() {
      clearTimeout(this.pollTimer);
      try {
        this.status = await this.source.status();
        this.alive = true;
      } catch (error) {
        this.status = null;
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
      const within2 = (value, length) => Math.min(Math.max(0, Math.trunc(value)), Math.max(0, length - 1));
      const layer = within2(state.layer, layers.length);
      return {
        ...state,
        layer,
        head: within2(state.head, layers[layer]?.n_heads ?? 1),
        query: state.query === null ? null : within2(state.query, n_queries),
        key: state.key === null ? null : within2(state.key, n_keys),
        skip: within2(state.skip, n_keys),
        renorm: state.renorm && state.skip > 0,
        pool: state.pool === "sum" && state.of !== "weight" ? "max" : state.pool
      };
    }
  };

  // dom.js
  function el(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(key, value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value !== null && value !== void 0) element.setAttribute(key, String(value));
    }
    for (const child of children) if (child !== null && child !== void 0 && child !== false) element.append(child);
    return element;
  }
  function choice(label, options, chosen2, choose) {
    const select = el("select", { "aria-label": label, change: () => choose(select.value) });
    for (const [value, words2] of options) select.append(el("option", { value, selected: value === chosen2 }, words2));
    return select;
  }
  function fill(element, ...children) {
    element.replaceChildren(...children);
  }
  var SEEN = /* @__PURE__ */ new Map([
    [" ", "␣"],
    ["\n", "↵"],
    ["\r", "␍"],
    ["	", "⇥"],
    [" ", "⍽"]
  ]);
  function visible(token, most = Infinity) {
    if (token === "") return "∅";
    let shown2 = "";
    let count3 = 0;
    for (const character of token) {
      if (count3 === most - 1 && shown2.length < token.length && [...token].length > most) return `${shown2}…`;
      shown2 += SEEN.get(character) ?? (/[\p{C}\p{Z}]/u.test(character) ? `<${(character.codePointAt(0) ?? 0).toString(16)}>` : character);
      count3 += 1;
    }
    return shown2;
  }
  function count(value) {
    return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  }
  function number(value, digits = 3) {
    if (Number.isNaN(value)) return "none";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    if (value === 0) return "0";
    const size = Math.abs(value);
    const text = size >= 1e-3 && size < 1e5 ? trimmed(value, digits) : value.toExponential(digits - 1).replace("e+", "e");
    return text.replace(/-/g, "−");
  }
  function trimmed(value, digits) {
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
    return value.toFixed(Math.min(places, 6));
  }

  // palette.js
  var RAMP = [
    [253, 240, 212],
    [219, 219, 160],
    [168, 201, 130],
    [108, 183, 127],
    [56, 159, 135],
    [27, 133, 140],
    [24, 106, 138],
    [38, 78, 129],
    [42, 53, 107],
    [37, 32, 73]
  ];
  var AROUND_LIGHT = [
    [16, 52, 105],
    [44, 98, 158],
    [104, 151, 199],
    [178, 203, 226],
    [243, 241, 236],
    [243, 205, 157],
    [221, 148, 73],
    [176, 95, 20],
    [107, 54, 8]
  ];
  var AROUND_DARK = [
    [178, 214, 250],
    [120, 172, 222],
    [76, 124, 175],
    [53, 76, 103],
    [44, 46, 51],
    [99, 72, 43],
    [164, 108, 44],
    [222, 156, 79],
    [255, 216, 166]
  ];
  var STEPS = 256;
  function ramp(dark, diverging = false) {
    const anchors = diverging ? dark ? AROUND_DARK : AROUND_LIGHT : dark ? [...RAMP].reverse() : RAMP;
    const rgba = new Uint8ClampedArray(STEPS * 4);
    for (let step = 0; step < STEPS; step++) {
      const at = step / (STEPS - 1) * (anchors.length - 1);
      const first2 = Math.min(Math.floor(at), anchors.length - 2);
      for (let c = 0; c < 3; c++) {
        rgba[4 * step + c] = anchors[first2][c] + (at - first2) * (anchors[first2 + 1][c] - anchors[first2][c]);
      }
      rgba[4 * step + 3] = 255;
    }
    return rgba;
  }
  var inkOn = (luminance2) => luminance2 > 0.179 ? "#000000" : "#ffffff";
  function luminance(rgba, step) {
    const linear = (c) => {
      const v = rgba[4 * step + c] / 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * linear(0) + 0.7152 * linear(1) + 0.0722 * linear(2);
  }
  var LIGHT = {
    paper: "#ffffff",
    ink: "#262a30",
    soft: "#626871",
    rule: "#c3c6cb",
    hatch: "#d6d8dc",
    empty: "#f4f4f2",
    pin: "#c2410c",
    hover: "#262a30",
    band: "#c9d5d8",
    line: "#186a8a",
    veil: "rgba(255, 255, 255, 0.9)",
    left: "rgba(226, 222, 214, 0.92)"
  };
  var DARK = {
    paper: "#17181b",
    ink: "#e6e4df",
    soft: "#a0a3a8",
    rule: "#44474d",
    hatch: "#3a3d42",
    empty: "#1d1f22",
    pin: "#ff8a5c",
    hover: "#f2f0ea",
    band: "#34444a",
    line: "#6cb7a0",
    veil: "rgba(23, 24, 27, 0.88)",
    left: "rgba(58, 55, 50, 0.92)"
  };
  var theme = (dark) => dark ? DARK : LIGHT;
  function isDark() {
    const chosen2 = document.documentElement.dataset.theme;
    return chosen2 ? chosen2 === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // view.js
  var LARGEST_CELL = 168;
  var toX = (view, key) => view.plot.x + view.plot.width / 2 + (key - view.x) * view.scale;
  var toY = (view, row) => view.plot.y + view.plot.height / 2 + (row - view.y) * view.scale;
  var keyAt = (view, x) => view.x + (x - view.plot.x - view.plot.width / 2) / view.scale;
  var rowAt = (view, y) => view.y + (y - view.plot.y - view.plot.height / 2) / view.scale;
  var snap = (view, at) => Math.round(at * view.ratio) / view.ratio;
  var wholeScale = (plot, rows2, columns) => Math.min(LARGEST_CELL, plot.width / columns, plot.height / rows2);
  var levelOf = (view, top) => Math.min(top, Math.max(0, Math.ceil(-Math.log2(view.scale * view.ratio) - 1e-9)));
  function sight(view) {
    const { plot, rows: rows2, columns } = view;
    return {
      q0: Math.max(0, Math.floor(rowAt(view, plot.y))),
      q1: Math.min(rows2, Math.ceil(rowAt(view, plot.y + plot.height))),
      k0: Math.max(0, Math.floor(keyAt(view, plot.x))),
      k1: Math.min(columns, Math.ceil(keyAt(view, plot.x + plot.width)))
    };
  }
  function viewOf({ x, y, z }, plot, ratio, rows2, columns) {
    const whole2 = wholeScale(plot, rows2, columns);
    const scale = z === null ? whole2 : Math.min(LARGEST_CELL, Math.max(whole2, 2 ** -z));
    const middle = (at, length, pixels) => {
      const half2 = pixels / scale / 2;
      return length <= 2 * half2 ? length / 2 : Math.min(Math.max(at ?? length / 2, half2), length - half2);
    };
    const cx = columns * scale <= plot.width ? plot.width / scale / 2 : middle(x, columns, plot.width);
    const cy = rows2 * scale <= plot.height ? plot.height / scale / 2 : middle(y, rows2, plot.height);
    return { plot, x: cx, y: cy, scale, ratio, rows: rows2, columns };
  }
  function marks(from, to, scale, gap) {
    const raw = Math.max(1, gap / scale);
    const decade = 10 ** Math.floor(Math.log10(raw));
    const step = (
      /** @type {number} */
      [1, 2, 5, 10].map((f) => f * decade).find((s) => s >= raw - 1e-9)
    );
    const found = [];
    for (let at = Math.ceil(from / step) * step; at < to; at += step) found.push(at);
    return found;
  }

  // tracks.js
  var BLOCK = 64;
  var KNOWN2 = {
    entropy: { words: "entropy of the query’s row of weights, in nats", unit: "nats" },
    sink: { words: "the query’s weight on key 0", high: 1 },
    loss: { words: "the model’s loss on the token after the query, in nats", unit: "nats" },
    received: { words: "received mass: the sum of the weights by which all queries read the key", log: true }
  };
  function series({ name, axis, values }) {
    const known = KNOWN2[name] ?? { words: name };
    const blocks = blocksOf(values);
    let most = 0;
    let least2 = Infinity;
    for (const value of values) {
      if (value > most) most = value;
      if (value > 0 && value < least2) least2 = value;
    }
    const log = known.log ?? false;
    const high = known.high ?? (most > 1e-6 ? most : 1);
    const low = log ? Math.max(Math.min(least2, high / 10), high * 1e-5) : 0;
    return { name, axis, values, title: name, unit: known.unit ?? "", log, low, high, blocks };
  }
  function blocksOf(values) {
    const size = Math.ceil(values.length / BLOCK);
    const blocks = { least: new Float32Array(size), most: new Float32Array(size), sum: new Float64Array(size), n: new Int32Array(size) };
    for (let b = 0; b < size; b++) {
      const { least: least2, most, sum: sum2, n } = plain(values, b * BLOCK, Math.min(values.length, (b + 1) * BLOCK));
      blocks.least[b] = least2;
      blocks.most[b] = most;
      blocks.sum[b] = sum2;
      blocks.n[b] = n;
    }
    return blocks;
  }
  function plain(values, from, to) {
    let least2 = Infinity;
    let most = -Infinity;
    let sum2 = 0;
    let n = 0;
    for (let i = from; i < to; i++) {
      const value = values[i];
      if (Number.isNaN(value)) continue;
      if (value < least2) least2 = value;
      if (value > most) most = value;
      sum2 += value;
      n += 1;
    }
    return { least: least2, most, sum: sum2, n };
  }
  function pooled({ values, blocks }, from, to) {
    const first2 = Math.ceil(from / BLOCK);
    const last = Math.floor(to / BLOCK);
    if (first2 >= last) return plain(values, from, to);
    const all = plain(values, from, first2 * BLOCK);
    const tail = plain(values, last * BLOCK, to);
    all.least = Math.min(all.least, tail.least);
    all.most = Math.max(all.most, tail.most);
    all.sum += tail.sum;
    all.n += tail.n;
    for (let b = first2; b < last; b++) {
      all.least = Math.min(all.least, blocks.least[b]);
      all.most = Math.max(all.most, blocks.most[b]);
      all.sum += blocks.sum[b];
      all.n += blocks.n[b];
    }
    return all;
  }
  function share({ log, low, high }, value) {
    const at = log ? value <= low ? 0 : Math.log(value / low) / Math.log(high / low) : value / high;
    return Math.min(1, Math.max(0, at));
  }
  function stepsOf(track, view) {
    const { plot, ratio, scale } = view;
    const seen = sight(view);
    const rows2 = track.axis === "query";
    const first2 = rows2 ? seen.q0 : seen.k0;
    const last = Math.min(rows2 ? seen.q1 : seen.k1, track.values.length);
    const steps = [];
    if (scale * ratio >= 1) {
      const edge = (cell) => snap(view, rows2 ? toY(view, cell) : toX(view, cell));
      for (let cell = first2; cell < last; cell++) {
        const value = track.values[cell];
        if (!Number.isNaN(value)) steps.push({ from: edge(cell), to: edge(cell + 1), least: value, mean: value, most: value });
      }
      return steps;
    }
    const start = Math.round((rows2 ? plot.y : plot.x) * ratio);
    const pixels = Math.round((rows2 ? plot.height : plot.width) * ratio);
    const at = (pixel) => rows2 ? rowAt(view, pixel / ratio) : keyAt(view, pixel / ratio);
    for (let pixel = start; pixel < start + pixels; pixel++) {
      const from = Math.max(first2, Math.ceil(at(pixel - 0.5)));
      const to = Math.min(last, Math.max(Math.ceil(at(pixel + 0.5)), from + 1));
      if (from >= to) continue;
      const { least: least2, most, sum: sum2, n } = pooled(track, from, to);
      if (n) steps.push({ from: pixel / ratio, to: (pixel + 1) / ratio, least: least2, mean: sum2 / n, most });
    }
    return steps;
  }
  function paintTracks(pen, scene) {
    const { layout, series: all, theme: theme2, font } = scene;
    const beside2 = all.filter((track) => track.axis === "query" && layout.strip > 0);
    beside2.forEach((track, index) => {
      const box2 = { x: layout.right.x + 6 + index * (layout.strip + 10), y: layout.right.y, width: layout.strip, height: layout.right.height };
      paint(pen, scene, track, box2);
      pen.font = `11px ${font}`;
      pen.textAlign = "left";
      pen.textBaseline = "alphabetic";
      pen.fillStyle = theme2.ink;
      pen.fillText(track.title, box2.x, box2.y - 22);
      pen.fillStyle = theme2.soft;
      const some = track.blocks.n.some((n) => n > 0);
      pen.fillText(some ? "0" : "none yet", box2.x, box2.y - 8);
      const named3 = pen.measureText(`${track.title} `).width;
      if (named3 + pen.measureText(track.unit).width <= layout.strip + 4) pen.fillText(track.unit, box2.x + named3, box2.y - 22);
      if (!some) return;
      pen.textAlign = "right";
      pen.fillText(number(track.high, 2), box2.x + box2.width, box2.y - 8);
    });
    const under = all.find((track) => track.axis === "key");
    if (!under) return;
    const box = { ...layout.below };
    paint(pen, scene, under, box);
    pen.font = `11px ${font}`;
    pen.textAlign = "right";
    pen.textBaseline = "alphabetic";
    pen.fillStyle = theme2.ink;
    pen.fillText(under.title, box.x - 10, box.y + box.height / 2);
    pen.fillStyle = theme2.soft;
    pen.fillText(under.log ? "log" : "", box.x - 10, box.y + box.height / 2 + 13);
    pen.fillText(number(under.high, 2), box.x - 10, box.y + 8);
    pen.fillText(number(under.low, 2), box.x - 10, box.y + box.height);
  }
  function paint(pen, { view, theme: theme2 }, track, box) {
    const steps = stepsOf(track, view);
    const across = track.axis === "query";
    const out = (value) => {
      const at = share(track, value);
      return across ? box.x + at * box.width : box.y + box.height - at * box.height;
    };
    pen.fillStyle = theme2.rule;
    if (across) pen.fillRect(box.x - 1, box.y, 1, box.height);
    else pen.fillRect(box.x, box.y + box.height, box.width, 1);
    if (!steps.length) return;
    const single = view.scale * view.ratio >= 1;
    const base = across ? box.x : box.y + box.height;
    pen.save();
    pen.beginPath();
    pen.rect(box.x - 1, box.y - (across ? 0 : 1), box.width + 2, box.height + (across ? 0 : 2));
    pen.clip();
    pen.fillStyle = theme2.band;
    pen.beginPath();
    for (const { from, to, least: least2, most } of steps) {
      const a = single ? base : out(least2);
      const b = out(most);
      if (across) pen.rect(a, from, b - a, to - from);
      else pen.rect(from, b, to - from, a - b);
    }
    pen.fill();
    pen.fillStyle = theme2.line;
    pen.beginPath();
    for (const { from, to, mean } of steps) {
      const at = out(mean);
      if (across) pen.rect(at - 0.75, from, 1.5, to - from);
      else pen.rect(from, at - 0.75, to - from, 1.5);
    }
    pen.fill();
    pen.restore();
  }

  // chrome.js
  var PAGES = (
    /** @type {const} */
    [
      ["sheet", "Contact sheet"],
      ["map", "Map"],
      ["lesson", "Lesson"],
      ["quiz", "Quiz"]
    ]
  );
  var KEYS = [
    ["wheel, pinch, + and −", "zoom, towards the pointer or the pinned cell"],
    ["drag, arrow keys", "move the map"],
    ["0, Home, “Whole map”", "the whole map"],
    ["click", "pin a query and a key; again to unpin"],
    ["shift + arrow keys", "move the pinned query and key"],
    [", and .", "step to the query before and after"],
    [":250 in the search field", "token 250"],
    ["arrow keys in the text", "move the pin from token to token"],
    ["Esc", "unpin"],
    ["[ and ]", "previous and next head"],
    ["t", "text beside the map, or not"],
    ["e", "save the view as PNG or SVG"],
    ["d", "light or dark"],
    ["?", "this list"]
  ];
  var THEMES = (
    /** @type {const} */
    ["auto", "light", "dark"]
  );
  function chrome(parent, app) {
    const links = PAGES.map(([page, words2]) => ({ page, link: el("a", {}, words2) }));
    const look = el("button", { class: "quiet", click: () => dress(THEMES[(THEMES.indexOf(chosen2()) + 1) % 3]) });
    const banner = el("div", { class: "banner", role: "alert", hidden: true });
    const { tape } = app;
    const name = [tape.title, tape.model].filter((part, index, all) => part && all.indexOf(part) === index).join(" · ");
    const partly = Boolean(tape.left_out?.length) || !tape.complete || tape.skipped.length > 0;
    parent.append(
      el("span", { class: "brand" }, "lookbehind"),
      el("nav", { "aria-label": "Pages" }, ...links.map(({ link }) => link)),
      el("button", { class: "quiet about", title: "About this tape", click: about }, partly ? `${name} · not all of it` : name),
      look,
      el("button", { class: "quiet", "aria-label": "Keys, gestures and tracks", title: "Keys, gestures and tracks (?)", click: help }, "?")
    );
    const notice = el("div", { class: "banner notice", role: "status", hidden: true });
    parent.after(banner, notice);
    function chosen2() {
      const now = document.documentElement.dataset.theme;
      return now === "light" || now === "dark" ? now : "auto";
    }
    function dress(theme2) {
      if (theme2 === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme2;
      look.textContent = { auto: "Light/dark: auto", light: "Light", dark: "Dark" }[theme2];
      try {
        localStorage.setItem("lookbehind-theme", theme2);
      } catch {
      }
      app.emit("theme");
    }
    function help() {
      const tracks2 = Object.entries(KNOWN2).map(([name2, { words: words2 }]) => [name2, words2]);
      tell("Keys, gestures and tracks", [...KEYS, ...tracks2]);
    }
    function about() {
      const { steps, skipped, left_out = [] } = tape;
      const facts = [
        ["tape", tape.title],
        ["model", tape.model || "not recorded"],
        ["file", tape.source || "not given"],
        ["length", `${count(tape.n_queries)} queries, ${count(tape.n_keys)} keys${tape.offset ? `; query row 0 is position ${count(tape.offset)}` : ""}`],
        ["forward calls", steps.length > 1 ? `a prefill of ${count(steps[0])} rows, then ${count(steps.length - 1)} more` : "one"],
        ["layers", `${tape.layers.length}, ${count(tape.layers.reduce((sum2, layer) => sum2 + layer.n_heads, 0))} heads`],
        ["computed by", `the ${tape.engine} engine`]
      ];
      if (!tape.complete) facts.push(["incomplete", "the recording was cut short; what is here is exact"]);
      for (const one of skipped) facts.push(["not shown", typeof one === "string" ? one : Array.isArray(one) ? one.join(": ") : `${one.name}: ${one.reason}`]);
      for (const words2 of left_out) facts.push(["left out", words2]);
      tell("About this tape", facts);
    }
    function tell(title2, pairs) {
      if (document.querySelector("dialog[open]")) return;
      const close = () => {
        dialog.close();
        dialog.remove();
      };
      const list = el("dl");
      for (const [term, words2] of pairs) list.append(el("dt", {}, term), el("dd", {}, words2));
      const dialog = el("dialog", { "aria-label": title2, cancel: close }, el("h2", {}, title2), list, el("button", { autofocus: true, click: close }, "Close"));
      document.body.append(dialog);
      dialog.showModal();
    }
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) return;
      if (event.key === "?") help();
      else if (event.key === "d") dress(isDark() ? "light" : "dark");
    });
    addEventListener("beforeprint", () => {
      const { dataset } = document.documentElement;
      const theme2 = chosen2();
      dataset.theme = "light";
      app.emit("theme");
      const back = () => {
        if (theme2 === "auto") delete dataset.theme;
        else dataset.theme = theme2;
        app.emit("theme");
      };
      addEventListener("afterprint", back, { once: true });
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => app.emit("theme"));
    app.on("status", () => {
      const warning = app.status?.warning ?? "";
      if (app.alive && notice.textContent !== warning) notice.textContent = warning;
      notice.hidden = !notice.textContent;
      const gone = !app.alive;
      if (banner.hidden !== gone) return;
      banner.hidden = !gone;
      if (gone) {
        fill(
          banner,
          el("span", {}, "The server has stopped. What is on the screen stays, and goes on by itself should the server answer again; if it was started anew, open the address it printed. "),
          el("button", { click: () => void app.poll() }, "Try now")
        );
      } else app.say("the server answers again");
    });
    let stored = null;
    try {
      stored = localStorage.getItem("lookbehind-theme");
    } catch {
    }
    dress(stored === "light" || stored === "dark" ? stored : "auto");
    const aim = () => {
      for (const { page, link } of links) link.href = write({ ...app.state, page });
    };
    for (const { link } of links) for (const event of ["pointerenter", "focus", "pointerdown"]) link.addEventListener(event, aim);
    aim();
    return {
      /** @param {Readonly<State>} state @param {Readonly<State>} before */
      update(state, before) {
        if (state !== before && state.page === before.page && state.layer === before.layer && state.head === before.head) return;
        aim();
        for (const { page, link } of links) {
          if (page === state.page) link.setAttribute("aria-current", "page");
          else link.removeAttribute("aria-current");
        }
        const names = { sheet: "Contact sheet", map: `Layer ${state.layer}, head ${state.head}`, lesson: "Lesson", quiz: "Quiz" };
        document.title = `${names[state.page]} – ${tape.title} – lookbehind`;
      }
    };
  }

  // products.js
  var SLICE = 14;
  var breath = () => new Promise((done) => setTimeout(done, 0));
  var Products = class {
    /** @param {Parts} parts */
    constructor(parts2) {
      this.parts = parts2;
      this.rows = parts2.lse.length;
      this.keys = parts2.k.length / parts2.width;
      this.known = /* @__PURE__ */ new Map();
    }
    /** q.k of a row and a key. @param {number} row @param {number} key */
    dot(row, key) {
      const { q, k, width } = this.parts;
      let sum2 = 0;
      for (let d = 0, a = row * width, b = key * width; d < width; d++) sum2 += q[a + d] * k[b + d];
      return sum2;
    }
    /** The score that follows from q.k. @param {number} dot @param {number} row @param {number} key */
    score(dot, row, key) {
      const { scale, softcap, slope, offset } = this.parts;
      let s = dot * scale;
      if (softcap !== null) s = softcap * Math.tanh(s / softcap);
      return slope ? s + slope * (key - row - offset) : s;
    }
    /**
     * Calls back with each stretch of keys that a row reads within a range.
     *
     * @param {number} row @param {number} first @param {number} last @param {(start: number, stop: number) => void} each
     */
    reads(row, first2, last, each) {
      const { rowPtr, starts, stops } = this.parts.spans;
      for (let n = rowPtr[row]; n < rowPtr[row + 1]; n++) {
        const start = Math.max(starts[n], first2);
        const stop = Math.min(stops[n], last);
        if (start < stop) each(start, stop);
      }
    }
    /** How many keys a row reads, the first `skip` left out. @param {number} row @param {number} skip */
    count(row, skip) {
      let count3 = 0;
      this.reads(row, skip, this.keys, (start, stop) => void (count3 += stop - start));
      return count3;
    }
    /** lse and the largest score of a row over the keys from `skip` on. @param {number} row @param {number} skip */
    normaliser(row, skip) {
      let known = this.known.get(skip);
      if (!known) {
        known = { lse: new Float64Array(this.rows).fill(NaN), peak: new Float64Array(this.rows).fill(NaN) };
        this.known.set(skip, known);
      }
      if (Number.isNaN(known.peak[row])) {
        const scores = [];
        let peak = -Infinity;
        this.reads(row, skip, this.keys, (start, stop) => {
          for (let key = start; key < stop; key++) {
            const s = this.score(this.dot(row, key), row, key);
            scores.push(s);
            if (s > peak) peak = s;
          }
        });
        const { sink } = this.parts;
        const top = sink !== null && sink > peak ? sink : peak;
        let sum2 = sink === null || !scores.length ? 0 : Math.exp(sink - top);
        for (const s of scores) sum2 += Math.exp(s - top);
        known.peak[row] = peak;
        known.lse[row] = scores.length ? top + Math.log(sum2) : -Infinity;
      }
      return { lse: known.lse[row], peak: known.peak[row] };
    }
    /** What is taken off a row's scores before exp; null shows the scores themselves. @param {number} row @param {Lens} lens */
    above(row, lens) {
      if (lens.of === "score") return null;
      if (lens.of === "relative") return this.normaliser(row, lens.skip).peak;
      const renorm = lens.renorm && lens.skip;
      const lse = renorm ? this.normaliser(row, lens.skip).lse : this.parts.lse[row];
      if (lens.of === "weight") return lse;
      return lse - Math.log(Math.max(this.count(row, renorm ? lens.skip : 0), 1));
    }
    /**
     * Pixels of a level over rows and keys, pooled over the products in each; NaN where there is none.
     *
     * @param {number} z @param {number} row0 @param {number} key0 both multiples of 2 ** z
     * @param {number} height @param {number} width in pixels
     * @param {Lens} lens @param {AbortSignal} [signal]
     * @returns {Promise<Float32Array>}
     */
    async pixels(z, row0, key0, height, width, lens, signal) {
      const largest2 = lens.pool === "max";
      const out = new Float64Array(height * width).fill(largest2 ? -Infinity : 0);
      const counts = new Float64Array(height * width);
      const lastRow = Math.min(this.rows, row0 + height * 2 ** z);
      const lastKey = Math.min(this.keys, key0 + width * 2 ** z);
      let since = performance.now();
      for (let row = row0; row < lastRow; row++) {
        const above = this.above(row, lens);
        const base = (row - row0 >> z) * width;
        this.reads(row, Math.max(key0, lens.skip), lastKey, (start, stop) => {
          for (let key = start; key < stop; key++) {
            const s = this.score(this.dot(row, key), row, key);
            const value = above === null ? s : above === -Infinity ? 0 : Math.exp(s - above);
            const at = base + (key - key0 >> z);
            counts[at] += 1;
            if (!largest2) out[at] += value;
            else if (value > out[at]) out[at] = value;
          }
        });
        if (performance.now() - since > SLICE) {
          await breath();
          if (signal?.aborted) throw new DOMException("no longer wanted", "AbortError");
          since = performance.now();
        }
      }
      const values = new Float32Array(height * width);
      for (let at = 0; at < values.length; at++) {
        values[at] = counts[at] ? lens.pool === "mean" ? out[at] / counts[at] : out[at] : NaN;
      }
      return values;
    }
    /** Exact weights of one row, NaN where none was computed. @param {number} row */
    row(row) {
      const found = new Float32Array(this.keys).fill(NaN);
      const lse = this.parts.lse[row];
      this.reads(row, 0, this.keys, (start, stop) => {
        for (let key = start; key < stop; key++) found[key] = Math.exp(this.score(this.dot(row, key), row, key) - lse);
      });
      return found;
    }
    /** Exact weights on one key, NaN where none was computed. @param {number} key */
    column(key) {
      const found = new Float32Array(this.rows).fill(NaN);
      for (let row = 0; row < this.rows; row++) {
        this.reads(row, key, key + 1, () => {
          found[row] = Math.exp(this.score(this.dot(row, key), row, key) - this.parts.lse[row]);
        });
      }
      return found;
    }
    /**
     * q.k, score and weight of each product of a rectangle.
     *
     * @param {number} q0 @param {number} q1 @param {number} k0 @param {number} k1
     * @returns {import("./source.js").Cells}
     */
    cells(q0, q1, k0, k1) {
      const rows2 = q1 - q0;
      const columns = k1 - k0;
      const [dots, scores, weights] = [0, 1, 2].map(() => new Float32Array(rows2 * columns).fill(NaN));
      for (let row = q0; row < q1; row++) {
        this.reads(row, k0, k1, (start, stop) => {
          for (let key = start; key < stop; key++) {
            const at = (row - q0) * columns + key - k0;
            dots[at] = this.dot(row, key);
            scores[at] = this.score(this.dot(row, key), row, key);
            weights[at] = Math.exp(scores[at] - this.parts.lse[row]);
          }
        });
      }
      return { rows: rows2, columns, dots, scores, weights };
    }
  };
  function frameOf(index, values, rows2, columns, signed) {
    let largest2 = 0;
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      largest2 = Math.max(largest2, Math.abs(value));
      if (!signed && value <= 0) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const lift = largest2 > 0 ? Math.floor(Math.log2(largest2)) + 1 - 15 : 0;
    const multiplier = 2 ** Math.min(Math.max(lift, -120), 100);
    const halves = new Uint16Array(values.length);
    for (let at = 0; at < values.length; at++) halves[at] = half(values[at] / multiplier);
    const known = high >= low;
    return { index, state: "exact", rows: rows2, columns, multiplier, low: known ? low : 0, high: known ? high : 0, halves, words: "" };
  }
  function failure(index, words2) {
    return { index, state: "error", rows: 0, columns: 0, multiplier: 1, low: 0, high: 0, halves: new Uint16Array(0), words: words2 };
  }
  function half(value) {
    if (Number.isNaN(value)) return 32256;
    const sign = value < 0 || Object.is(value, -0) ? 32768 : 0;
    const size = Math.abs(value);
    if (size >= 65520) return sign | 31744;
    const exponent = Math.max(Math.floor(Math.log2(size || 1e-30)), -14);
    const steps = even(size / 2 ** exponent * 1024);
    if (exponent === -14 && steps < 1024) return sign | steps;
    return sign | (exponent + 15 << 10) + steps - 1024;
  }
  function even(value) {
    const floor = Math.floor(value);
    const rest = value - floor;
    if (rest > 0.5 || rest === 0.5 && floor % 2 === 1) return floor + 1;
    return floor;
  }

  // scale.js
  var MOST_DECADES = 6;
  var HALVES = 1 << 16;
  var LEAST = 1e-45;
  var HALF = new Float32Array(HALVES);
  for (let bits = 0; bits < HALVES; bits++) {
    const sign = bits & 32768 ? -1 : 1;
    const exponent = bits >> 10 & 31;
    const fraction = bits & 1023;
    HALF[bits] = exponent === 31 ? fraction ? NaN : sign * Infinity : sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * fraction / 1024);
  }
  function ruler(state, fitted3) {
    const log = (state.of === "weight" || state.of === "relative") && state.scale === "log";
    let [low, high] = state.range ?? fitted3;
    if (log && low < LEAST) low = high > 0 ? high * 1e-4 : 1e-4;
    if (high <= low) high = log ? low * 10 : low + 1;
    return { of: state.of, log, diverging: state.of === "enrichment", low, high, fitted: !state.range, least: true };
  }
  var shown = (of, value) => of === "enrichment" ? Math.log2(value) : value;
  function place(scale, value) {
    const { low, high } = scale;
    let at;
    if (scale.log) at = value <= low ? Number.isNaN(value) ? NaN : 0 : Math.log(value / low) / Math.log(high / low);
    else if (scale.diverging && low < 0 && high > 0) at = value < 0 ? 0.5 - 0.5 * value / low : 0.5 + 0.5 * value / high;
    else at = (value - low) / (high - low);
    return Math.min(1, Math.max(0, at));
  }
  function colourTable(scale, multiplier, colours) {
    const table = new Uint32Array(HALVES);
    for (let bits = 0; bits < HALVES; bits++) {
      const value = HALF[bits];
      if (Number.isNaN(value)) continue;
      table[bits] = colours[Math.round(place(scale, shown(scale.of, value * multiplier)) * (STEPS - 1))];
    }
    return table;
  }
  function fit(state, values, greatest) {
    if (!values.length) return null;
    values.sort();
    const quantile = (q) => values[Math.min(values.length - 1, Math.floor(q * values.length))];
    if (state.of === "enrichment") {
      const reach = Math.max(Math.abs(Math.log2(Math.max(quantile(0.02), 1e-6))), Math.abs(Math.log2(Math.max(quantile(0.995), 1e-6))));
      const end = Math.min(12, Math.max(1, Math.ceil(reach)));
      return [-end, end];
    }
    if (state.of === "score") {
      const low2 = quantile(0.01);
      const high2 = Math.max(greatest, quantile(1));
      const step = nice((high2 - low2) / 4 || 1);
      return [Math.floor(low2 / step) * step, Math.ceil(high2 / step) * step || step];
    }
    const high = rounded(Math.max(greatest, quantile(1)), true);
    if (state.scale === "linear") return [0, high];
    const low = power(Math.floor(Math.log10(quantile(0.02)) + 1e-6));
    return [Math.min(Math.max(low, high * 10 ** -MOST_DECADES), high / 10), high];
  }
  function usual(state) {
    if (state.of === "enrichment") return [-6, 6];
    if (state.of === "score") return [-10, 10];
    return state.scale === "linear" ? [0, 1] : [1e-4, 1];
  }
  var power = (exponent, factor = 1) => Number(`${factor}e${exponent}`);
  function rounded(value, up) {
    const exponent = Math.floor(Math.log10(value));
    const steps = [power(exponent), power(exponent, 2), power(exponent, 5), power(exponent + 1)];
    if (up) return steps.find((step) => step >= value * (1 - 1e-3)) ?? steps[3];
    return [...steps].reverse().find((step) => step <= value * (1 + 1e-3)) ?? steps[0];
  }
  var nice = (raw) => rounded(raw, true);
  function ticks(scale) {
    const { low, high } = scale;
    let inner = [];
    if (scale.log) {
      for (let e = Math.ceil(Math.log10(low) - 1e-9); e <= Math.log10(high) + 1e-9; e++) inner.push(power(e));
    } else {
      const step = nice((high - low) / 6);
      for (let t = Math.ceil(low / step - 1e-9); t * step <= high + step * 1e-6; t++) inner.push(t * step);
    }
    inner = inner.filter((value) => place(scale, value) > 0.09 && place(scale, value) < 0.91);
    return [low, ...inner, high];
  }
  function tickText(value) {
    const size = Math.abs(value);
    const text = size === 0 || size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(0).replace("e+", "e");
    return text.replace(/-/g, "−");
  }
  var POOLED = { max: "largest", mean: "mean", sum: "sum of the" };
  var NAMES = { weight: "weight", enrichment: "enrichment", score: "score", relative: "weight relative to its row's largest" };
  function pixelWords({ of, pool }, pooled2) {
    if (pooled2 === 1) return `a cell is one ${NAMES[of]}`;
    const many = pool === "sum" ? "weights" : NAMES[of];
    return `a pixel is the ${POOLED[pool]} ${many} of ${pooled2} × ${pooled2} cells`;
  }
  function scaleWords(scale) {
    const { of, log, low, high, fitted: fitted3 } = scale;
    const kind = of === "enrichment" ? "log2(weight × visible keys), 0 = an even look" : of === "score" ? "scores before the softmax" : log ? "log scale" : "linear scale";
    return `${kind}, ${fitted3 ? "fitted to the view" : "fixed"}: ${tickText(low)} to ${tickText(high)}`;
  }
  function skipWords({ skip, renorm, of }) {
    if (!skip) return "";
    const keys2 = skip === 1 ? "key 0 left out" : `first ${skip} keys left out`;
    return of === "score" ? keys2 : `${keys2}, rows ${renorm ? "renormalised over the rest" : "not renormalised"}`;
  }

  // embedded.js
  var TILE = 256;
  var THUMB = 128;
  var DATA = "lookbehind-tape";
  var BLOB = "lookbehind-blob-";
  var OPENED = 8;
  var MOST = 6e9;
  function embedded() {
    const text = document.getElementById(DATA)?.textContent;
    if (!text) return null;
    for (const one of document.querySelectorAll(`script[id^="${BLOB}"]`)) contents.set(one.id, one.textContent ?? "");
    return new Embedded(JSON.parse(text)).source();
  }
  var contents = /* @__PURE__ */ new Map();
  async function blob(name) {
    const text = atob(contents.get(BLOB + name) ?? "");
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  }
  async function floats(name, dtype) {
    const bytes = await blob(name);
    if (dtype === "f4") return new Float32Array(bytes);
    const halves = new Uint16Array(bytes);
    if (dtype === "f2") return Float32Array.from(halves, (bits) => HALF[bits]);
    return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
  }
  var Embedded = class {
    /** @param {Manifest} manifest */
    constructor(manifest) {
      this.manifest = manifest;
      this.opened = /* @__PURE__ */ new Map();
      this.levels = /* @__PURE__ */ new Map();
      this.saidNow = null;
      this.text = null;
    }
    /** @returns {import("./source.js").Source} */
    source() {
      const { manifest } = this;
      return {
        live: false,
        tape: async () => manifest.tape,
        tokens: () => this.tokens(),
        heads: async () => ({ state: "ready", done: manifest.heads.length, total: manifest.heads.length, heads: manifest.heads }),
        status: async () => ({ alive: true, jobs: [], memory_mb: 0 }),
        influence: async () => null,
        finest: (layer, head) => {
          const entry2 = this.entry(layer, head);
          return entry2?.exact ? null : entry2?.coarse?.z ?? manifest.tape.top;
        },
        thumb: (layer, head, signal) => this.thumb(layer, head, signal),
        tiles: (request, onFrame, signal) => this.tiles(request, onFrame, signal),
        row: async (layer, head, query) => (await this.exact(layer, head)).row(query),
        column: async (layer, head, key) => (await this.exact(layer, head)).column(key),
        cells: async (layer, head, q0, q1, k0, k1) => (await this.exact(layer, head)).cells(q0, q1, k0, k1),
        tracks: (layer, head) => this.tracks(layer, head),
        next: (query) => this.next(query)
      };
    }
    /** @param {number} layer @param {number} head @returns {HeadEntry | null} */
    entry(layer, head) {
      return this.manifest.maps[`${layer}.${head}`] ?? null;
    }
    /** What stands in the page in place of what was asked. @param {number} layer @param {number} head */
    missing(layer, head) {
      const coarse = this.entry(layer, head)?.coarse;
      const name = `layer ${layer}, head ${head}`;
      if (!coarse) return `${name} was left out of this page; “not all of it”, above, says more`;
      const side = 2 ** coarse.z;
      return `this page holds ${name} only as weights pooled over ${side} x ${side} products; open the tape itself to see more`;
    }
    /** @param {number} layer @param {number} head @returns {Promise<Products>} */
    exact(layer, head) {
      const name = `${layer}.${head}`;
      const entry2 = this.entry(layer, head)?.exact;
      if (!entry2) return Promise.reject(new SourceError(this.missing(layer, head), 404));
      const kept = this.opened.get(name);
      if (kept) return kept;
      const opened = this.open(layer, entry2);
      this.opened.set(name, opened);
      for (const old of this.opened.keys()) {
        if (this.opened.size <= OPENED) break;
        this.opened.delete(old);
      }
      return opened;
    }
    /** @param {number} at @param {ExactHead} entry */
    async open(at, entry2) {
      const { tape, layers } = this.manifest;
      const { width, dtype } = layers[at];
      const { scale, softcap } = tape.layers[at];
      const [q, k, lse, spans] = await Promise.all([
        floats(entry2.q, dtype),
        floats(entry2.k, dtype),
        floats(entry2.lse, "f4"),
        this.spans(at)
      ]);
      return new Products({ q, k, lse, width, spans, offset: tape.offset, scale, softcap, slope: entry2.slope, sink: entry2.sink });
    }
    /** @param {number} at @returns {Promise<import("./products.js").Spans>} */
    async spans(at) {
      const all = new Int32Array(await blob(this.manifest.layers[at].spans));
      const rows2 = this.manifest.tape.n_queries + 1;
      const each = (all.length - rows2) / 2;
      return { rowPtr: all.subarray(0, rows2), starts: all.subarray(rows2, rows2 + each), stops: all.subarray(rows2 + each) };
    }
    /** @param {number} layer @param {number} head @returns {Promise<Levels> | null} */
    coarse(layer, head) {
      const entry2 = this.entry(layer, head)?.coarse;
      if (!entry2) return null;
      const name = `${layer}.${head}`;
      let kept = this.levels.get(name);
      if (!kept) {
        kept = this.openLevels(layer, entry2);
        this.levels.set(name, kept);
      }
      return kept;
    }
    /** @param {number} layer @param {CoarseHead} entry */
    async openLevels(layer, entry2) {
      const { n_queries, n_keys } = this.manifest.tape;
      const [max, mean, spans] = await Promise.all([
        floats(entry2.max, "f2"),
        entry2.mean ? floats(entry2.mean, "f2") : null,
        entry2.mean ? this.spans(layer) : null
      ]);
      return new Levels(entry2, n_queries, n_keys, max, mean, spans);
    }
    /** @param {number} layer @param {number} head @param {AbortSignal} [signal] @returns {Promise<Frame>} */
    async thumb(layer, head, signal) {
      const { n_queries, n_keys } = this.manifest.tape;
      let z = 0;
      while (THUMB * 2 ** z < Math.max(n_queries, n_keys)) z += 1;
      const levels = await this.coarse(layer, head);
      if (levels) {
        const { values, rows: rows3, columns: columns2 } = levels.at(Math.max(z, levels.z), "max");
        return frameOf(0, values, rows3, columns2, false);
      }
      const products = await this.exact(layer, head);
      const rows2 = Math.ceil(n_queries / 2 ** z);
      const columns = Math.ceil(n_keys / 2 ** z);
      const lens = { of: "weight", pool: "max", skip: 0, renorm: 0 };
      return frameOf(0, await products.pixels(z, 0, 0, rows2, columns, lens, signal), rows2, columns, false);
    }
    /**
     * @param {import("./source.js").TileRequest} request
     * @param {(frame: Frame) => void} onFrame
     * @param {AbortSignal} signal
     */
    async tiles(request, onFrame, signal) {
      for (let index = 0; index < request.ids.length; index++) {
        await new Promise((done) => setTimeout(done, 0));
        if (signal.aborted) throw new DOMException("no longer wanted", "AbortError");
        onFrame(await this.tile(index, request, signal));
      }
    }
    /** @param {number} index @param {import("./source.js").TileRequest} lens @param {AbortSignal} signal @returns {Promise<Frame>} */
    async tile(index, lens, signal) {
      const [layer, head, z, y, x] = lens.ids[index].split(".").map(Number);
      const plain3 = lens.of === "weight" && !lens.skip;
      const levels = plain3 ? await this.coarse(layer, head) : null;
      if (levels && z >= levels.z && levels.has(lens.pool)) {
        return frameOf(index, cut(levels.at(z, lens.pool), y, x), TILE, TILE, false);
      }
      if (!this.entry(layer, head)?.exact) return failure(index, this.missing(layer, head));
      const side = TILE * 2 ** z;
      const { n_queries, n_keys } = this.manifest.tape;
      const area = Math.min(side, n_queries - y * side) * Math.min(side, n_keys - x * side);
      if (area * this.manifest.layers[layer].width > MOST) {
        return failure(index, "this view takes too long to compute in an exported page; zoom in, or open the tape itself");
      }
      const products = await this.exact(layer, head);
      const values = await products.pixels(z, y * side, x * side, TILE, TILE, lens, signal);
      return frameOf(index, values, TILE, TILE, lens.of === "score");
    }
    /** @param {number} layer @param {number} head @returns {Promise<import("./source.js").Tracks>} */
    async tracks(layer, head) {
      const { tape, said } = this.manifest;
      const name = this.entry(layer, head)?.tracks;
      const found = [];
      if (name) {
        const all = new Float32Array(await blob(name));
        const n = tape.n_queries;
        found.push({ name: "entropy", axis: "query", values: all.subarray(0, n) });
        found.push({ name: "sink", axis: "query", values: all.subarray(n, 2 * n) });
        found.push({ name: "received", axis: "key", values: all.subarray(2 * n) });
      }
      if (said) found.push({ name: "loss", axis: "query", values: (await this.saidAll()).loss });
      return { state: "ready", done: 1, total: 1, tracks: found };
    }
    tokens() {
      this.text ??= blob(this.manifest.tokens).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
      return this.text;
    }
    saidAll() {
      const said = (
        /** @type {Said} */
        this.manifest.said
      );
      const names = [said.ids, said.probabilities, said.loss, said.vocabulary];
      this.saidNow ??= Promise.all(names.map(blob)).then(([ids, p, loss, texts]) => ({
        ids: new Int32Array(ids),
        probabilities: new Float32Array(p),
        loss: new Float32Array(loss),
        vocabulary: JSON.parse(new TextDecoder().decode(texts))
      }));
      return this.saidNow;
    }
    /** @param {number} query @returns {Promise<import("./source.js").Next | null>} */
    async next(query) {
      const { said, tape } = this.manifest;
      if (!said) return null;
      const [{ ids, probabilities, loss, vocabulary }, text] = await Promise.all([this.saidAll(), this.tokens()]);
      const top = [];
      for (let at = query * said.width; at < (query + 1) * said.width; at++) {
        if (ids[at] >= 0) top.push({ token: vocabulary?.[ids[at]] ?? null, id: ids[at], p: probabilities[at] });
      }
      if (!top.length) return null;
      const position = query + tape.offset + 1;
      const id = text.ids?.[position];
      const known = id !== void 0 && !Number.isNaN(loss[query]);
      const came = known ? { token: text.tokens?.[position] ?? vocabulary?.[id] ?? null, id, p: Math.exp(-loss[query]) } : null;
      return { query, top, came, recorded: true };
    }
  };
  var Levels = class {
    /**
     * @param {CoarseHead} entry
     * @param {number} nQueries @param {number} nKeys
     * @param {Float32Array} max @param {Float32Array | null} mean
     * @param {import("./products.js").Spans | null} spans
     */
    constructor(entry2, nQueries, nKeys, max, mean, spans) {
      this.z = entry2.z;
      this.lift = entry2.mean_lift;
      this.mean = mean;
      this.spans = spans;
      this.rows = Math.ceil(nQueries / 2 ** entry2.z);
      this.columns = Math.ceil(nKeys / 2 ** entry2.z);
      this.max = /* @__PURE__ */ new Map([[entry2.z, this.image(max.map((value) => value * entry2.lift))]]);
      this.sums = null;
    }
    /** @param {Float32Array} values @returns {Image} */
    image(values) {
      return { values, rows: this.rows, columns: this.columns };
    }
    /** @param {string} pool */
    has(pool) {
      return pool === "max" || this.mean !== null;
    }
    /** @param {number} z @param {string} pool @returns {Image} */
    at(z, pool) {
      const { mean, spans } = this;
      if (pool === "max" || !mean || !spans) return halved(this.max, z, Math.max);
      if (!this.sums) {
        const counts = counted(spans, this.z, this.rows, this.columns);
        const sums = mean.map((value, at) => counts[at] ? value * this.lift * counts[at] : NaN);
        this.sums = { sum: /* @__PURE__ */ new Map([[this.z, this.image(sums)]]), count: /* @__PURE__ */ new Map([[this.z, this.image(counts)]]) };
      }
      const add = (a, b) => a + b;
      const sum2 = halved(this.sums.sum, z, add);
      if (pool === "sum") return sum2;
      const count3 = halved(this.sums.count, z, add);
      return { ...sum2, values: sum2.values.map((value, at) => value / count3.values[at]) };
    }
  };
  function halved(levels, z, join) {
    const known = levels.get(z);
    if (known) return known;
    const below = halved(levels, z - 1, join);
    const rows2 = Math.ceil(below.rows / 2);
    const columns = Math.ceil(below.columns / 2);
    const values = new Float32Array(rows2 * columns).fill(NaN);
    for (let r = 0; r < below.rows; r++) {
      for (let c = 0; c < below.columns; c++) {
        const value = below.values[r * below.columns + c];
        if (Number.isNaN(value)) continue;
        const at = (r >> 1) * columns + (c >> 1);
        values[at] = Number.isNaN(values[at]) ? value : join(values[at], value);
      }
    }
    const made = { values, rows: rows2, columns };
    levels.set(z, made);
    return made;
  }
  function counted({ rowPtr, starts, stops }, z, rows2, columns) {
    const counts = new Float32Array(rows2 * columns);
    const side = 2 ** z;
    for (let row = 0; row + 1 < rowPtr.length; row++) {
      const base = (row >> z) * columns;
      for (let n = rowPtr[row]; n < rowPtr[row + 1]; n++) {
        for (let c = starts[n] >> z; c * side < stops[n]; c++) {
          counts[base + c] += Math.min(stops[n], (c + 1) * side) - Math.max(starts[n], c * side);
        }
      }
    }
    return counts;
  }
  function cut({ values, rows: rows2, columns }, y, x) {
    const out = new Float32Array(TILE * TILE).fill(NaN);
    for (let r = y * TILE; r < Math.min(rows2, (y + 1) * TILE); r++) {
      const last = Math.min(columns, (x + 1) * TILE);
      if (x * TILE < last) out.set(values.subarray(r * columns + x * TILE, r * columns + last), (r - y * TILE) * TILE);
    }
    return out;
  }

  // lesson.js
  var lesson_exports = {};
  __export(lesson_exports, {
    mount: () => mount
  });

  // pattern.js
  var PatternError = class extends Error {
    /**
     * @param {string} why the reason, in one clause
     * @param {number | null} column where in the text, counted from 0; null where no place is to blame
     */
    constructor(why2, column = null) {
      super(column === null ? why2 : `column ${column + 1}: ${why2}`);
      this.name = "PatternError";
      this.why = why2;
      this.column = column;
    }
  };
  var WRITTEN = (
    /** @type {const} */
    {
      causal: "causal",
      full: "full",
      window: "window(size)",
      first: "first(count)",
      chunk: "chunk(size)",
      documents: "documents(length, ...)",
      diagonal: "diagonal(distance)"
    }
  );
  var PRIMITIVES = Object.values(WRITTEN);
  var DEPTH = 50;
  var DIGITS = 15;
  var SHOWN = 60;
  var SPACE = " \\t\\n\\r\\f\\v";
  var TOKEN = new RegExp(`[A-Za-z_]+|[+-]?[0-9]+|[^${SPACE}]`, "gu");
  var CAUSAL = { kind: "causal" };
  var FULL = { kind: "full" };
  var windowOf = (size) => ({ kind: "window", size });
  var first = (count3) => ({ kind: "first", count: count3 });
  var documents = (lengths) => ({ kind: "documents", lengths });
  var diagonal = (distance) => ({ kind: "diagonal", distance });
  var not = (part) => ({ kind: "not", part });
  var and = (...parts2) => ({ kind: "and", parts: parts2.flatMap((p) => p.kind === "and" ? p.parts : [p]) });
  var or = (...parts2) => ({ kind: "or", parts: parts2.flatMap((p) => p.kind === "or" ? p.parts : [p]) });
  function parse(text) {
    return new Parser(text).parse();
  }
  var Parser = class {
    /** @param {string} text */
    constructor(text) {
      this.text = text;
      this.tokens = [...text.matchAll(TOKEN)];
      this.at = 0;
      this.depth = 0;
    }
    /** @returns {Pattern} */
    parse() {
      if (!this.tokens.length) {
        this.fail("a pattern is needed, such as 'causal & window(4)', but the text is empty");
      }
      const pattern = this.either();
      if (this.at < this.tokens.length) this.fail(`'&', '|' or the end was expected, not '${this.peek()}'`);
      return pattern;
    }
    /** @returns {Pattern} */
    either() {
      let pattern = this.both();
      while (this.take("|")) pattern = or(pattern, this.both());
      return pattern;
    }
    /** @returns {Pattern} */
    both() {
      let pattern = this.single();
      while (this.take("&")) pattern = and(pattern, this.single());
      return pattern;
    }
    /** @returns {Pattern} */
    single() {
      this.depth += 1;
      if (this.depth > DEPTH) this.fail(`more than ${DEPTH} levels of '(' and '~'; write a flatter pattern`);
      let pattern;
      if (this.take("~")) {
        pattern = not(this.single());
      } else if (this.take("(")) {
        pattern = this.either();
        this.expect(")");
      } else {
        pattern = this.primitive();
      }
      this.depth -= 1;
      return pattern;
    }
    /** @returns {Pattern} */
    primitive() {
      const start = this.at;
      const name = this.peek();
      if (!isName(name)) this.fail(unknown(name));
      const written = WRITTEN[name];
      this.at += 1;
      if (name === "causal" || name === "full") return { kind: name };
      if (!this.take("(")) this.fail(`'(' was expected: it is written ${written}`);
      const numbers = [this.number(written)];
      while (name === "documents" && this.take(",")) numbers.push(this.number(written));
      if (this.peek() === ",") this.fail(`one number is enough: it is written ${written}`);
      this.expect(")");
      const [number2] = numbers;
      const least2 = { window: 1, first: 0, chunk: 1, documents: 1, diagonal: -Infinity }[name];
      const small = numbers.find((one) => one < least2);
      if (small !== void 0) {
        this.at = start;
        const field = { window: "size", first: "count", chunk: "size", documents: "length", diagonal: "" }[name];
        this.fail(`${name} ${field}: a whole number of at least ${least2} is needed; got ${small}`);
      }
      if (name === "window" || name === "chunk") return { kind: name, size: number2 };
      if (name === "first") return first(number2);
      return name === "documents" ? documents(numbers) : diagonal(number2);
    }
    /** @param {string} written @returns {number} */
    number(written) {
      const token = this.peek();
      if (!/^[+-]?[0-9]+$/.test(token)) this.fail(`a whole number was expected: it is written ${written}`);
      if (token.length > DIGITS) {
        this.fail(`a number of ${token.length} digits is too large; at most ${DIGITS} digits`);
      }
      this.at += 1;
      return Number(token) + 0;
    }
    peek() {
      return this.tokens[this.at]?.[0] ?? "";
    }
    /** @param {string} token */
    take(token) {
      const found = this.peek() === token;
      if (found) this.at += 1;
      return found;
    }
    /** @param {string} token */
    expect(token) {
      if (!this.take(token)) this.fail(`'${token}' was expected${this.peek() ? `, not '${this.peek()}'` : ""}`);
    }
    /** @param {string} why @returns {never} */
    fail(why2) {
      throw new PatternError(why2, this.tokens[this.at]?.index ?? this.text.length);
    }
  };
  function isName(name) {
    return Object.hasOwn(WRITTEN, name);
  }
  function unknown(name) {
    const known = PRIMITIVES.join(", ");
    if (!name) return `the text ends where a pattern was expected: one of ${known}`;
    const [near, likeness] = Object.keys(WRITTEN).map((one) => (
      /** @type {[string, number]} */
      [one, alike(one, name.toLowerCase())]
    )).reduce((best, one) => one[1] > best[1] ? one : best);
    const hint = likeness >= 0.6 ? `; did you mean '${near}'?` : `; the patterns are ${known}`;
    return `'${name.slice(0, SHOWN)}' is no pattern${hint}`;
  }
  function alike(a, b) {
    const cut4 = b.slice(0, SHOWN);
    let row = new Array(cut4.length + 1).fill(0);
    for (const letter of a) {
      const next = [0];
      for (let at = 0; at < cut4.length; at++) {
        next.push(letter === cut4[at] ? row[at] + 1 : Math.max(row[at + 1], next[at]));
      }
      row = next;
    }
    return 2 * row[cut4.length] / (a.length + b.length);
  }
  function format(pattern) {
    switch (pattern.kind) {
      case "causal":
      case "full":
        return pattern.kind;
      case "window":
      case "chunk":
        return `${pattern.kind}(${pattern.size})`;
      case "first":
        return `first(${pattern.count})`;
      case "documents":
        return `documents(${pattern.lengths.join(", ")})`;
      case "diagonal":
        return `diagonal(${pattern.distance})`;
      case "and":
        return pattern.parts.map((part) => part.kind === "or" ? `(${format(part)})` : format(part)).join(" & ");
      case "or":
        return pattern.parts.map(format).join(" | ");
      case "not":
        return pattern.part.kind === "and" || pattern.part.kind === "or" ? `~(${format(pattern.part)})` : `~${format(pattern.part)}`;
    }
  }
  function same(a, b) {
    return format(a) === format(b);
  }
  function allowed(pattern, i, j) {
    switch (pattern.kind) {
      case "causal":
        return j <= i;
      case "full":
        return true;
      case "window":
        return Math.abs(i - j) < pattern.size;
      case "first":
        return j < pattern.count;
      case "chunk":
        return Math.floor(i / pattern.size) === Math.floor(j / pattern.size);
      case "documents":
        return i >= 0 && documentOf(pattern.lengths, i) === documentOf(pattern.lengths, j);
      case "diagonal":
        return j === i - pattern.distance;
      case "and":
        return pattern.parts.every((part) => allowed(part, i, j));
      case "or":
        return pattern.parts.some((part) => allowed(part, i, j));
      case "not":
        return !allowed(pattern.part, i, j);
    }
  }
  function documentOf(lengths, position) {
    let end = 0;
    return lengths.findIndex((length) => (end += length) > position);
  }
  function check(pattern, positions) {
    if (pattern.kind === "documents") {
      const sum2 = pattern.lengths.reduce((a, b) => a + b, 0);
      if (positions > sum2) {
        throw new PatternError(
          `documents: the lengths add up to ${sum2} positions, but ${positions} were asked for; add the missing documents`
        );
      }
    } else if (pattern.kind === "not") {
      check(pattern.part, positions);
    } else if (pattern.kind === "and" || pattern.kind === "or") {
      pattern.parts.forEach((part) => check(part, positions));
    }
  }
  function rows(pattern, nQueries, nKeys = nQueries, offset = nKeys - nQueries) {
    if (nQueries > 0) check(pattern, Math.max(nKeys, offset + nQueries));
    return Array.from(
      { length: nQueries },
      (_, row) => Array.from({ length: nKeys }, (_2, key) => key).filter((key) => allowed(pattern, offset + row, key))
    );
  }

  // reasons.js
  var PLURAL = { comes: "come", is: "are", lies: "lie" };
  function why(pattern, query, key) {
    return sentence([[key, key + 1]], clauses(pattern, query, key));
  }
  function reasons(pattern, query, nKeys) {
    const grouped = /* @__PURE__ */ new Map();
    const keys2 = Array.from({ length: nKeys }, (_, key) => key).filter((key) => !allowed(pattern, query, key));
    for (const key of [...keys2.filter((key2) => key2 > query), ...keys2.filter((key2) => key2 <= query)]) {
      const found = clauses(pattern, query, key);
      const name = JSON.stringify(found);
      const group = grouped.get(name) ?? { keys: [], clauses: found };
      group.keys.push(key);
      grouped.set(name, group);
    }
    return [...grouped.values()].map((group) => {
      const sorted = group.keys.sort((a, b) => a - b);
      return { keys: sorted, text: sentence(runs(sorted), group.clauses) };
    });
  }
  function sentence(keys2, clauses2) {
    const one = keys2.reduce((sum2, [start, stop]) => sum2 + stop - start, 0) === 1;
    let before = "";
    const said = clauses2.map(([verb, rest]) => {
      const text = verb === before ? rest : `${one ? verb : PLURAL[verb]} ${rest}`;
      before = verb;
      return text;
    });
    return `${spelled(keys2, " and ")} ${said.join(" and ")}`;
  }
  function meaning(pattern) {
    switch (pattern.kind) {
      case "causal":
        return "at or before its own position";
      case "full":
        return "at every position";
      case "window":
        return `less than ${count(pattern.size)} position${pattern.size > 1 ? "s" : ""} away`;
      case "first":
        return amongFirst(pattern.count);
      case "chunk":
        return `in its own chunk of ${count(pattern.size)} positions`;
      case "documents":
        return "in its own document";
      case "diagonal":
        return place2(pattern.distance, "its own", "its own position");
      case "and":
        return pattern.parts.map((p) => p.kind === "or" ? `(${meaning(p)})` : meaning(p)).join(" and ");
      case "or":
        return pattern.parts.map(meaning).join(" or ");
      case "not":
        return pattern.part.kind === "and" || pattern.part.kind === "or" ? `not (${meaning(pattern.part)})` : `not ${meaning(pattern.part)}`;
    }
  }
  function says(pattern) {
    if (pattern.kind === "full") return "Every query reads every key.";
    if (pattern.kind === "not" && pattern.part.kind === "full") return "No query reads any key.";
    return `Query i reads the keys ${meaning(pattern)}.`;
  }
  function clauses(pattern, query, key) {
    const open = allowed(pattern, query, key);
    switch (pattern.kind) {
      case "and":
      case "or": {
        const alone = pattern.kind === "or" === open;
        const deciding = pattern.parts.filter((part) => allowed(part, query, key) === open).slice(0, 1);
        return (alone ? deciding : pattern.parts).flatMap((part) => clauses(part, query, key));
      }
      case "not": {
        if (pattern.part.kind === "full") return [["is", `left out: ${format(pattern)} takes no key`]];
        const found = clauses(pattern.part, query, key);
        const [verb, rest] = found[found.length - 1];
        return [...found.slice(0, -1), [verb, open ? rest : `${rest}, which ${format(pattern)} leaves out`]];
      }
      case "causal":
        return [open ? ["lies", `at or before q${query}`] : ["comes", `after q${query}`]];
      case "full":
        return [["is", "a key"]];
      case "window":
        return [["is", `${open ? "inside" : "outside"} the window of ${count(pattern.size)}`]];
      case "first":
        return [["is", `${open ? "" : "not "}${amongFirst(pattern.count)}`]];
      case "chunk":
        return [["lies", `in ${open ? `the chunk of q${query}` : `another chunk of ${count(pattern.size)}`}`]];
      case "documents":
        return [["lies", `in ${open ? `the document of q${query}` : "another document"}`]];
      case "diagonal":
        return [["is", `${open ? "" : "not "}${place2(pattern.distance, `q${query}`, `q${query}`)}`]];
    }
  }
  function place2(distance, far, near) {
    if (distance === 0) return `at ${near}`;
    const steps = `${count(Math.abs(distance))} position${Math.abs(distance) > 1 ? "s" : ""}`;
    return `${steps} ${distance > 0 ? "before" : "after"} ${far}`;
  }
  function amongFirst(n) {
    return n === 1 ? "the first key" : `among the first ${count(n)} keys`;
  }
  function runs(keys2) {
    const found = [];
    for (const key of keys2) {
      const last = found[found.length - 1];
      if (last && last[1] === key) last[1] = key + 1;
      else found.push([key, key + 1]);
    }
    return found;
  }
  function spelled(intervals, last = ", ") {
    const names = intervals.flatMap(
      ([start, stop]) => stop - start < 3 ? Array.from({ length: stop - start }, (_, at) => `k${start + at}`) : [`k${start}…k${stop - 1}`]
    );
    return names.length > 1 ? names.slice(0, -1).join(", ") + last + names[names.length - 1] : names.join("");
  }

  // lesson.js
  var MOST2 = 24;
  var USUAL = 8;
  var SENTENCE = "the cat sat on the mat and looked at the bird that sang in the old tree by the wall of our small garden";
  var LONGEST_WORD = 12;
  var CHOICES2 = [
    { name: "causal", words: "a decoder", of: () => "causal" },
    { name: "window", words: "a sliding window", of: (n) => `causal & window(${Math.min(3, n)})` },
    { name: "prefix", words: "a prefix read both ways", of: (n) => `causal | first(${Math.ceil(n / 3)})` },
    {
      name: "packed",
      words: "documents packed in one row",
      of: (n) => n < 2 ? "causal & documents(1)" : `causal & documents(${Math.ceil(n / 2)}, ${Math.floor(n / 2)})`
    },
    { name: "sinks", words: "first keys and a window", of: () => "causal & (window(3) | first(1))" },
    { name: "full", words: "an encoder", of: () => "full" }
  ];
  function mount(parent, app) {
    let pointed = null;
    let shown2 = read2(app.state.more);
    const words2 = el("input", {
      type: "text",
      id: "lesson-words",
      class: "lesson-words",
      maxlength: 400,
      spellcheck: false,
      autocomplete: "off",
      input: () => {
        const n = split(words2.value).length;
        keep({ words: words2.value, n: String(n || USUAL) });
      }
    });
    const length = el("input", {
      type: "number",
      id: "lesson-n",
      min: 1,
      max: MOST2,
      input: () => {
        const n = Number(length.value);
        if (Number.isInteger(n) && n >= 1 && n <= MOST2) keep({ n: String(n) });
      },
      change: () => {
        const n = Math.round(Number(length.value));
        if (n && n !== shown2.n) keep({ n: String(Math.min(MOST2, Math.max(1, n))) });
        length.value = String(shown2.n);
      }
    });
    const queries = el("input", {
      type: "number",
      id: "lesson-m",
      min: 1,
      input: () => {
        const m = Number(queries.value);
        if (Number.isInteger(m) && m >= 1 && m <= shown2.n) keep({ m: m === shown2.n ? "" : String(m) });
      },
      change: () => queries.value = String(shown2.m)
    });
    const rule2 = el("input", {
      type: "text",
      id: "lesson-rule",
      class: "code lesson-rule",
      spellcheck: false,
      autocomplete: "off",
      maxlength: 300,
      "aria-describedby": "lesson-wrong",
      input: () => keep({ rule: rule2.value })
    });
    const wrong = el("pre", { id: "lesson-wrong", class: "lesson-wrong", role: "alert" });
    const chips = CHOICES2.map(
      (choice2) => el(
        "button",
        {
          type: "button",
          "data-pattern": choice2.name,
          click: () => keep({ rule: choice2.of(shown2.n) }, true)
        },
        el("b", {}, choice2.name),
        el("span", {}, choice2.words)
      )
    );
    const cut4 = el("p", { class: "lesson-cut", hidden: true });
    const table = el("table", { class: "lesson-map", "data-testid": "lesson-map" });
    const meaning2 = el("p", { class: "lesson-says" });
    const counts = el("dl", { class: "lesson-counts" });
    const list = el("section", { class: "lesson-query", "aria-live": "polite", "data-testid": "lesson-query" });
    table.addEventListener("pointerover", (event) => point(place3(event.target)));
    table.addEventListener("pointerleave", () => point(null));
    table.addEventListener("focusin", (event) => point(place3(event.target)));
    table.addEventListener("focusout", () => point(null));
    table.addEventListener("click", (event) => {
      const at = place3(event.target);
      if (at) keep({ at: String(at.query) === app.state.more.at ? "" : String(at.query) }, true);
    });
    table.addEventListener("keydown", step);
    parent.append(
      el(
        "article",
        { class: "lesson", "aria-labelledby": "lesson-title" },
        el(
          "header",
          { class: "page-head" },
          el("h1", { id: "lesson-title" }, "The lesson"),
          el(
            "p",
            {},
            "Query i takes the dot product of its vector q",
            el("sub", {}, "i"),
            " with the vector k",
            el("sub", {}, "j"),
            " of each key it may read. A pattern says which. What it forbids is never computed."
          )
        ),
        el(
          "div",
          { class: "lesson-set", role: "group", "aria-label": "Sentence and pattern" },
          el("label", { for: "lesson-words" }, "Sentence"),
          words2,
          el(
            "span",
            { class: "lesson-lengths" },
            el("label", { for: "lesson-n" }, "tokens"),
            length,
            el("label", { for: "lesson-m" }, "queries (the last)"),
            queries
          ),
          cut4,
          el("span", { class: "lesson-label", id: "lesson-patterns" }, "Pattern"),
          el("div", { class: "lesson-chips", role: "group", "aria-labelledby": "lesson-patterns" }, ...chips),
          el("label", { for: "lesson-rule" }, "as text"),
          el("div", { class: "lesson-typed" }, rule2, wrong)
        ),
        el(
          "div",
          { class: "lesson-body" },
          el(
            "figure",
            { class: "lesson-figure" },
            el("figcaption", {}, el("span", {}, "query i, down, reads"), el("span", {}, "key j, across, is read")),
            table,
            el(
              "p",
              { class: "lesson-legend" },
              el("span", { class: "swatch on" }),
              "computed",
              el("span", { class: "swatch off" }),
              "never computed"
            )
          ),
          el("div", { class: "lesson-told" }, meaning2, counts, list)
        )
      )
    );
    function keep(patch, push = false) {
      const more = { ...app.state.more };
      if (patch.n !== void 0 && patch.rule === void 0) {
        const preset = CHOICES2.find((choice2) => choice2.of(shown2.n) === (more.rule ?? "causal"));
        if (preset) patch.rule = preset.of(Math.min(MOST2, Number(patch.n)));
      }
      for (const [name, value] of Object.entries(patch)) {
        if (value === "" && name !== "rule" && name !== "words") delete more[name];
        else more[name] = value;
      }
      if (more.rule === "causal") delete more.rule;
      app.set({ more }, { push });
    }
    function place3(target) {
      const cell = target instanceof Element ? target.closest("[data-query]") : null;
      if (!(cell instanceof HTMLElement)) return null;
      const key = cell.dataset.key;
      return { query: Number(cell.dataset.query), key: key === void 0 ? null : Number(key) };
    }
    function point(at) {
      pointed = at;
      mark();
    }
    function step(event) {
      const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
      const from = place3(event.target);
      if (!by || !from) return;
      event.preventDefault();
      event.stopPropagation();
      const next = table.querySelector(`th[data-query="${from.query + by}"]`);
      if (next instanceof HTMLElement) next.focus();
    }
    function draw() {
      const { n, m, tokens, pattern, reads } = shown2;
      if (document.activeElement !== words2) words2.value = shown2.words;
      if (document.activeElement !== length) length.value = String(n);
      if (document.activeElement !== queries) queries.value = String(m);
      if (document.activeElement !== rule2) rule2.value = shown2.rule;
      queries.max = String(n);
      cut4.hidden = shown2.given <= MOST2 || app.state.more.words === void 0;
      cut4.textContent = `The first ${MOST2} of ${shown2.given} words: what can still be looked at product by product.`;
      rule2.toggleAttribute("aria-invalid", shown2.wrong !== null);
      wrong.textContent = shown2.wrong ?? "";
      wrong.hidden = shown2.wrong === null;
      const text = format(pattern);
      chips.forEach((chip, at) => chip.setAttribute("aria-pressed", String(CHOICES2[at].of(n) === text)));
      const first2 = n - m;
      const body = reads.map((keys2, row) => {
        const query = first2 + row;
        return el(
          "tr",
          { "data-row": query },
          el(
            "th",
            { scope: "row", "data-query": query, tabindex: 0, "aria-label": `query ${query}, ${tokens[query] ?? "no word"}` },
            el("span", { class: "word" }, tokens[query] ? visible(tokens[query], LONGEST_WORD) : ""),
            el("span", { class: "name" }, `q${query}`)
          ),
          ...Array.from({ length: n }, (_, key) => {
            const on = keys2.includes(key);
            return el("td", {
              class: on ? "on" : "off",
              "data-query": query,
              "data-key": key,
              "data-product": `q${query}·k${key}`,
              "aria-label": `q${query}·k${key} ${on ? "computed" : "never computed"}`
            });
          })
        );
      });
      fill(
        table,
        el("caption", { class: "unseen" }, `Products of ${m} queries with ${n} keys under ${text}`),
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("td", { class: "corner" }),
            ...Array.from(
              { length: n },
              (_, key) => el(
                "th",
                { scope: "col", "data-column": key },
                el("span", { class: "word" }, tokens[key] ? visible(tokens[key], LONGEST_WORD) : ""),
                el("span", { class: "name" }, `k${key}`)
              )
            )
          )
        ),
        el("tbody", {}, ...body)
      );
      table.dataset.size = n > 14 ? "small" : n > 9 ? "middle" : "large";
      fill(meaning2, el("code", {}, text), " ", says(pattern));
      const computed = reads.reduce((sum2, keys2) => sum2 + keys2.length, 0);
      const never = m * n - computed;
      fill(
        counts,
        el("dt", {}, "computed"),
        el(
          "dd",
          { "data-testid": "lesson-computed", "data-count": computed },
          el("b", {}, String(computed)),
          ` of ${m} × ${n} = ${m * n}`,
          el("span", { class: "lesson-sum" }, sum(shown2, computed))
        ),
        el("dt", {}, "never computed"),
        el(
          "dd",
          { "data-testid": "lesson-never", "data-count": never },
          el("b", {}, String(never)),
          never ? ` · ${Math.round(100 * never / (m * n))}% of all` : ""
        )
      );
      mark();
    }
    function mark() {
      const { n, m, tokens, pattern, reads, pinned } = shown2;
      const first2 = n - m;
      const at = pointed && pointed.query >= first2 && pointed.query < n ? pointed : null;
      const query = at?.query ?? pinned ?? n - 1;
      const keys2 = reads[query - first2];
      for (const row of table.querySelectorAll("tbody tr")) {
        const here = Number(
          /** @type {HTMLElement} */
          row.dataset.row
        ) === query;
        row.classList.toggle("lit", here);
        row.classList.toggle("pinned", Number(
          /** @type {HTMLElement} */
          row.dataset.row
        ) === pinned);
      }
      for (const head of table.querySelectorAll("th[data-column]")) {
        const key2 = Number(
          /** @type {HTMLElement} */
          head.dataset.column
        );
        head.classList.toggle("lit", keys2.includes(key2));
        head.classList.toggle("here", key2 === at?.key);
      }
      const forbidden = Array.from({ length: n }, (_, key2) => key2).filter((key2) => !keys2.includes(key2));
      const product = (key2, kind) => el("li", { class: key2 === at?.key ? `${kind} here` : kind }, `q${query}·k${key2}`);
      const whole2 = keys2.map((key2) => `q${query}·k${key2}`).join(" ");
      const key = at?.key ?? null;
      fill(
        list,
        el(
          "h2",
          {},
          `q${query}`,
          tokens[query] ? el("span", { class: "token" }, visible(tokens[query], 24)) : "",
          el("small", {}, `reads ${keys2.length} ${keys2.length === 1 ? "key" : "keys"}`)
        ),
        keys2.length ? el(
          "p",
          { class: "products", "data-testid": "lesson-products", "data-products": `q${query}: ${whole2}` },
          el("span", { class: "lead" }, `q${query}:`),
          " ",
          el("ul", { "aria-label": `products of query ${query}` }, ...keys2.map((one) => product(one, "on")))
        ) : el("p", { class: "products", "data-testid": "lesson-products", "data-products": `q${query}:` }, "none: the output here is 0"),
        forbidden.length ? el(
          "div",
          { class: "forbidden", "data-testid": "lesson-forbidden" },
          el("h3", {}, "never computed"),
          el(
            "ul",
            { "aria-label": `products never computed for query ${query}` },
            ...forbidden.map((one) => product(one, "off"))
          ),
          el("ul", { class: "why" }, ...reasons(pattern, query, n).map(({ text }) => el("li", {}, text)))
        ) : el("p", { class: "forbidden none" }, "Nothing is forbidden to this query."),
        key === null ? "" : el(
          "p",
          { class: "cell", "data-testid": "lesson-cell" },
          el("b", {}, `q${query}·k${key}`),
          ` is ${allowed(pattern, query, key) ? "computed" : "never computed"}: ${why(pattern, query, key)}.`
        )
      );
    }
    draw();
    return {
      update(state, before) {
        if (state.more === before.more) return;
        shown2 = read2(state.more, shown2.pattern);
        draw();
      },
      destroy() {
      }
    };
  }
  function read2(more, last = CAUSAL) {
    const given2 = more.words ?? SENTENCE;
    const named3 = split(given2);
    const n = within(more.n, 1, MOST2, more.words === void 0 ? USUAL : Math.max(1, named3.length));
    const m = within(more.m, 1, n, n);
    const rule2 = more.rule ?? "causal";
    let pattern = last;
    let wrong = null;
    let reads;
    try {
      const typed = parse(rule2);
      reads = rows(typed, m, n);
      pattern = typed;
    } catch (error) {
      if (!(error instanceof PatternError)) throw error;
      wrong = error.column === null ? error.why : `${" ".repeat(error.column)}^ ${error.why}`;
      try {
        reads = rows(pattern, m, n);
      } catch {
        pattern = CAUSAL;
        reads = rows(pattern, m, n);
      }
    }
    const at = within(more.at, n - m, n - 1, -1);
    return { words: given2, given: given2.split(/\s+/).filter(Boolean).length, tokens: named3.slice(0, n), n, m, rule: rule2, pattern, reads, wrong, pinned: at < 0 ? null : at };
  }
  function split(text) {
    return text.split(/\s+/).filter(Boolean).slice(0, MOST2);
  }
  function within(text, low, high, otherwise) {
    return text !== void 0 && /^\d{1,3}$/.test(text) ? Math.min(Math.max(Number(text), low), high) : otherwise;
  }
  function sum({ reads, pattern, n, m }, total) {
    if (m < 2) return "";
    const terms = reads.map((keys2) => String(keys2.length));
    const written = (m > 10 ? [...terms.slice(0, 3), "…", terms[m - 1]] : terms).join(" + ");
    const formula = same(pattern, CAUSAL) && m === n ? ` = n(n + 1)/2 = ${n}·${n + 1}/2` : "";
    return `${written}${formula} = ${total}`;
  }

  // mappage.js
  var mappage_exports = {};
  __export(mappage_exports, {
    mount: () => mount6
  });

  // influence.js
  var AHEAD = [217, 84, 26, 255];
  var DECADES = 6;
  function mount2(parent, app) {
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
            "From the audit, on its own text: how far output i, down, moves when input j, across, changes."
          ),
          told
        )
      )
    );
    let values = [];
    let high = 0;
    let gone = false;
    canvas.addEventListener("pointermove", (event) => {
      const n = values.length;
      const { left, top, width, height } = canvas.getBoundingClientRect();
      const i = Math.floor((event.clientY - top) / height * n);
      const j = Math.floor((event.clientX - left) / width * n);
      const value = values[i]?.[j];
      if (value === void 0) return;
      const said = value === null ? "not tried" : value === 0 ? "no influence" : `moved by ${number(value)} of the largest`;
      told.textContent = `output ${i}, input ${j}: ${said}${j > i && value ? "; the input is ahead" : ""}`;
    });
    canvas.addEventListener("pointerleave", rest);
    function rest() {
      const ahead = values.reduce((sum2, row, i) => sum2 + row.filter((value, j) => j > i && (value ?? 0) > 0).length, 0);
      told.textContent = ahead ? `${ahead} ${ahead === 1 ? "pair" : "pairs"} above the diagonal: an output depends on an input ahead of it.` : "Nothing above the diagonal: no output depends on an input ahead of it.";
    }
    function draw() {
      const n = values.length;
      if (!n) return;
      const columns = values[0].length;
      canvas.width = columns;
      canvas.height = n;
      canvas.setAttribute("aria-label", `Influence map of ${n} outputs and ${columns} inputs`);
      const pen = (
        /** @type {CanvasRenderingContext2D} */
        canvas.getContext("2d")
      );
      const image = pen.createImageData(columns, n);
      const colours = ramp(isDark());
      values.forEach(
        (row, i) => row.forEach((value, j) => {
          if (!value || value < 0) return;
          const at = Math.max(0, Math.min(1, 1 + Math.log10(value / high) / DECADES));
          const step = 4 * Math.round(at * (STEPS - 1));
          const pixel = 4 * (i * columns + j);
          if (j > i) image.data.set(AHEAD, pixel);
          else image.data.set(colours.subarray(step, step + 4), pixel);
        })
      );
      pen.putImageData(image, 0, 0);
    }
    app.source.influence().then((found) => {
      if (gone) return;
      if (!found) return;
      values = found.values;
      high = Math.max(1e-30, ...values.map((row) => Math.max(...row.map((value) => value ?? 0))));
      draw();
      rest();
    }).catch((error) => {
      told.textContent = error instanceof Error ? error.message : String(error);
    });
    const off = app.on("theme", draw);
    return {
      update() {
      },
      destroy() {
        gone = true;
        off();
      }
    };
  }

  // axes.js
  var TOKEN_ROOM = 14;
  var FLAT_ROOM = 56;
  var cut2 = /* @__PURE__ */ new Map();
  function fitted(pen, token, room) {
    const name = `${pen.font} ${room} ${token}`;
    const known = cut2.get(name);
    if (known !== void 0) return known;
    let shown2 = visible(token, 40);
    if (pen.measureText(shown2).width > room) {
      const letters = [...shown2];
      while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > room) letters.pop();
      shown2 = `${letters.join("")}…`;
    }
    if (cut2.size > 2e4) cut2.clear();
    cut2.set(name, shown2);
    return shown2;
  }
  function paintAxes(pen, scene) {
    const { view, theme: theme2, font, app } = scene;
    const { plot } = view;
    const { q0, q1, k0, k1 } = sight(view);
    const { offset } = app.tape;
    const { left } = scene.layout;
    const named3 = view.scale >= TOKEN_ROOM;
    const tokens = scene.layout.named;
    const small = `11px ${font}`;
    const middle = { key: (k) => toX(view, k + 0.5), row: (r) => toY(view, r + 0.5) };
    const inside = (at, from, length) => at >= from - 0.5 && at <= from + length + 0.5;
    pen.font = `12.5px ${font}`;
    pen.fillStyle = theme2.ink;
    pen.textBaseline = "alphabetic";
    pen.textAlign = "right";
    pen.fillText("key j (is read) →", plot.x - 10, plot.y - 10);
    pen.save();
    pen.translate(plot.x - left + 18, plot.y);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "right";
    pen.fillText("← query i (reads)", 0, 0);
    pen.restore();
    pen.font = small;
    const flat = view.scale >= FLAT_ROOM;
    const right = scene.layout.right.x - 2;
    for (const k of flat ? range(k0, k1) : marks(k0, k1, view.scale, 68)) {
      const x = middle.key(k);
      if (!inside(x, plot.x, plot.width)) continue;
      if (!named3) tick(pen, theme2.rule, x, plot.y - 6, x, plot.y - 1);
      if (x + pen.measureText(count(k)).width / 2 > right) continue;
      pen.fillStyle = theme2.soft;
      pen.textAlign = "center";
      pen.textBaseline = "alphabetic";
      pen.fillText(count(k), x, tokens ? flat ? plot.y - 28 : 14 : plot.y - 10);
    }
    for (const k of tokens ? range(k0, k1) : []) {
      const x = middle.key(k);
      if (!inside(x, plot.x, plot.width)) continue;
      tick(pen, theme2.rule, x, plot.y - 6, x, plot.y - 1);
      pen.fillStyle = theme2.ink;
      const token = app.tokens?.[k] ?? "";
      if (flat) {
        pen.textAlign = "center";
        pen.textBaseline = "alphabetic";
        pen.fillText(fitted(pen, token, view.scale - 8), x, plot.y - 10);
        continue;
      }
      pen.save();
      pen.translate(x, plot.y - 9);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "left";
      pen.textBaseline = "middle";
      pen.fillText(fitted(pen, token, plot.y - 28), 0, 0);
      pen.restore();
    }
    for (const r of named3 ? range(q0, q1) : rowMarks(q0, q1, offset, view.scale)) {
      const y = middle.row(r);
      if (!inside(y, plot.y, plot.height)) continue;
      tick(pen, theme2.rule, plot.x - 6, y, plot.x - 1, y);
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      const label = count(r + offset);
      const end = plot.x - 10;
      pen.fillStyle = theme2.soft;
      if (tokens) {
        pen.textAlign = "left";
        pen.fillText(label, plot.x - left + 28, y + 0.5);
        pen.textAlign = "right";
        pen.fillStyle = theme2.ink;
        pen.fillText(fitted(pen, app.tokens?.[r + offset] ?? "", left - 46 - pen.measureText(label).width), end, y + 0.5);
      } else pen.fillText(label, end, y + 0.5);
    }
    paintSteps(pen, scene);
  }
  function range(from, to) {
    return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  }
  var rowMarks = (q0, q1, offset, scale) => marks(q0 + offset, q1 + offset, scale, 44).map((position) => position - offset);
  function tick(pen, colour, x0, y0, x1, y1) {
    pen.fillStyle = colour;
    pen.fillRect(Math.round(x0), Math.round(y0), Math.max(1, Math.round(x1 - x0)), Math.max(1, Math.round(y1 - y0)));
  }
  function paintSteps(pen, { view, theme: theme2, app }) {
    const { steps } = app.tape;
    if (steps.length < 2) return;
    const { plot } = view;
    const bar = (from, to, colour) => {
      const y0 = Math.max(plot.y, toY(view, from));
      const y1 = Math.min(plot.y + plot.height, toY(view, to));
      if (y1 <= y0) return;
      pen.fillStyle = colour;
      pen.fillRect(plot.x - 4, y0, 3, Math.max(1, y1 - y0 - (view.scale > 4 ? 1 : 0)));
    };
    let row = 0;
    const { q0, q1 } = sight(view);
    bar(0, steps[0], theme2.rule);
    if (view.scale <= 4) {
      bar(steps[0], app.tape.n_queries, theme2.line);
      return;
    }
    steps.forEach((rows2, step) => {
      if (step && row + rows2 > q0 && row < q1) bar(row, row + rows2, theme2.line);
      row += rows2;
    });
  }

  // cells.js
  var SIDE = 64;
  var MOST_BLOCKS = 48;
  var REST = 70;
  var PAUSE = 3e3;
  var CellStore = class {
    /**
     * @param {import("./source.js").Source} source
     * @param {() => void} changed
     */
    constructor(source, changed) {
      this.source = source;
      this.changed = changed;
      this.blocks = /* @__PURE__ */ new Map();
      this.timers = /* @__PURE__ */ new Map();
      this.running = /* @__PURE__ */ new Set();
    }
    /**
     * A cell, or null while it is not known.
     *
     * @param {number} layer
     * @param {number} head
     * @param {number} query
     * @param {number} key
     * @returns {Cell | null}
     */
    get(layer, head, query, key) {
      const q0 = query - query % SIDE;
      const k0 = key - key % SIDE;
      const block = this.blocks.get(`${layer}.${head}.${q0}.${k0}`);
      if (!block) return null;
      const at = (query - q0) * block.columns + (key - k0);
      return { dot: block.dots[at], score: block.scores[at], weight: block.weights[at] };
    }
    /**
     * Asks for the cells of a range, once nothing else was asked for the same reason for a moment.
     *
     * @param {"sight" | "point" | "pin"} why
     * @param {number} layer
     * @param {number} head
     * @param {{q0: number, q1: number, k0: number, k1: number}} range
     * @param {number} rows
     * @param {number} columns
     */
    want(why2, layer, head, range3, rows2, columns) {
      const missing = [];
      for (let q = range3.q0 - range3.q0 % SIDE; q < range3.q1; q += SIDE) {
        for (let k = range3.k0 - range3.k0 % SIDE; k < range3.k1; k += SIDE) if (!this.blocks.has(`${layer}.${head}.${q}.${k}`)) missing.push([q, k]);
      }
      if (!missing.length) return;
      clearTimeout(this.timers.get(why2));
      const fetch2 = () => {
        for (const [q, k] of missing) void this.#fetch(layer, head, q, k, rows2, columns);
      };
      this.timers.set(why2, window.setTimeout(fetch2, REST));
    }
    stop() {
      for (const timer of this.timers.values()) clearTimeout(timer);
      for (const request of this.running) request.abort();
    }
    /** @param {number} layer @param {number} head @param {number} q @param {number} k @param {number} rows @param {number} columns */
    async #fetch(layer, head, q, k, rows2, columns) {
      const name = `${layer}.${head}.${q}.${k}`;
      if (this.blocks.has(name)) return;
      this.blocks.set(name, null);
      const stop = new AbortController();
      this.running.add(stop);
      try {
        const block = await this.source.cells(layer, head, q, Math.min(q + SIDE, rows2), k, Math.min(k + SIDE, columns), stop.signal);
        this.blocks.set(name, block);
        for (const old of this.blocks.keys()) {
          if (this.blocks.size <= MOST_BLOCKS) break;
          this.blocks.delete(old);
        }
        this.changed();
      } catch (error) {
        if (aborted(error)) this.blocks.delete(name);
        else setTimeout(() => this.blocks.delete(name), PAUSE);
      } finally {
        this.running.delete(stop);
      }
    }
  };
  var ROOM = { weight: 34, product: 58, tokens: 104 };
  function paintCells(pen, scene, ground) {
    const { view, state, cells, font, app } = scene;
    if (view.scale < ROOM.weight) return;
    const { q0, q1, k0, k1 } = sight(view);
    const { plot, scale } = view;
    pen.save();
    pen.beginPath();
    pen.rect(plot.x, plot.y, plot.width, plot.height);
    pen.clip();
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let row = q0; row < q1; row++) {
      if (state.grow && state.query !== null && row > state.query) break;
      for (let key = k0; key < k1; key++) {
        const cell = cells.get(state.layer, state.head, row, key);
        if (!cell || Number.isNaN(cell.weight)) continue;
        const under = ground(row, key);
        pen.fillStyle = inkOn(under ?? 1);
        const x = toX(view, key + 0.5);
        const y = toY(view, row + 0.5);
        const room = scale - 3;
        if (scale < ROOM.product) {
          pen.font = `${scale < 44 ? 9.5 : 11}px ${font}`;
          pen.fillText(short(pen, "", cell.weight, 2, room), x, y);
          continue;
        }
        const size = Math.min(13, 10 + (scale - ROOM.product) / 40);
        pen.font = `${size}px ${font}`;
        const lines2 = [short(pen, "q·k ", cell.dot, 3, room), short(pen, "s ", cell.score, 3, room), short(pen, "p ", cell.weight, 3, room)];
        if (scale >= ROOM.tokens && app.tokens) lines2.unshift(pair(pen, app.token(app.position(row)) ?? "", app.token(key) ?? "", room));
        const leading = size * 1.35;
        lines2.forEach((line, index) => pen.fillText(line, x, y + (index - (lines2.length - 1) / 2) * leading));
      }
    }
    pen.restore();
  }
  function short(pen, name, value, most, room) {
    let text = "";
    for (let digits = most; digits > 0; digits--) {
      text = name + number(value, digits);
      if (pen.measureText(text).width <= room) break;
    }
    return text;
  }
  function pair(pen, reader, read3, room) {
    const arrow = " → ";
    const free = room - pen.measureText(arrow).width;
    const from = fitted(pen, reader, Math.max(free / 2, free - pen.measureText(visible(read3, 40)).width));
    return from + arrow + fitted(pen, read3, free - pen.measureText(from).width);
  }

  // words.js
  var layerName = (layer) => `${layer.index}`;
  function title({ state }) {
    return `Layer ${state.layer}, head ${state.head}: what each query reads`;
  }
  function caption({ app, state, view, level, ruler: ruler2 }) {
    const layer = app.tape.layers[state.layer];
    const clauses2 = [`pattern: ${layer.pattern}`, pixelWords(state, 2 ** level), scaleWords(ruler2)];
    if (view.scale >= ROOM.product && level === 0) clauses2.push("in it: q·k, score s, weight p");
    const skipped = skipWords(state);
    if (skipped) clauses2.push(skipped);
    if (layer.softcap) clauses2.push(`scores softcapped at ${layer.softcap}`);
    if (layer.alibi) clauses2.push("scores with ALiBi slopes");
    if (layer.sinks) clauses2.push("a learned sink takes part of each row");
    if (state.grow && state.query !== null) clauses2.push(`rows after query ${count(app.position(state.query))} are veiled`);
    return clauses2;
  }
  function where({ app }, { q0, q1, k0, k1 }) {
    return `queries ${count(app.position(q0))} to ${count(app.position(q1 - 1))} of ${count(app.position(app.tape.n_queries - 1))}, keys ${count(k0)} to ${count(k1 - 1)} of ${count(app.tape.n_keys - 1)}`;
  }
  function pinWords({ app, state, cells }) {
    const { query, key, layer, head } = state;
    const named3 = (what, position) => {
      const token = app.token(position);
      return `${what} ${count(position)}${token === null ? "" : ` “${visible(token, 24)}”`}`;
    };
    const reader = query === null ? "" : named3("query", app.position(query));
    const read3 = key === null ? "" : named3("key", key);
    if (!reader || !read3) return reader || read3 ? `pinned: ${reader || read3}` : "";
    const cell = query === null || key === null ? null : cells.get(layer, head, query, key);
    if (!cell) return `pinned: ${reader} and ${read3}`;
    return Number.isNaN(cell.weight) ? `pinned: ${reader} does not read ${read3}` : `pinned: ${reader} reads ${read3}, weight ${number(cell.weight)}, score ${number(cell.score)}`;
  }

  // controls.js
  function controls(parent, tools, app, map) {
    const { layers } = app.tape;
    const push = { push: true };
    const options = (n) => Array.from({ length: n }, (_, i) => (
      /** @type {const} */
      [String(i), String(i)]
    ));
    const layer = choice(
      "layer",
      layers.map((one, index) => [String(index), layerName(one)]),
      "",
      (value) => app.set({ layer: Number(value) }, push)
    );
    const head = choice("head", [], "", (value) => app.set({ head: Number(value) }, push));
    const of = choice(
      "what a cell shows",
      [
        ["weight", "weight"],
        ["enrichment", "enrichment"],
        ["score", "raw score"],
        ["relative", "weight ÷ row’s largest"]
      ],
      "",
      (value) => app.set({ of: (
        /** @type {State["of"]} */
        value
      ), range: null }, push)
    );
    const pool = choice(
      "how cells become a pixel",
      [
        ["max", "largest"],
        ["mean", "mean"],
        ["sum", "sum of"]
      ],
      "",
      (value) => app.set({ pool: (
        /** @type {State["pool"]} */
        value
      ), range: null }, push)
    );
    const scale = choice(
      "scale",
      [
        ["log", "log scale"],
        ["linear", "linear scale"]
      ],
      "",
      (value) => app.set({ scale: (
        /** @type {State["scale"]} */
        value
      ), range: null }, push)
    );
    const range3 = choice(
      "range of the scale",
      [
        ["fitted", "fitted to the view"],
        ["fixed", "fixed"]
      ],
      "",
      (value) => app.set({ range: value === "fixed" ? [...map.range()] : null }, push)
    );
    const end = (label, which) => {
      const input = el("input", {
        type: "text",
        inputmode: "decimal",
        size: 6,
        "aria-label": label,
        change: () => {
          const now = app.state.range ?? map.range();
          const value = Number(input.value.replace(/\u2212/g, "-"));
          const ends2 = (
            /** @type {[number, number]} */
            which ? [now[0], value] : [value, now[1]]
          );
          if (input.value.trim() && areEnds(...ends2)) app.set({ range: ends2 }, push);
          else {
            said = "";
            update(app.state);
          }
        }
      });
      return input;
    };
    const low = end("low end of the scale", 0);
    const high = end("high end of the scale", 1);
    const plain3 = el("span", {}, "scale ");
    const ends = el("span", { class: "ends" }, " from ", low, " to ", high);
    const skip = el("input", {
      type: "number",
      min: 0,
      max: Math.max(0, app.tape.n_keys - 1),
      step: 1,
      "aria-label": "first keys to leave out",
      change: () => app.set({ skip: Math.max(0, Math.trunc(Number(skip.value) || 0)) }, push)
    });
    const renorm = choice(
      "rows renormalised",
      [
        ["0", "rows not renormalised"],
        ["1", "rows renormalised over the rest"]
      ],
      "",
      (value) => app.set({ renorm: value === "1" }, push)
    );
    const panes = el("button", { class: "quiet", "aria-pressed": "true", click: () => app.set({ panes: !app.state.panes }, push) }, "Text");
    parent.append(
      el("span", { class: "phrase" }, "Layer ", layer, " head ", head),
      el("span", { class: "phrase" }, "shows the ", pool, " ", of),
      el("span", { class: "phrase" }, "on a ", scale, plain3, " ", range3, ends),
      el("span", { class: "phrase" }, "leaving out the first ", skip, " keys ", renorm)
    );
    tools.append(
      el(
        "span",
        { class: "tools" },
        el("button", { class: "quiet", title: "The whole map (0)", click: map.whole }, "Whole map"),
        el("button", { class: "quiet", title: "Save this view as a picture (e)", click: map.picture }, "Picture"),
        panes
      )
    );
    let said = "";
    function update(state) {
      const now = [state.layer, state.head, state.of, state.pool, state.scale, state.range, state.skip, state.renorm, state.panes].join();
      if (now === said) return;
      said = now;
      layer.value = String(state.layer);
      const heads = layers[state.layer].n_heads;
      if (head.options.length !== heads) head.replaceChildren(...options(heads).map(([value, words2]) => el("option", { value }, words2)));
      head.value = String(state.head);
      of.value = state.of;
      pool.value = state.pool;
      for (const option of pool.options) if (option.value === "sum") option.disabled = state.of !== "weight";
      scale.value = state.scale;
      scale.hidden = state.of === "enrichment" || state.of === "score";
      plain3.hidden = !scale.hidden;
      range3.value = state.range ? "fixed" : "fitted";
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

  // tiles.js
  var MOST_TILES = 320;
  var MOST_AT_ONCE = 48;
  var SOON = 30;
  var AGAIN = 4e3;
  var SAMPLE = 127;
  var subjectName = (s) => `${s.layer}.${s.head} ${s.of} ${s.pool} ${s.skip} ${s.renorm ? 1 : 0}`;
  var nameOf = (at) => `${at.z}.${at.y}.${at.x}`;
  var Tiles = class {
    /**
     * @param {Source} source
     * @param {{changed: () => void, missed: () => void}} tell
     */
    constructor(source, tell) {
      this.source = source;
      this.tell = tell;
      this.kept = /* @__PURE__ */ new Map();
      this.subject = { layer: 0, head: 0, of: "weight", pool: "max", skip: 0, renorm: false };
      this.prefix = "";
      this.wanted = [];
      this.names = /* @__PURE__ */ new Set();
      this.running = /* @__PURE__ */ new Set();
      this.failed = /* @__PURE__ */ new Map();
      this.stale = /* @__PURE__ */ new Set();
      this.timer = 0;
      this.tables = /* @__PURE__ */ new Map();
      this.tablesFor = "";
    }
    /**
     * Says which tiles are in sight, dearest first. Requests start a moment later, so that a wheel in motion does not
     * ask for every level it passes.
     *
     * @param {Subject} subject
     * @param {Place[]} places
     */
    want(subject, places) {
      this.subject = subject;
      this.prefix = `${subjectName(subject)} `;
      this.wanted = places;
      this.names = new Set(places.map((at) => this.prefix + nameOf(at)));
      for (const request of this.running) {
        const still = [...request.names].filter((name) => this.names.has(name)).length;
        if (still * 2 < request.names.size) request.stop.abort();
      }
      if (!this.timer) this.timer = setTimeout(() => this.#ask(), SOON);
    }
    /** @param {Place} at */
    get(at) {
      const name = this.prefix + nameOf(at);
      const tile = this.kept.get(name);
      if (tile) {
        this.kept.delete(name);
        this.kept.set(name, tile);
      }
      return tile;
    }
    /** Whether a tile is kept, without making it younger. @param {Place} at */
    has(at) {
      return this.kept.has(this.prefix + nameOf(at));
    }
    /** How the wanted tiles stand: all there, how many missing or sampled, and what went wrong. */
    standing() {
      let missing = 0;
      let sampled = 0;
      let words2 = "";
      for (const name of this.names) {
        const tile = this.kept.get(name);
        if (!tile) missing += 1;
        else if (tile.sampled) sampled += 1;
        const failed = this.failed.get(name);
        if (failed && !tile) words2 = failed.words;
      }
      return { missing, sampled, words: words2 };
    }
    /** Asks again for sampled tiles: exact ones exist now. */
    refresh() {
      for (const [name, tile] of this.kept) if (tile.sampled) this.stale.add(name);
      this.failed.clear();
      this.#ask();
    }
    /** Some finite values of the tiles in sight, and the greatest. */
    samples() {
      const parts2 = [];
      let size = 0;
      let greatest = -Infinity;
      for (const name of this.names) {
        const tile = this.kept.get(name);
        if (!tile || tile.bare) continue;
        parts2.push(tile.samples);
        size += tile.samples.length;
        greatest = Math.max(greatest, tile.high);
      }
      const all = new Float32Array(size);
      let at = 0;
      for (const part of parts2) {
        all.set(part, at);
        at += part.length;
      }
      return { values: all, greatest };
    }
    /**
     * The picture of a tile in the colours of a scale.
     *
     * @param {Tile} tile
     * @param {import("./scale.js").Ruler} scale
     * @param {string} name of scale and theme together
     * @param {Uint32Array} colours
     */
    picture(tile, scale, name, colours) {
      if (tile.picture && tile.colours === name) return tile.picture;
      if (this.tablesFor !== name) {
        this.tables.clear();
        this.tablesFor = name;
      }
      let table = this.tables.get(tile.multiplier);
      if (!table) {
        table = colourTable(scale, tile.multiplier, colours);
        this.tables.set(tile.multiplier, table);
      }
      const canvas = tile.picture ?? document.createElement("canvas");
      canvas.width = tile.columns;
      canvas.height = tile.rows;
      const context = (
        /** @type {CanvasRenderingContext2D} */
        canvas.getContext("2d")
      );
      const image = context.createImageData(tile.columns, tile.rows);
      const words2 = new Uint32Array(image.data.buffer);
      const { halves } = tile;
      for (let i = 0; i < halves.length; i++) words2[i] = table[halves[i]];
      context.putImageData(image, 0, 0);
      tile.picture = canvas;
      tile.colours = name;
      return canvas;
    }
    /** The value (true units) of a tile at a row and column of it. @param {Tile} tile @param {number} row @param {number} column */
    static value(tile, row, column) {
      return HALF[tile.halves[row * tile.columns + column]] * tile.multiplier;
    }
    stop() {
      clearTimeout(this.timer);
      for (const request of this.running) request.stop.abort();
      this.wanted = [];
      this.names.clear();
    }
    #ask() {
      clearTimeout(this.timer);
      this.timer = 0;
      const now = performance.now();
      const underWay = new Set([...this.running].flatMap((request) => [...request.names]));
      const missing = this.wanted.filter((at) => {
        const name = this.prefix + nameOf(at);
        if (underWay.has(name) || (this.failed.get(name)?.until ?? 0) > now) return false;
        return !this.kept.has(name) || this.stale.has(name);
      });
      for (let at = 0; at < missing.length; at += MOST_AT_ONCE) void this.#fetch(missing.slice(at, at + MOST_AT_ONCE));
    }
    /** @param {Place[]} places */
    async #fetch(places) {
      const { prefix, subject } = this;
      const ids = places.map((at) => `${subject.layer}.${subject.head}.${nameOf(at)}`);
      const request = { names: new Set(places.map((at) => prefix + nameOf(at))), stop: new AbortController() };
      this.running.add(request);
      try {
        await this.source.tiles(
          { of: subject.of, pool: subject.pool, skip: subject.skip, renorm: subject.renorm ? 1 : 0, ids },
          (frame) => {
            const name = prefix + nameOf(places[frame.index]);
            request.names.delete(name);
            this.stale.delete(name);
            if (frame.state === "error") this.#fail(name, frame.words);
            else this.#keep(name, places[frame.index], frame);
            this.tell.changed();
          },
          request.stop.signal
        );
      } catch (error) {
        if (!aborted(error)) {
          const words2 = error instanceof Error ? error.message : String(error);
          for (const name of request.names) this.#fail(name, words2);
          if (error instanceof SourceError && error.status === 0) this.tell.missed();
          this.tell.changed();
        }
      } finally {
        this.running.delete(request);
      }
      if (this.standing().missing && !this.timer) {
        const wait = this.failed.size ? AGAIN : SOON;
        this.timer = setTimeout(() => this.#ask(), wait);
      }
    }
    /** @param {string} name @param {string} words */
    #fail(name, words2) {
      this.failed.set(name, { words: words2, until: performance.now() + AGAIN });
    }
    /** @param {string} name @param {Place} at @param {import("./source.js").Frame} frame */
    #keep(name, at, frame) {
      const { halves } = frame;
      let missing = 0;
      for (let i = 0; i < halves.length; i++) if ((halves[i] & 32767) > 31744) missing += 1;
      const signed = name.includes(" score ");
      const samples = [];
      for (let i = (halves.length - 1) % SAMPLE; i < halves.length; i += SAMPLE) {
        const value = HALF[halves[i]] * frame.multiplier;
        if (Number.isFinite(value) && (signed || value > 0)) samples.push(value);
      }
      this.failed.delete(name);
      this.kept.delete(name);
      this.kept.set(name, {
        at,
        halves,
        rows: frame.rows,
        columns: frame.columns,
        multiplier: frame.multiplier,
        high: frame.high,
        sampled: frame.state === "sampled",
        holes: missing > 0,
        bare: missing === halves.length,
        samples: new Float32Array(samples),
        picture: null,
        colours: ""
      });
      if (this.kept.size <= MOST_TILES) return;
      for (const old of this.kept.keys()) {
        if (this.names.has(old)) continue;
        this.kept.delete(old);
        this.stale.delete(old);
        if (this.kept.size <= MOST_TILES) return;
      }
    }
  };
  function cover({ q0, q1, k0, k1 }, z, tile) {
    const side = tile * 2 ** z;
    const places = [];
    for (let y = Math.floor(q0 / side); y * side < q1; y++) for (let x = Math.floor(k0 / side); x * side < k1; x++) places.push({ z, y, x });
    const my = (q0 + q1) / 2 / side - 0.5;
    const mx = (k0 + k1) / 2 / side - 0.5;
    const far = (at) => (at.y - my) ** 2 + (at.x - mx) ** 2;
    return places.sort((a, b) => far(a) - far(b));
  }

  // plate.js
  var NARROW = 560;
  var LEFT = { wide: 134, narrow: 112 };
  var TOP = { numbers: 46, tokens: 68 };
  var BELOW = 64;
  var GAP = 10;
  var EDGE = 14;
  var LEGEND = 186;
  function layoutOf(width, height, perQuery, named3) {
    const top = named3 ? TOP.tokens : TOP.numbers;
    const narrow = width < NARROW;
    const left = narrow ? LEFT.narrow : LEFT.wide;
    const strip = Math.max(width < 760 ? 42 : 56, Math.min(84, Math.floor(width / 14)));
    const right = narrow ? 0 : Math.max(perQuery * (strip + GAP), LEGEND);
    const plot = {
      x: left,
      y: top,
      width: Math.max(120, width - left - (narrow ? 0 : GAP + right) - EDGE),
      height: Math.max(120, height - top - (GAP + BELOW) * (narrow ? 2 : 1) - EDGE)
    };
    return { ...beside(plot, plot, right), width, height, left, strip: narrow ? 0 : right / perQuery - GAP, named: named3 };
  }
  var attached = (layout, map) => ({ ...layout, ...beside(layout.plot, map, layout.right.width) });
  function beside(plot, map, right) {
    const x = map.x + map.width + GAP;
    const y = map.y + map.height + GAP;
    return {
      plot,
      right: { x, y: plot.y, width: right, height: map.height },
      below: { x: plot.x, y, width: map.width, height: BELOW },
      legend: right ? { x: x + 6, y, width: right - 6, height: BELOW } : { x: plot.x, y: y + BELOW + GAP, width: plot.width, height: BELOW }
    };
  }
  function extent(view) {
    const { plot } = view;
    const x0 = Math.max(plot.x, snap(view, toX(view, 0)));
    const y0 = Math.max(plot.y, snap(view, toY(view, 0)));
    const x1 = Math.min(plot.x + plot.width, snap(view, toX(view, view.columns)));
    const y1 = Math.min(plot.y + plot.height, snap(view, toY(view, view.rows)));
    return { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) };
  }
  function wishes({ view, level, tiles, app }) {
    const { tile, top } = app.tape;
    const seen = sight(view);
    const own = cover(seen, level, tile);
    const places = [];
    const known = (at) => {
      for (let z = at.z; z <= top; z++) if (tiles.has({ z, y: at.y >> z - at.z, x: at.x >> z - at.z })) return true;
      return false;
    };
    if (level < top && own.some((at) => !known(at))) places.push(...cover(seen, Math.min(top, level + 3), tile));
    return { own, places: [...places, ...own] };
  }
  var hatches = /* @__PURE__ */ new WeakMap();
  function hatch(context, paper, ink, ratio) {
    const made = hatches.get(context) ?? /* @__PURE__ */ new Map();
    hatches.set(context, made);
    const name = `${paper} ${ink} ${ratio}`;
    const known = made.get(name);
    if (known) return known;
    const side = Math.max(4, Math.round(7 * ratio));
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const pen = (
      /** @type {CanvasRenderingContext2D} */
      canvas.getContext("2d")
    );
    pen.fillStyle = paper;
    pen.fillRect(0, 0, side, side);
    pen.strokeStyle = ink;
    pen.lineWidth = Math.max(1, 0.9 * ratio);
    for (const shift of [-side, 0, side]) {
      pen.beginPath();
      pen.moveTo(shift - 1, side + 1);
      pen.lineTo(shift + side + 1, -1);
      pen.stroke();
    }
    const pattern = (
      /** @type {CanvasPattern} */
      context.createPattern(canvas, "repeat")
    );
    made.set(name, pattern);
    return pattern;
  }
  function paintMap(context, scene, own) {
    const { view, tiles, theme: theme2, rgba, ruler: ruler2, colours, app, state } = scene;
    const { ratio } = view;
    const { tile: side, top } = app.tape;
    const box = extent(view);
    const px = (key) => Math.round(toX(view, key) * ratio);
    const py = (row) => Math.round(toY(view, row) * ratio);
    const words2 = new Uint32Array(rgba.buffer);
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.beginPath();
    context.rect(Math.round(box.x * ratio), Math.round(box.y * ratio), Math.round(box.width * ratio), Math.round(box.height * ratio));
    context.clip();
    context.fillStyle = theme2.empty;
    context.fillRect(box.x * ratio, box.y * ratio, box.width * ratio, box.height * ratio);
    const lines2 = hatch(context, theme2.paper, theme2.hatch, ratio);
    lines2.setTransform(new DOMMatrix().translate(px(0), py(0)));
    const draw = (tile, part) => {
      const cells = 2 ** tile.at.z;
      const left = tile.at.x * side * cells;
      const upper = tile.at.y * side * cells;
      const k0 = Math.max(part.k0, left);
      const k1 = Math.min(part.k1, left + tile.columns * cells);
      const q0 = Math.max(part.q0, upper);
      const q1 = Math.min(part.q1, upper + tile.rows * cells);
      if (k0 >= k1 || q0 >= q1) return;
      const x = px(k0);
      const y = py(q0);
      const width = px(k1) - x;
      const height = py(q1) - y;
      if (width <= 0 || height <= 0) return;
      if (tile.holes) {
        context.fillStyle = lines2;
        context.fillRect(x, y, width, height);
      }
      if (tile.bare) return;
      const picture2 = tiles.picture(tile, ruler2, colours, words2);
      context.imageSmoothingEnabled = false;
      context.drawImage(picture2, (k0 - left) / cells, (q0 - upper) / cells, (k1 - k0) / cells, (q1 - q0) / cells, x, y, width, height);
    };
    const seen = sight(view);
    const sampled = [];
    for (const at of own) {
      const cells = 2 ** at.z;
      const part = {
        k0: Math.max(at.x * side * cells, Math.floor(seen.k0 / cells) * cells),
        k1: Math.min((at.x + 1) * side * cells, Math.ceil(seen.k1 / cells) * cells),
        q0: Math.max(at.y * side * cells, Math.floor(seen.q0 / cells) * cells),
        q1: Math.min((at.y + 1) * side * cells, Math.ceil(seen.q1 / cells) * cells)
      };
      const tile = tiles.get(at);
      if (tile?.sampled && !tile.bare) sampled.push({ x: Math.max(px(part.k0), Math.round(box.x * ratio)), y: Math.max(py(part.q0), Math.round(box.y * ratio)) });
      if (tile) {
        draw(tile, part);
        continue;
      }
      for (let z = at.z + 1; z <= top; z++) {
        const parent = tiles.get({ z, y: at.y >> z - at.z, x: at.x >> z - at.z });
        if (!parent) continue;
        draw(parent, part);
        break;
      }
      for (const child of childrenOf(at)) {
        const finer = tiles.has(child) ? tiles.get(child) : void 0;
        if (finer) draw(finer, part);
      }
    }
    if (state.skip) {
      context.fillStyle = theme2.left;
      context.fillRect(px(0), 0, Math.max(1, px(state.skip) - px(0)), context.canvas.height);
    }
    if (view.scale * 2 ** scene.level >= 10) rule(context, scene, px, py);
    if (state.grow && state.query !== null) {
      context.fillStyle = theme2.veil;
      context.fillRect(0, py(state.query + 1), context.canvas.width, context.canvas.height);
    }
    labelSampled(context, scene, sampled);
    context.restore();
    context.strokeStyle = theme2.rule;
    context.lineWidth = 1;
    context.strokeRect(box.x - 0.5, box.y - 0.5, box.width + 1, box.height + 1);
  }
  function labelSampled(context, { view, theme: theme2, font }, corners) {
    const { ratio } = view;
    context.font = `${11 * ratio}px ${font}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    const width = context.measureText("sampled").width + 10 * ratio;
    for (const { x, y } of corners) {
      context.fillStyle = theme2.paper;
      context.fillRect(x + 4 * ratio, y + 4 * ratio, width, 16 * ratio);
      context.fillStyle = theme2.pin;
      context.fillText("sampled", x + 9 * ratio, y + 12.5 * ratio);
    }
  }
  function* childrenOf({ z, y, x }) {
    if (z === 0) return;
    for (const dy of [0, 1]) for (const dx of [0, 1]) yield { z: z - 1, y: 2 * y + dy, x: 2 * x + dx };
  }
  function rule(context, { view, level, theme: theme2 }, px, py) {
    const { q0, q1, k0, k1 } = sight(view);
    const cells = 2 ** level;
    context.fillStyle = theme2.paper;
    context.globalAlpha = view.scale * cells >= 28 ? 0.9 : 0.45;
    for (let k = k0 - k0 % cells; k <= k1; k += cells) context.fillRect(px(k), py(q0), 1, py(q1) - py(q0));
    for (let q = q0 - q0 % cells; q <= q1; q += cells) context.fillRect(px(k0), py(q), px(k1) - px(k0), 1);
    context.globalAlpha = 1;
  }

  // crosshair.js
  var THIN = 5;
  function crosshair(figure) {
    const [overRow, overKey, pinRow, pinKey] = ["hover-row", "hover-key", "pin-row", "pin-key"].map((name) => el("div", { class: `cross ${name}`, hidden: true }));
    figure.append(overRow, overKey, pinRow, pinKey);
    return {
      /** Puts everything where it belongs. @param {import("./plate.js").Scene} scene */
      put({ view, level, layout, app, state }) {
        const box = extent(view);
        const { hover } = app;
        const cells = hover?.from === "map" ? 2 ** level : 1;
        const place3 = (mark, at, row, size) => {
          mark.hidden = at === null || at === void 0;
          if (at === null || at === void 0) return;
          const from = at - at % size;
          const where2 = (cell) => row ? toY(view, cell) : toX(view, cell);
          const [start, room] = row ? [box.y, box.height] : [box.x, box.width];
          mark.hidden = where2(from + size) <= start || where2(from) >= start + room;
          if (mark.hidden) return;
          const edge = (cell) => Math.min(start + room, Math.max(start, snap(view, where2(cell))));
          const a = edge(from);
          const length = Math.max(1, edge(from + size) - a);
          const [near, far] = row ? [layout.plot.x - 6, layout.right.x + layout.right.width] : [layout.plot.y - 6, layout.below.y + layout.below.height];
          mark.style.transform = row ? `translate(${near}px, ${a}px)` : `translate(${a}px, ${near}px)`;
          mark.style.width = `${row ? far - near : length}px`;
          mark.style.height = `${row ? length : far - near}px`;
          mark.classList.toggle("thin", length < THIN);
        };
        place3(overRow, hover?.query, true, cells);
        place3(overKey, hover?.key, false, cells);
        place3(pinRow, state.query, true, 1);
        place3(pinKey, state.key, false, 1);
      }
    };
  }

  // gestures.js
  var WHEEL = 1 / 300;
  var PINCH = 1 / 60;
  var STILL = { mouse: 4, touch: 10 };
  function gestures(element, moves) {
    const down = /* @__PURE__ */ new Map();
    let travelled = 0;
    let still = STILL.mouse;
    let box = null;
    const forget = () => {
      box = null;
    };
    new ResizeObserver(forget).observe(element);
    element.addEventListener("pointerenter", forget);
    element.addEventListener("pointerdown", forget, { capture: true });
    const place3 = (event) => {
      box ??= element.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { x, y } = place3(event);
        const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1);
        moves.zoom(2 ** (-Math.max(-240, Math.min(240, pixels)) * (event.ctrlKey ? PINCH : WHEEL)), x, y);
      },
      { passive: false }
    );
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      down.set(event.pointerId, place3(event));
      still = event.pointerType === "mouse" ? STILL.mouse : STILL.touch;
      if (down.size === 1) travelled = 0;
      else travelled = Infinity;
    });
    element.addEventListener("pointermove", (event) => {
      const now = place3(event);
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
          const span = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
          moves.pan(dx / 2, dy / 2);
          moves.zoom(span(now) / span(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
        }
      }
      moves.point(now.x, now.y);
      down.set(event.pointerId, now);
    });
    const up = (event) => {
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

  // keys.js
  var ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  function keys(canvas, app, map) {
    function pressed(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      const at = (
        /** @type {HTMLElement} */
        event.target
      );
      const onMap = at === canvas || at === document.body;
      if (!onMap && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) return;
      const { state } = app;
      const arrow = ARROWS[event.key];
      if (arrow && onMap) (event.shiftKey ? movePin : move)(...arrow);
      else if (event.key === "+" || event.key === "=") map.zoom(Math.SQRT2, ...focus());
      else if (event.key === "-" || event.key === "_") map.zoom(Math.SQRT1_2, ...focus());
      else if (event.key === "0" || event.key === "Home" && onMap) app.set({ x: null, y: null, z: null }, { push: true });
      else if (event.key === "Escape" && onMap && (state.query !== null || state.key !== null)) app.pin(null, null);
      else if (event.key === "e") map.picture();
      else if (event.key === "t") app.set({ panes: !state.panes }, { push: true });
      else if (event.key === "[" || event.key === "]") nextHead(event.key === "]" ? 1 : -1);
      else return;
      event.preventDefault();
    }
    function move(right, down) {
      const { plot } = map.scene().view;
      const step = Math.round(Math.min(plot.width, plot.height) / 8);
      map.pan(right * step, down * step);
    }
    function movePin(right, down) {
      const { state, tape } = app;
      const { view, level } = map.scene();
      const by = 2 ** level;
      const within2 = (value, length) => Math.min(length - 1, Math.max(0, value));
      app.set({
        query: within2((state.query ?? Math.floor(view.y)) - down * by, tape.n_queries),
        key: within2((state.key ?? Math.floor(view.x)) - right * by, tape.n_keys)
      });
    }
    function focus() {
      const { view } = map.scene();
      const { plot } = view;
      const x = app.state.key === null ? NaN : toX(view, app.state.key + 0.5);
      const y = app.state.query === null ? NaN : toY(view, app.state.query + 0.5);
      const inside = x >= plot.x && x <= plot.x + plot.width && y >= plot.y && y <= plot.y + plot.height;
      return inside ? [x, y] : [plot.x + plot.width / 2, plot.y + plot.height / 2];
    }
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

  // legend.js
  var TITLES = {
    weight: "weight",
    enrichment: "log2 (weight × visible keys)",
    score: "score",
    relative: "weight ÷ largest of its row"
  };
  function paintLegend(pen, scene, box) {
    const { ruler: ruler2, rgba, theme: theme2, font, app } = scene;
    const width = Math.min(box.width, 240);
    const slices = 96;
    for (let slice = 0; slice < slices; slice++) {
      const step = Math.round((slice + 0.5) / slices * (STEPS - 1));
      pen.fillStyle = `rgb(${rgba[4 * step]}, ${rgba[4 * step + 1]}, ${rgba[4 * step + 2]})`;
      const x2 = box.x + slice * width / slices;
      pen.fillRect(x2, box.y, width / slices + (slice < slices - 1 ? 0.5 : 0), 9);
    }
    pen.font = `11px ${font}`;
    pen.textBaseline = "alphabetic";
    pen.fillStyle = theme2.soft;
    const marks2 = ticks(ruler2);
    let free = -Infinity;
    const last = marks2.length - 1;
    const end = box.x + width - pen.measureText(tickText(marks2[last])).width - 6;
    marks2.forEach((value, index) => {
      const text = tickText(value);
      const x2 = box.x + place(ruler2, value) * width;
      const half2 = pen.measureText(text).width / 2;
      const from = index === 0 ? box.x : index === last ? box.x + width - 2 * half2 : x2 - half2;
      if (index !== 0 && index !== last && (from < free || x2 + half2 > end)) return;
      pen.textAlign = "left";
      pen.fillText(text, from, box.y + 21);
      free = from + 2 * half2 + 8;
    });
    pen.fillStyle = theme2.ink;
    pen.textAlign = "left";
    pen.fillText(TITLES[ruler2.of] + (ruler2.log ? ", log scale" : ""), box.x, box.y + 35);
    const y = box.y + 41;
    if (pen instanceof CanvasRenderingContext2D) {
      const lines2 = hatch(pen, theme2.paper, theme2.hatch, 1);
      lines2.setTransform(new DOMMatrix());
      pen.fillStyle = lines2;
      pen.fillRect(box.x, y, 22, 11);
    } else {
      pen.strokeStyle = theme2.hatch;
      for (let x2 = -11; x2 < 22; x2 += 5) {
        pen.beginPath();
        pen.moveTo(box.x + Math.max(0, x2), y + 11 - Math.max(0, -x2));
        pen.lineTo(box.x + Math.min(22, x2 + 11), y + Math.max(0, x2 + 11 - 22));
        pen.stroke();
      }
    }
    pen.strokeStyle = theme2.rule;
    pen.lineWidth = 1;
    pen.strokeRect(box.x + 0.5, y + 0.5, 21, 10);
    pen.fillStyle = theme2.soft;
    pen.fillText("never computed", box.x + 28, y + 10);
    if (app.tape.steps.length < 2) return;
    let x = box.x;
    for (const [name, colour] of [["prefill rows", theme2.rule], ["decoded rows", theme2.line]]) {
      pen.fillStyle = colour;
      pen.fillRect(x, y + 15, 3, 10);
      pen.fillStyle = theme2.soft;
      pen.fillText(name, x + 7, y + 24);
      x += 20 + pen.measureText(name).width;
    }
  }

  // readout.js
  function valueAt(scene, row, key) {
    const { tile: side, top } = scene.app.tape;
    for (let z = scene.level; z <= top; z++) {
      const r = Math.floor(row / 2 ** z);
      const c = Math.floor(key / 2 ** z);
      const tile = scene.tiles.get({ z, y: Math.floor(r / side), x: Math.floor(c / side) });
      if (tile) return { value: shown(scene.ruler.of, Tiles.value(tile, r % side, c % side)), z, sampled: tile.sampled };
    }
    return null;
  }
  function named(app, at) {
    const token = app.token(at);
    return token === null ? [count(at)] : [`${count(at)} `, el("b", { class: "token" }, visible(token, 24))];
  }
  function readout(line, scene) {
    const { app, state, series: series2, level, cells } = scene;
    const { hover } = app;
    const row = hover ? hover.query : state.query;
    const key = hover ? hover.key : state.key;
    const pinned = !hover && (state.query !== null || state.key !== null);
    if (row === null && key === null) {
      fill(line, el("span", { class: "hint" }, "Point at the map: which query reads which key, and how much. Click to pin; ? for the keys."));
      return;
    }
    const parts2 = [];
    if (pinned) parts2.push(el("span", { class: "pin-mark" }, "pinned "));
    const fromMap = hover?.from === "map";
    if (row !== null && key !== null && fromMap && level > 0) {
      const cellsAcross = 2 ** level;
      const span = (at, length, first2) => {
        const from = at - at % cellsAcross;
        return `${count(from + first2)}–${count(Math.min(from + cellsAcross, length) - 1 + first2)}`;
      };
      parts2.push(`queries ${span(row, app.tape.n_queries, app.tape.offset)}, keys ${span(key, app.tape.n_keys, 0)}: `);
      const found = valueAt(scene, row, key);
      if (!found) parts2.push("on its way …");
      else if (Number.isNaN(found.value)) parts2.push("never computed");
      else {
        const words2 = pixelWords(state, 2 ** found.z).replace(/^a pixel is the | of \d+ × \d+ cells$/g, "");
        parts2.push(`${words2} `, el("b", {}, number(found.value)), ` in ${count(2 ** found.z)} × ${count(2 ** found.z)} cells${found.sampled ? " (sampled)" : ""}`);
      }
    } else {
      if (row !== null) parts2.push("query ", ...named(app, app.position(row)));
      if (row !== null && key !== null) {
        const cell = cells.get(state.layer, state.head, row, key);
        if (cell && Number.isNaN(cell.weight)) parts2.push(" does not read key ");
        else parts2.push(" reads key ");
        parts2.push(...named(app, key));
        if (!cell) parts2.push((app.source.finest?.(state.layer, state.head) ?? null) === null ? ": …" : ": this product is not in this page");
        else if (Number.isNaN(cell.weight)) parts2.push(": never computed");
        else {
          parts2.push(": weight ", el("b", {}, number(cell.weight, 4)), `, score ${number(cell.score, 4)}, q·k ${number(cell.dot, 4)}`);
          if (state.of === "enrichment" || state.of === "relative" || state.skip) {
            const found = level === 0 ? valueAt(scene, row, key) : null;
            const name = state.of === "enrichment" ? "log2 enrichment" : state.of === "relative" ? "of its row's largest" : state.skip ? "as shown" : "";
            if (found && name && !Number.isNaN(found.value)) parts2.push(`, ${name} ${number(found.value)}`);
          }
        }
      } else if (key !== null) parts2.push("key ", ...named(app, key));
    }
    const beside2 = series2.map((track) => {
      const at = track.axis === "query" ? row : key;
      const value = at === null || fromMap && level > 0 ? void 0 : track.values[at];
      return value === void 0 || Number.isNaN(value) ? "" : `${track.title} ${number(value)} ${track.unit}`.trim();
    }).filter(Boolean);
    if (beside2.length) parts2.push(el("span", { class: "hint" }, `  ·  ${beside2.join(", ")}`));
    fill(line, ...parts2);
  }

  // svg.js
  var escaped = (text) => (
    // Characters that XML cannot hold at all are shown as what they are: unknown.
    text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "�").replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)
  );
  var short2 = (value) => String(Math.round(value * 100) / 100);
  var ANCHOR = (
    /** @type {const} */
    { left: "start", right: "end", center: "middle", start: "start", end: "end" }
  );
  var SvgPen = class {
    /** @param {number} width @param {number} height @param {CanvasRenderingContext2D} ruler measures text */
    constructor(width, height, ruler2) {
      this.width = width;
      this.height = height;
      this.ruler = ruler2;
      this.out = [];
      this.groups = [];
      this.path = "";
      this.clips = 0;
      this.font = "11px sans-serif";
      this.fillStyle = /** @type {string | CanvasGradient | CanvasPattern} */
      "#000";
      this.strokeStyle = /** @type {string | CanvasGradient | CanvasPattern} */
      "#000";
      this.lineWidth = 1;
      this.globalAlpha = 1;
      this.textAlign = /** @type {CanvasTextAlign} */
      "left";
      this.textBaseline = /** @type {CanvasTextBaseline} */
      "alphabetic";
    }
    save() {
      this.groups.push("");
    }
    restore() {
      this.out.push(this.groups.pop() ?? "");
    }
    /** @param {string} attributes */
    #open(attributes) {
      this.out.push(`<g ${attributes}>`);
      if (this.groups.length) this.groups[this.groups.length - 1] += "</g>";
    }
    /** @param {number} x @param {number} y */
    translate(x, y) {
      this.#open(`transform="translate(${short2(x)} ${short2(y)})"`);
    }
    /** @param {number} angle */
    rotate(angle) {
      this.#open(`transform="rotate(${short2(angle * 180 / Math.PI)})"`);
    }
    clip() {
      const id = `c${this.clips++}`;
      this.out.push(`<clipPath id="${id}"><path d="${this.path}"/></clipPath>`);
      this.#open(`clip-path="url(#${id})"`);
    }
    /** @param {string} text */
    measureText(text) {
      this.ruler.font = this.font;
      return this.ruler.measureText(text);
    }
    /** @param {string} text @param {number} x @param {number} y */
    fillText(text, x, y) {
      const [, size, family] = (
        /** @type {RegExpMatchArray} */
        this.font.match(/^([\d.]+)px (.*)$/)
      );
      const shift = this.textBaseline === "middle" ? Number(size) * 0.35 : 0;
      this.out.push(
        `<text x="${short2(x)}" y="${short2(y + shift)}" font-family="${escaped(family)}" font-size="${size}" text-anchor="${ANCHOR[this.textAlign]}" fill="${escaped(String(this.fillStyle))}" xml:space="preserve">${escaped(text)}</text>`
      );
    }
    /** @param {number} x @param {number} y @param {number} w @param {number} h */
    fillRect(x, y, w, h) {
      this.out.push(`<rect x="${short2(x)}" y="${short2(y)}" width="${short2(Math.max(0, w))}" height="${short2(Math.max(0, h))}" fill="${this.fillStyle}"/>`);
    }
    /** @param {number} x @param {number} y @param {number} w @param {number} h */
    strokeRect(x, y, w, h) {
      this.out.push(`<rect x="${short2(x)}" y="${short2(y)}" width="${short2(w)}" height="${short2(h)}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"/>`);
    }
    beginPath() {
      this.path = "";
    }
    /** @param {number} x @param {number} y */
    moveTo(x, y) {
      this.path += `M${short2(x)} ${short2(y)}`;
    }
    /** @param {number} x @param {number} y */
    lineTo(x, y) {
      this.path += `L${short2(x)} ${short2(y)}`;
    }
    /** @param {number} x @param {number} y @param {number} w @param {number} h */
    rect(x, y, w, h) {
      this.path += `M${short2(x)} ${short2(y)}h${short2(w)}v${short2(h)}h${short2(-w)}z`;
    }
    closePath() {
      this.path += "z";
    }
    fill() {
      this.out.push(`<path d="${this.path}" fill="${this.fillStyle}"/>`);
    }
    stroke() {
      this.out.push(`<path d="${this.path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}"/>`);
    }
    /** @param {string} address of a picture, as data @param {import("./view.js").Rect} box */
    picture(address, box) {
      this.out.push(`<image href="${address}" x="${short2(box.x)}" y="${short2(box.y)}" width="${short2(box.width)}" height="${short2(box.height)}" style="image-rendering: pixelated"/>`);
    }
    /** @param {string} title */
    text(title2) {
      return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}" role="img">
<title>${escaped(title2)}</title>
${this.out.filter(Boolean).join("\n")}
</svg>
`;
    }
  };

  // picture.js
  var SHARP = 2;
  var MARGIN = 24;
  var HEAD = 44;
  var LINE = 17;
  var NARROWEST = 560;
  var groundOf = (scene) => (row, key) => {
    const found = valueAt(scene, row, key);
    return found && !Number.isNaN(found.value) ? luminance(scene.rgba, Math.round(place(scene.ruler, found.value) * (STEPS - 1))) : null;
  };
  function savePicture(scene, parent) {
    if (parent.querySelector("dialog[open]")) return;
    const close = () => {
      dialog.close();
      dialog.remove();
    };
    const save = (kind) => async () => {
      close();
      const blob2 = kind === "png" ? await png(scene) : new Blob([svg(scene)], { type: "image/svg+xml" });
      download(blob2, `${fileName(scene)}.${kind}`);
      scene.app.say(`saved ${fileName(scene)}.${kind}`);
    };
    const dialog = el(
      "dialog",
      { class: "save", "aria-label": "Save this view", cancel: close },
      el("p", {}, "Save this view, with its axes, tracks, legend and words, as"),
      el("p", { class: "buttons" }, el("button", { autofocus: true, click: save("png") }, "PNG"), el("button", { click: save("svg") }, "SVG"), el("button", { class: "quiet", click: close }, "Cancel"))
    );
    parent.append(dialog);
    dialog.showModal();
  }
  function fileName({ app, state }) {
    const name = app.tape.title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 40) || "map";
    return `${name}-layer${state.layer}-head${state.head}`;
  }
  function download(blob2, name) {
    const address = URL.createObjectURL(blob2);
    const link = el("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1e4);
  }
  function lines(scene, ruler2, room) {
    ruler2.font = `12px ${scene.font}`;
    const { missing, sampled } = scene.tiles.standing();
    const clauses2 = [where(scene, sight(scene.view)), ...caption(scene)];
    const pin = pinWords(scene);
    if (pin) clauses2.push(pin);
    if (sampled) clauses2.push("sampled: a preview, not exact");
    if (missing) clauses2.push("some tiles had not arrived: coarser ones stand in for them");
    const wrapped = [""];
    for (const clause of clauses2) {
      const last = wrapped[wrapped.length - 1];
      const joined2 = last ? `${last}  ·  ${clause}` : clause;
      if (last && ruler2.measureText(joined2).width > room) wrapped.push(clause);
      else wrapped[wrapped.length - 1] = joined2;
    }
    wrapped.push(`lookbehind · ${[scene.app.tape.title, scene.app.tape.model].filter((part, index, all) => part && all.indexOf(part) === index).join(" · ")}`);
    return wrapped;
  }
  function around(pen, scene, words2) {
    const { theme: theme2, font, layout } = scene;
    pen.fillStyle = theme2.ink;
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
    words2.forEach((line, index) => {
      pen.fillStyle = theme2.soft;
      pen.fillText(line, 14, layout.height + 18 + index * LINE);
    });
  }
  function paintPins(pen, { view, state, theme: theme2 }) {
    const box = extent(view);
    pen.strokeStyle = theme2.pin;
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
  function sharper(scene, ratio) {
    return { ...scene, view: { ...scene.view, ratio } };
  }
  function sheet(width, height) {
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width);
    canvas.height = Math.round(height);
    return { canvas, context: (
      /** @type {CanvasRenderingContext2D} */
      canvas.getContext("2d")
    ) };
  }
  function mapAlone(scene) {
    const { layout } = scene;
    const sharp = sharper(scene, SHARP);
    const { canvas, context } = sheet(layout.width * SHARP, layout.height * SHARP);
    context.setTransform(SHARP, 0, 0, SHARP, 0, 0);
    paintMap(context, sharp, wishes(scene).own);
    return { canvas, sharp };
  }
  async function png(scene) {
    const { layout, theme: theme2 } = scene;
    const { canvas: map, sharp } = mapAlone(scene);
    const width = Math.max(layout.width, NARROWEST);
    const words2 = lines(scene, sheet(1, 1).context, width - 28);
    const { canvas, context } = sheet((width + 2 * MARGIN) * SHARP, (layout.height + HEAD + words2.length * LINE + MARGIN + 12) * SHARP);
    context.setTransform(SHARP, 0, 0, SHARP, 0, 0);
    context.fillStyle = theme2.paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.translate(MARGIN, HEAD);
    context.drawImage(map, 0, 0, layout.width, layout.height);
    paintCells(context, sharp, groundOf(sharp));
    around(context, sharp, words2);
    return new Promise((resolve, reject) => canvas.toBlob((blob2) => blob2 ? resolve(blob2) : reject(new Error("the browser made no picture")), "image/png"));
  }
  function svg(scene) {
    const { layout, theme: theme2 } = scene;
    const { canvas: map, sharp } = mapAlone(scene);
    const ruler2 = sheet(1, 1).context;
    const width = Math.max(layout.width, NARROWEST);
    const words2 = lines(scene, ruler2, width - 28);
    const box = extent(sharp.view);
    const part = sheet(box.width * SHARP, box.height * SHARP);
    part.context.drawImage(map, -box.x * SHARP, -box.y * SHARP);
    const pen = new SvgPen(width + 2 * MARGIN, layout.height + HEAD + words2.length * LINE + MARGIN + 12, ruler2);
    pen.fillStyle = theme2.paper;
    pen.fillRect(0, 0, pen.width, pen.height);
    pen.save();
    pen.translate(MARGIN, HEAD);
    pen.picture(part.canvas.toDataURL("image/png"), box);
    pen.strokeStyle = theme2.rule;
    pen.strokeRect(box.x - 0.5, box.y - 0.5, box.width + 1, box.height + 1);
    paintCells(pen, sharp, groundOf(sharp));
    around(pen, sharp, words2);
    pen.restore();
    return pen.text(title(scene));
  }

  // map.js
  var REFIT_AFTER = 160;
  var TRACKS_AGAIN = 1500;
  var PATIENCE = 500;
  var REFRESH_EVERY = 3500;
  var SAY_AFTER = 450;
  function mount3(parent, app) {
    const heading = el("h1", { class: "unseen" });
    const sentence2 = el("div", { class: "sentence" });
    const words2 = el("p", {});
    const under = el("div", { class: "caption" }, words2);
    const line = el("p", { class: "readout" });
    const standing = el("p", { class: "standing", role: "status" });
    const canvas = el("canvas", { class: "chart", tabindex: 0, role: "application", "aria-roledescription": "map" });
    const figure = el("div", { class: "figure" }, canvas);
    const lines2 = crosshair(figure);
    parent.append(heading, sentence2, under, figure, el("div", { class: "foot" }, line, standing));
    const context = (
      /** @type {CanvasRenderingContext2D} */
      canvas.getContext("2d", { alpha: false })
    );
    let scene;
    let width = 0;
    let height = 0;
    let frame = 0;
    let refit = 0;
    let tracksTimer = 0;
    let captionText = "";
    let sampledPolled = false;
    let waitingSince = 0;
    let sayTimer = 0;
    let pointer = null;
    const fits = /* @__PURE__ */ new Map();
    let tracks2 = [];
    let tracksOf = "";
    let dark = isDark();
    let font = "sans-serif";
    const tiles = new Tiles(app.source, { changed: draw, missed: () => app.missed() });
    const cells = new CellStore(app.source, draw);
    const bar = controls(sentence2, under, app, {
      range: () => [scene.ruler.low, scene.ruler.high],
      whole: () => app.set({ x: null, y: null, z: null }, { push: true }),
      picture: () => savePicture(scene, parent)
    });
    function roomFor(scale) {
      const { tape, tokens } = app;
      const beside2 = tracks2.filter((track) => track.axis === "query").length || (tape.has.next ? 3 : 2);
      const tall = layoutOf(width, height, beside2, true);
      const whole2 = wholeScale(tall.plot, tape.n_queries, tape.n_keys);
      return tokens && Math.max(scale ?? 0, whole2) >= TOKEN_ROOM ? tall : layoutOf(width, height, beside2, false);
    }
    function compose(ratio) {
      const { state, tape } = app;
      const room = roomFor(state.z === null ? null : 2 ** -state.z);
      const view = viewOf(state, room.plot, ratio, tape.n_queries, tape.n_keys);
      const layout = attached(room, extent(view));
      const fitted3 = fits.get(fitName(state)) ?? usual(state);
      const scale = ruler(state, fitted3);
      const colours = `${dark} ${scale.of} ${scale.log} ${scale.low} ${scale.high}`;
      const rgba = scene && scene.colours === colours ? scene.rgba : ramp(dark, scale.diverging);
      const level = Math.max(levelOf(view, tape.top), app.source.finest?.(state.layer, state.head) ?? 0);
      scene = { view, level, tiles, ruler: scale, rgba, colours, theme: theme(dark), font, state, app, cells, series: tracks2, layout };
    }
    function draw() {
      if (!frame) frame = requestAnimationFrame(paint2);
    }
    function paint2() {
      frame = 0;
      if (!width || !height) return;
      const ratio = devicePixelRatio || 1;
      if (!app.state.range && !fits.has(fitName(app.state))) measure();
      compose(ratio);
      const { view, state } = scene;
      const wish = wishes(scene);
      tiles.want({ layer: state.layer, head: state.head, of: state.of, pool: state.pool, skip: state.skip, renorm: state.renorm }, wish.places);
      if (view.scale >= ROOM.weight && scene.level === 0) cells.want("sight", state.layer, state.head, sight(view), view.rows, view.columns);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.fillStyle = scene.theme.paper;
      context.fillRect(0, 0, width, height);
      paintMap(context, scene, wish.own);
      paintCells(context, scene, groundOf(scene));
      paintAxes(context, scene);
      paintTracks(context, scene);
      paintLegend(context, scene, scene.layout.legend);
      if (pointer && app.hover?.from === "map") point(pointer.x, pointer.y);
      lines2.put(scene);
      tell();
      clearTimeout(refit);
      refit = setTimeout(fitAgain, REFIT_AFTER);
    }
    function fitName(state) {
      return `${subjectName(state)} ${state.scale}`;
    }
    function measure() {
      const { state } = app;
      if (tiles.prefix !== `${subjectName(state)} `) return false;
      const { values, greatest } = tiles.samples();
      const found = fit(state, values, greatest);
      const before = fits.get(fitName(state));
      if (!found || before && before[0] === found[0] && before[1] === found[1]) return false;
      fits.set(fitName(state), found);
      return true;
    }
    function fitAgain() {
      refit = 0;
      if (!app.state.range && measure()) draw();
    }
    function tell() {
      const { missing, sampled, words: failure2 } = tiles.standing();
      const clauses2 = caption(scene);
      const text = clauses2.join("  ·  ");
      if (text !== captionText) {
        captionText = text;
        words2.textContent = text;
        heading.textContent = title(scene);
        canvas.setAttribute("aria-label", `${title(scene)}. ${where(scene, sight(scene.view))}. ${clauses2.join("; ")}.`);
      }
      const job = app.status?.jobs.find((one) => one.layer === app.state.layer && one.head === app.state.head);
      const progress = job && job.total ? `, ${Math.floor(100 * job.done / job.total)}%` : "";
      if (!missing) waitingSince = 0;
      else if (!waitingSince) {
        waitingSince = performance.now();
        setTimeout(draw, PATIENCE + 20);
      }
      const late = missing > 0 && performance.now() - waitingSince > PATIENCE;
      const now = failure2 ? `${app.source.live ? "a part of the map could not be made: " : ""}${failure2}` : sampled ? `sampled: a preview; the exact map is being made${progress}` : late ? `${missing} of the map’s tiles on their way${progress}` : scene.level > levelOf(scene.view, app.tape.top) ? `of layer ${app.state.layer}, head ${app.state.head} this page holds ${2 ** scene.level} × ${2 ** scene.level} cells a pixel and coarser` : "";
      if (standing.textContent !== now) standing.textContent = now;
      standing.classList.toggle("sampled", sampled > 0);
      figure.dataset.state = missing ? "loading" : sampled ? "sampled" : "exact";
      if (sampled && !sampledPolled) {
        sampledPolled = true;
        void app.poll();
      }
      readout(line, scene);
    }
    function cellAt(x, y) {
      const { view } = scene;
      const { plot } = view;
      const key = Math.floor(keyAt(view, x));
      const row = Math.floor(rowAt(view, y));
      const down = x >= plot.x && x <= plot.x + plot.width && key >= 0 && key < view.columns;
      const across = y >= plot.y && y <= plot.y + plot.height && row >= 0 && row < view.rows;
      return down || across ? { query: across ? row : null, key: down ? key : null } : null;
    }
    function go(x, y, scale, how) {
      const { plot } = roomFor(scale);
      const whole2 = wholeScale(plot, app.tape.n_queries, app.tape.n_keys);
      if (scale <= whole2 * 1.0001) {
        app.set({ x: null, y: null, z: null }, how);
        return;
      }
      const kept = viewOf({ x, y, z: -Math.log2(scale) }, plot, scene.view.ratio, app.tape.n_queries, app.tape.n_keys);
      app.set({ x: kept.x, y: kept.y, z: -Math.log2(kept.scale) }, how);
    }
    function pan(dx, dy) {
      compose(scene.view.ratio);
      const { view } = scene;
      go(view.x - dx / view.scale, view.y - dy / view.scale, view.scale);
    }
    function zoom(factor, x, y) {
      compose(scene.view.ratio);
      const { view } = scene;
      const whole2 = wholeScale(view.plot, view.rows, view.columns);
      const scale = Math.min(LARGEST_CELL, Math.max(whole2, view.scale * factor));
      const { plot } = roomFor(scale);
      const key = keyAt(view, x);
      const row = rowAt(view, y);
      go(key - (x - plot.x - plot.width / 2) / scale, row - (y - plot.y - plot.height / 2) / scale, scale);
    }
    function point(x, y) {
      pointer = { x, y };
      const at = cellAt(x, y);
      app.point(at ? { ...at, from: "map" } : null);
      if (at && at.query !== null && at.key !== null && scene.level === 0) {
        cells.want("point", app.state.layer, app.state.head, { q0: at.query, q1: at.query + 1, k0: at.key, k1: at.key + 1 }, scene.view.rows, scene.view.columns);
      }
    }
    gestures(canvas, {
      pan,
      zoom,
      point,
      leave() {
        pointer = null;
        app.point(null);
      },
      click(x, y) {
        const at = cellAt(x, y);
        if (!at) return;
        const { query, key } = app.state;
        const same2 = (at.query === null || at.query === query) && (at.key === null || at.key === key);
        app.pin(at.query === null ? void 0 : same2 ? null : at.query, at.key === null ? void 0 : same2 ? null : at.key);
      }
    });
    async function fetchTracks() {
      const { layer, head } = app.state;
      const name = `${layer}.${head}`;
      clearTimeout(tracksTimer);
      if (tracksOf !== name) {
        tracksOf = name;
        tracks2 = [];
      }
      try {
        const found = await app.source.tracks(layer, head);
        if (tracksOf !== name) return;
        tracks2 = found.tracks.map(series);
        if (found.state !== "ready") tracksTimer = setTimeout(() => void fetchTracks(), TRACKS_AGAIN);
        draw();
      } catch {
        tracksTimer = setTimeout(() => void fetchTracks(), 4 * TRACKS_AGAIN);
        app.missed();
      }
    }
    function dress() {
      dark = isDark();
      font = getComputedStyle(document.body).fontFamily;
      draw();
    }
    function printed() {
      cancelAnimationFrame(frame);
      paint2();
      if (scene) paintPins(context, scene);
    }
    addEventListener("beforeprint", printed);
    const watch = new ResizeObserver(() => {
      const box = figure.getBoundingClientRect();
      const ratio = devicePixelRatio || 1;
      width = Math.floor(box.width);
      height = Math.floor(box.height);
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      cancelAnimationFrame(frame);
      paint2();
    });
    let jobsBefore = "";
    let refreshed = 0;
    let aliveBefore = app.alive;
    const off = [
      app.on("hover", () => {
        if (!scene) return;
        scene.state = app.state;
        lines2.put(scene);
        readout(line, scene);
      }),
      app.on("theme", dress),
      app.on("status", () => {
        const { layer, head, of, skip } = app.state;
        const mine = app.status?.jobs.find((job) => job.layer === layer && job.head === head && job.of === of && job.skip === skip);
        const now = mine ? `${mine.done}` : "";
        const due = !mine || performance.now() - refreshed > REFRESH_EVERY;
        if (app.alive && (now !== jobsBefore && due && tiles.standing().sampled || !aliveBefore)) {
          refreshed = performance.now();
          tiles.refresh();
        }
        if (app.alive && !aliveBefore) void fetchTracks();
        sampledPolled = sampledPolled && Boolean(mine);
        aliveBefore = app.alive;
        if (now !== jobsBefore) draw();
        jobsBefore = now;
      })
    ];
    const silence = keys(canvas, app, {
      pan,
      zoom,
      scene: () => scene,
      picture: () => savePicture(scene, parent)
    });
    dress();
    watch.observe(figure);
    bar.update(app.state);
    pinned(app.state);
    void fetchTracks();
    function pinned(state) {
      const { query, key, layer, head } = state;
      if (query !== null && key !== null) cells.want("pin", layer, head, { q0: query, q1: query + 1, k0: key, k1: key + 1 }, app.tape.n_queries, app.tape.n_keys);
      clearTimeout(sayTimer);
      if (query !== null || key !== null) sayTimer = setTimeout(() => app.say(line.textContent ?? ""), SAY_AFTER);
    }
    return {
      update(state, before) {
        if (state.layer !== before.layer || state.head !== before.head) void fetchTracks();
        if (state.query !== before.query || state.key !== before.key || state.layer !== before.layer || state.head !== before.head) pinned(state);
        bar.update(state);
        draw();
      },
      destroy() {
        silence();
        removeEventListener("beforeprint", printed);
        for (const stop of off) stop();
        watch.disconnect();
        cancelAnimationFrame(frame);
        clearTimeout(refit);
        clearTimeout(tracksTimer);
        clearTimeout(sayTimer);
        tiles.stop();
        cells.stop();
        fill(parent);
      }
    };
  }

  // steps.js
  function stepOf(steps, row) {
    let first2 = 0;
    let decoded = 0;
    for (let call = 0; call < steps.length; call++) {
      const rows2 = steps[call];
      const decode = call > 0 && rows2 === 1;
      if (decode) decoded += 1;
      if (row < first2 + rows2) {
        return { kind: call === 0 ? "prefill" : decode ? "decode" : "block", call, row: row - first2, rows: rows2, decoded };
      }
      first2 += rows2;
    }
    return null;
  }
  function firstDecoded(steps) {
    const call = steps.findIndex((rows2, at) => at > 0 && rows2 === 1);
    return call < 0 ? null : steps.slice(0, call).reduce((a, b) => a + b, 0);
  }
  function stepWords(step) {
    if (step.kind === "decode") return `decode step ${count(step.decoded)}, a row of its own`;
    const place3 = `row ${count(step.row + 1)} of ${count(step.rows)}`;
    return step.kind === "prefill" ? `prefill, ${place3}` : `call ${count(step.call + 1)}, ${place3}`;
  }

  // next.js
  var SVG = "http://www.w3.org/2000/svg";
  var WIDE = 1e3;
  var TOKEN2 = 22;
  var PAGE = 10;
  function mount4(parent, app) {
    const { n_queries, steps } = app.tape;
    const decoded = firstDecoded(steps);
    let known = null;
    let wrong = "";
    let asking = false;
    let wanted = null;
    const body = el("div", { class: "next-body", "aria-live": "polite" });
    const earlier = el("button", { type: "button", "aria-label": "Earlier query", title: "Earlier query (← here, comma anywhere)", click: () => step(-1) }, "←");
    const later = el("button", { type: "button", "aria-label": "Later query", title: "Later query (→ here, full stop anywhere)", click: () => step(1) }, "→");
    const grow = el("input", { type: "checkbox", change: () => app.set({ grow: grow.checked }, { push: true }) });
    const strip = document.createElementNS(SVG, "svg");
    strip.setAttribute("viewBox", `0 0 ${WIDE} 10`);
    strip.setAttribute("preserveAspectRatio", "none");
    strip.setAttribute("class", "next-strip");
    strip.setAttribute("aria-hidden", "true");
    const rect = (name, from, to) => {
      const made = document.createElementNS(SVG, "rect");
      const x = WIDE * from / Math.max(1, n_queries);
      made.setAttribute("class", name);
      made.setAttribute("x", String(x));
      made.setAttribute("width", String(WIDE * to / Math.max(1, n_queries) - x));
      made.setAttribute("height", "10");
      return made;
    };
    strip.append(rect("prefill", 0, decoded ?? n_queries));
    if (decoded !== null) strip.append(rect("decode", decoded, n_queries));
    const done = rect("done", 0, 0);
    const marker = document.createElementNS(SVG, "line");
    marker.setAttribute("y1", "0");
    marker.setAttribute("y2", "10");
    strip.append(done, marker);
    strip.addEventListener("click", (event) => {
      const { left, width } = strip.getBoundingClientRect();
      app.pin(Math.min(n_queries - 1, Math.max(0, Math.floor((event.clientX - left) / width * n_queries))), void 0);
    });
    const panel = el(
      "div",
      { class: "next", role: "group", "aria-label": "Next token", tabindex: 0, "data-testid": "next", keydown: keys2 },
      el(
        "header",
        { class: "next-head" },
        el("h2", {}, "Next token"),
        el("div", { class: "next-steps" }, earlier, later),
        el("label", { class: "next-grow", title: "Hide the rows that were not there yet" }, grow, " veil later rows")
      ),
      strip,
      body
    );
    parent.append(panel);
    function step(by) {
      const { query } = app.state;
      const to = query === null ? 0 : Math.min(Math.max(0, query + by), n_queries - 1);
      if (to !== query) app.set({ query: to });
    }
    function keys2(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target === grow) return;
      const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, PageUp: -PAGE, PageDown: PAGE, Home: -Infinity, End: Infinity }[event.key];
      if (by === void 0) return;
      event.preventDefault();
      event.stopPropagation();
      step(by);
    }
    function want() {
      wanted = app.state.query;
      draw();
      if (wanted !== null && known?.query !== wanted) void ask();
    }
    async function ask() {
      if (asking) return;
      asking = true;
      try {
        while (wanted !== null && known?.query !== wanted) {
          const query = wanted;
          known = { query, next: await app.source.next(query) };
          wrong = "";
        }
      } catch (error) {
        if (!aborted(error)) {
          app.missed();
          wrong = error instanceof Error ? error.message : String(error);
        }
      } finally {
        asking = false;
        draw();
      }
    }
    function draw() {
      const { query } = app.state;
      grow.checked = app.state.grow;
      earlier.disabled = query === 0;
      later.disabled = query !== null && query >= n_queries - 1;
      const at = query === null ? 0 : WIDE * (query + 0.5) / Math.max(1, n_queries);
      done.setAttribute("width", String(at));
      marker.setAttribute("x1", String(at));
      marker.setAttribute("x2", String(at));
      marker.toggleAttribute("hidden", query === null);
      panel.dataset.query = query === null ? "" : String(query);
      if (query === null) {
        fill(
          body,
          el(
            "p",
            { class: "next-none" },
            "Pin a query, in the map or the text, to see what the model expected after it."
          ),
          el(
            "p",
            { class: "next-begin" },
            el("button", { type: "button", click: () => app.pin(0, void 0) }, "First query"),
            decoded === null ? "" : el("button", { type: "button", click: () => app.pin(decoded, void 0) }, "First decoded query")
          )
        );
        return;
      }
      const position = app.position(query);
      const token = app.token(position);
      const told = stepOf(steps, query);
      const line = el(
        "p",
        { class: "next-after" },
        `after query ${count(position)} `,
        token === null ? "" : el("span", { class: "token" }, visible(token, TOKEN2)),
        told ? el("span", { class: `step ${told.kind}`, "data-testid": "next-step" }, stepWords(told)) : ""
      );
      if (wrong) fill(body, line, el("p", { class: "next-none", role: "alert" }, wrong));
      else if (known?.query !== query) body.classList.add("waiting");
      else fill(body, line, ...known.next?.top.length ? said(known.next) : [unknown2()]);
      if (known?.query === query || wrong) body.classList.remove("waiting");
    }
    function unknown2() {
      return el(
        "p",
        { class: "next-none", "data-testid": "next-none" },
        "What the model said after this query was not recorded: a prompt's rows are kept only where the model returned their logits."
      );
    }
    function said({ top, came }) {
      const most = Math.max(...top.map(({ p }) => p), 1e-9);
      const rank = came ? top.findIndex(({ id }) => id === came.id) : -1;
      const rows2 = top.map(({ token, id, p }, at) => entry(at + 1, token, id, p, most, at === rank));
      if (came && rank < 0) rows2.push(entry(null, came.token, came.id, came.p, most, true));
      return [
        el(
          "table",
          { class: "next-top", "data-testid": "next-top" },
          el("caption", { class: "unseen" }, "The ten likeliest next tokens and their probabilities"),
          el("tbody", {}, ...rows2)
        ),
        came ? el(
          "p",
          { class: "next-came", "data-testid": "next-came" },
          "came next: ",
          el("span", { class: "token" }, named2(came.token, came.id)),
          ` ${rank < 0 ? `beyond the first ${top.length}` : `rank ${rank + 1}`}, probability ${probability(came.p)}, loss ${number(came.p > 0 ? -Math.log(came.p) : Infinity)} nats`
        ) : el("p", { class: "next-came" }, "The text ends here: no token came.")
      ];
    }
    function anywhere(event) {
      const at = (
        /** @type {HTMLElement} */
        event.target
      );
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) return;
      if (event.key === "," || event.key === ".") {
        event.preventDefault();
        step(event.key === "." ? 1 : -1);
      }
    }
    document.addEventListener("keydown", anywhere);
    const offStatus = app.on("status", () => {
      if (wrong && app.alive) want();
    });
    want();
    return {
      update(state, before) {
        if (state.query !== before.query) want();
        else if (state.grow !== before.grow) draw();
      },
      destroy() {
        wanted = null;
        offStatus();
        document.removeEventListener("keydown", anywhere);
      }
    };
  }
  function entry(rank, token, id, p, most, came) {
    const bar = el("span", { class: "bar" });
    bar.style.width = `${100 * p / most}%`;
    return el(
      "tr",
      { class: came ? "came" : null, "data-id": id },
      el("td", { class: "rank" }, rank === null ? "…" : String(rank)),
      el("th", { scope: "row", title: `token ${id}` }, named2(token, id)),
      el("td", { class: "graph", "aria-hidden": "true" }, bar),
      el("td", { class: "p" }, probability(p)),
      el("td", { class: "mark" }, came ? "came" : "")
    );
  }
  function named2(token, id) {
    return token === null ? `#${id}` : visible(token, TOKEN2);
  }
  function probability(p) {
    return p >= 1e-3 ? p.toFixed(3) : number(p, 2);
  }

  // looks.js
  var KEPT = 24;
  var SHADES = 48;
  var DECADES2 = 4;
  var SAMPLE2 = 4096;
  var NAMED = 3;
  var nameOf2 = ({ layer, head, kind, at }) => `${layer}/${head}/${kind}/${at}`;
  var Looks = class {
    /**
     * @param {import("./source.js").Source} source
     * @param {number} length positions of the text
     * @param {number} offset position of query row 0
     */
    constructor(source, length, offset) {
      this.source = source;
      this.length = length;
      this.offset = offset;
      this.kept = /* @__PURE__ */ new Map();
    }
    /** @param {Choice} choice @returns {Promise<Look>} */
    get(choice2) {
      const name = nameOf2(choice2);
      const known = this.kept.get(name);
      if (known) return known;
      const made = this.#ask(choice2);
      this.kept.set(name, made);
      made.catch(() => this.kept.delete(name));
      for (const old of this.kept.keys()) {
        if (this.kept.size <= KEPT) break;
        this.kept.delete(old);
      }
      return made;
    }
    /** @param {Choice} choice @returns {Promise<Look>} */
    async #ask({ layer, head, kind, at }) {
      const values = await this.source[kind](layer, head, at);
      const first2 = kind === "row" ? 0 : this.offset;
      const placed = new Float32Array(this.length).fill(NaN);
      placed.set(values.subarray(0, this.length - first2), first2);
      return { values: placed, ...fitted2(placed), largest: largest(placed) };
    }
  };
  function fitted2(values) {
    let most = 0;
    for (const value of values) if (value > most) most = value;
    const high = nice(most || 1);
    const every = Math.max(1, Math.floor(values.length / SAMPLE2));
    const some = values.filter((value, at) => at % every === 0 && value > 0).sort();
    const small = some.length ? some[Math.floor(some.length / 20)] : 0;
    const low = small > 0 ? 10 ** Math.floor(Math.log10(small) + 1e-6) : 0;
    return { low: Math.min(Math.max(low, high / 10 ** DECADES2), high / 10), high };
  }
  function largest(values) {
    const found = [];
    values.forEach((value, at) => {
      if (!(value > (found.length < NAMED ? 0 : values[found[NAMED - 1]]))) return;
      found.splice(NAMED - 1, 1);
      found.splice(found.filter((one) => values[one] >= value).length, 0, at);
    });
    return found;
  }
  function shadeOf({ low, high }, value) {
    if (value <= low) return 0;
    return Math.round(Math.min(1, Math.log(value / low) / Math.log(high / low)) * (SHADES - 1));
  }
  function inks(dark) {
    const rgba = ramp(dark);
    const paper = [];
    const ink = [];
    for (let shade = 0; shade < SHADES; shade++) {
      const at = Math.round(shade / (SHADES - 1) * (STEPS - 1));
      paper.push(`rgb(${rgba[4 * at]}, ${rgba[4 * at + 1]}, ${rgba[4 * at + 2]})`);
      ink.push(inkOn(luminance(rgba, at)));
    }
    return { paper, ink };
  }

  // neighbours.js
  var AROUND = 48;
  var LONGEST = 24;
  function neighbours(tokens, name, verb, at, pinned) {
    const title2 = el("dt", {}, name, " ", el("small", {}, verb));
    if (at === null) return [title2, el("dd", { class: "empty" }, "–")];
    let before = "";
    for (let t = at - 1; t >= 0 && before.length < AROUND; t--) before = plain2(tokens[t]) + before;
    let after = "";
    for (let t = at + 1; t < tokens.length && after.length < AROUND; t++) after += plain2(tokens[t]);
    return [
      title2,
      el(
        "dd",
        { "data-testid": `text-${name}`, class: pinned ? "pinned" : null },
        el("b", {}, count(at)),
        el("span", { class: "context" }, el("span", { class: "before" }, el("bdi", {}, before.slice(-AROUND)))),
        el("mark", { class: name }, visible(tokens[at], LONGEST)),
        el("span", { class: "context after" }, el("bdi", {}, after.slice(0, AROUND)))
      )
    ];
  }
  function plain2(token) {
    return token.replace(/\r\n|\n|\r/g, "↵ ").replace(/[^\S ]|\p{C}/gu, "·");
  }

  // lines.js
  var AFTER = /[\s\-‐–—/…]/u;
  var IDEOGRAPHIC = 11904;
  function parts(token) {
    const found = [];
    let text = "";
    const pieces = token.split(/(\r\n|\n|\r)/);
    pieces.forEach((piece, at) => {
      if (at % 2) {
        found.push({ text: `${text}↵`, ends: true });
        text = "";
      } else if (piece) {
        text = piece.split(" ").map((part) => part ? visible(part) : "").join(" ");
      }
    });
    if (text || !found.length) found.push({ text: text || "∅", ends: false });
    return found;
  }
  function broken(tokens, width, measure) {
    const known = /* @__PURE__ */ new Map();
    const token = [];
    const text = [];
    const starts = [0];
    let x = 0;
    let word = 0;
    let wordX = 0;
    let last = "";
    const lay = (of, piece) => {
      let wide = measure(piece);
      const joined2 = last !== "" && !AFTER.test(last) && !/\s/.test(piece[0]) && Math.max(piece.charCodeAt(0), last.charCodeAt(0)) < IDEOGRAPHIC;
      if (!joined2) {
        word = text.length;
        wordX = x;
      }
      if (x > 0 && x + wide > width && piece.trim()) {
        const moved = x - wordX + wide - (word < text.length && spaced(text[word]) ? measure(" ") : 0);
        const whole2 = word > starts[starts.length - 1] && moved <= width;
        starts.push(whole2 ? word : text.length);
        x = whole2 ? x - wordX : 0;
        if (whole2 && word < text.length && spaced(text[word])) {
          text[word] = text[word].slice(1);
          x -= measure(" ");
        } else if (!x && spaced(piece)) {
          piece = piece.slice(1);
          wide = measure(piece);
        }
        wordX = 0;
        if (!whole2) word = text.length;
      }
      token.push(of);
      text.push(piece);
      x += wide;
      last = piece[piece.length - 1];
    };
    for (let at = 0; at < tokens.length; at++) {
      let list = known.get(tokens[at]);
      if (!list) known.set(tokens[at], list = parts(tokens[at]));
      for (const { text: whole2, ends } of list) {
        if (measure(whole2) <= width) {
          lay(at, whole2);
        } else {
          for (const piece of cut3(whole2, width, measure)) lay(at, piece);
        }
        if (ends) {
          starts.push(text.length);
          x = 0;
          word = text.length;
          wordX = 0;
          last = "";
        }
      }
    }
    if (starts[starts.length - 1] === text.length && starts.length > 1) starts.pop();
    const length = starts.length;
    return { token: Int32Array.from(token), text, starts: Int32Array.from([...starts, text.length]), length };
  }
  var spaced = (piece) => piece.length > 1 && piece[0] === " " && piece[1] !== " ";
  function cut3(whole2, width, measure) {
    const characters = [...whole2];
    const widest = Math.max(1, ...[...new Set(characters)].slice(0, 1e3).map(measure));
    const most = Math.max(1, Math.floor(width / widest));
    const pieces = [];
    for (let at = 0; at < characters.length; at += most) pieces.push(characters.slice(at, at + most).join(""));
    return pieces;
  }
  function lineOf(lines2, token) {
    const piece = least(lines2.token, token);
    let low = 0;
    let high = lines2.length - 1;
    while (low < high) {
      const middle = low + high + 1 >> 1;
      if (lines2.starts[middle] <= piece) low = middle;
      else high = middle - 1;
    }
    return low;
  }
  function least(sorted, value) {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = low + high >> 1;
      if (sorted[middle] < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // roll.js
  var LINE2 = 24;
  var SPARE = 6;
  var Roll = class {
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
          "data-testid": "text"
        },
        this.room
      );
      this.lines = broken([], 1, () => 0);
      this.drawn = /* @__PURE__ */ new Map();
      this.kept = null;
      this.scrolled = -Infinity;
      this.width = 0;
      this.frame = 0;
      this.pen = /** @type {CanvasRenderingContext2D} */
      document.createElement("canvas").getContext("2d");
      this.widths = /* @__PURE__ */ new Map();
      this.element.addEventListener(
        "scroll",
        () => {
          this.scrolled = performance.now();
          this.frame ||= requestAnimationFrame(() => this.render());
        },
        { passive: true }
      );
      for (const moved of ["wheel", "pointerdown", "touchstart"]) {
        this.element.addEventListener(moved, () => this.kept = null, { passive: true });
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
      for (const line of this.drawn.values()) yield* (
        /** @type {Iterable<Piece>} */
        /** @type {unknown} */
        line.children
      );
    }
    /** The token that an event is about. @param {EventTarget | null} target */
    tokenOf(target) {
      return target instanceof HTMLElement && "token" in target ? Number(target.token) : null;
    }
    /** The first token of the first line that is wholly in sight. */
    get first() {
      return this.#firstOf(Math.min(this.lines.length - 1, Math.ceil(this.element.scrollTop / LINE2)));
    }
    /** Scrolls so that a token is in sight, and in the middle if it was not. @param {number} token */
    reveal(token) {
      this.kept = token;
      const top = lineOf(this.lines, token) * LINE2;
      const { scrollTop, clientHeight } = this.element;
      if (top < scrollTop + LINE2 || top > scrollTop + clientHeight - 2 * LINE2) this.element.scrollTop = top - clientHeight / 2;
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
      const within2 = (token) => Math.min(Math.max(0, token), last);
      if (key === "ArrowRight") return within2(from + 1);
      if (key === "ArrowLeft") return within2(from - 1);
      if (key === "Home") return 0;
      if (key === "End") return last;
      const page = Math.max(1, Math.floor(this.element.clientHeight / LINE2) - 2);
      const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page }[key];
      if (by === void 0) return null;
      const line = lineOf(this.lines, from);
      const next = Math.min(Math.max(0, line + by), this.lines.length - 1);
      const ends = Math.max(this.lines.starts[next], this.lines.starts[next + 1] - 1);
      return within2(Math.min(this.#firstOf(next) + from - this.#firstOf(line), this.lines.token[ends]));
    }
    /** Makes the lines in sight, and forgets the others. */
    render() {
      cancelAnimationFrame(this.frame);
      this.frame = 0;
      const { scrollTop, clientHeight } = this.element;
      const from = Math.max(0, Math.floor(scrollTop / LINE2) - SPARE);
      const to = Math.min(this.lines.length, Math.ceil((scrollTop + clientHeight) / LINE2) + SPARE);
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
      line.style.top = `${at * LINE2}px`;
      for (let piece = starts[at]; piece < starts[at + 1]; piece++) {
        const span = (
          /** @type {Piece} */
          document.createElement("span")
        );
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
      const top = this.#firstOf(Math.min(this.lines.length - 1, Math.floor(this.element.scrollTop / LINE2)));
      this.width = width;
      this.pen.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
      this.lines = broken(this.tokens, width, (text) => {
        let wide = this.widths.get(text);
        if (wide === void 0) this.widths.set(text, wide = this.pen.measureText(text).width);
        return wide;
      });
      this.room.style.height = `${this.lines.length * LINE2}px`;
      this.drawn.clear();
      this.room.replaceChildren();
      this.element.scrollTop = lineOf(this.lines, top) * LINE2;
    }
  };

  // search.js
  var Search = class {
    /** @param {readonly string[]} tokens */
    constructor(tokens) {
      this.tokens = tokens;
      this.whole = null;
      this.sought = "";
      this.first = new Int32Array(0);
      this.last = new Int32Array(0);
      this.at = -1;
      this.reached = false;
    }
    get length() {
      return this.first.length;
    }
    /** The first token of the match one is at. */
    get token() {
      return this.first[this.at];
    }
    /**
     * Looks for words, or for the token of a number; the match one is then at is the first from a token on, or the first of all.
     *
     * @param {string} words
     * @param {number} from
     */
    find(words2, from) {
      this.sought = words2.toLowerCase();
      this.reached = false;
      const first2 = [];
      const last = [];
      const token = Number(/^:(\d+)$/.exec(words2)?.[1] ?? NaN);
      if (token < this.tokens.length) {
        first2.push(token);
        last.push(token);
      } else if (this.sought) {
        this.whole ??= joined(this.tokens);
        const { text, starts } = this.whole;
        const size = this.sought.length;
        for (let at = text.indexOf(this.sought); at >= 0; at = text.indexOf(this.sought, at + size)) {
          first2.push(least(starts, at + 1) - 1);
          last.push(least(starts, at + size) - 1);
        }
      }
      this.first = Int32Array.from(first2);
      this.last = Int32Array.from(last);
      const next = least(this.first, from);
      this.at = !first2.length ? -1 : next < first2.length ? next : 0;
    }
    /** Goes on to the next match, or back; the first time, to the one that was found. @param {number} by */
    go(by) {
      if (this.reached || by < 0) this.at = (this.at + by + this.length) % this.length;
      this.reached = true;
    }
    /** The match that a token is part of, or -1. @param {number} token */
    of(token) {
      const at = least(this.first, token + 1) - 1;
      return at >= 0 && this.last[at] >= token ? at : -1;
    }
  };
  function joined(tokens) {
    const starts = new Int32Array(tokens.length);
    const parts2 = new Array(tokens.length);
    let at = 0;
    for (let t = 0; t < tokens.length; t++) {
      parts2[t] = tokens[t].toLowerCase();
      starts[t] = at;
      at += parts2[t].length;
    }
    return { text: parts2.join(""), starts };
  }

  // text.js
  var REST2 = 80;
  var SETTLE = 140;
  function mount5(parent, app) {
    const { offset, n_queries, n_keys } = app.tape;
    const length = Math.max(n_keys, offset + n_queries);
    const tokens = labels(app, length);
    const decoded = firstDecoded(app.tape.steps);
    const decodedAt = decoded === null ? Infinity : offset + decoded;
    const looks = new Looks(app.source, length, offset);
    let colours = null;
    let wanted = null;
    let asking = false;
    let failed = false;
    let here = null;
    let settling = 0;
    let resting = 0;
    const search = new Search(tokens);
    let shades = inks(isDark());
    const roll = new Roll(tokens, dress);
    const radio = (value, words2, title2) => el(
      "label",
      { title: title2 },
      el("input", {
        type: "radio",
        name: "text-by",
        value,
        checked: (app.state.more.by ?? "") === value,
        change: () => {
          const { query, key, more: kept } = app.state;
          const more = { ...kept, by: value };
          if (!value) delete /** @type {Record<string, string>} */
          more.by;
          const token = query === null ? key : query + offset;
          app.set({ more, query: query ?? (token === null ? null : app.row(token)), key: key ?? (token === null || token >= n_keys ? null : token) }, { push: true });
        }
      }),
      el("span", {}, words2)
    );
    const by = el(
      "div",
      { class: "text-by", role: "radiogroup", "aria-label": "Colour each token by" },
      radio("", "what it reads", "Colour each token by how much the chosen token reads it: a row of the map"),
      radio("1", "what reads it", "Colour each token by how much it reads the chosen token: a column of the map")
    );
    const field = el("input", {
      type: "search",
      placeholder: "Search, or :250 for token 250",
      "aria-label": "Search the text",
      maxlength: 200,
      spellcheck: false,
      autocomplete: "off",
      input: () => find(field.value),
      keydown: (event) => {
        if (event.key === "Enter") {
          event.preventDefault();
          seek(event.shiftKey ? -1 : 1);
        }
        event.stopPropagation();
      }
    });
    const found = el("output", { class: "text-found", "data-testid": "text-found" });
    const back = el("button", { type: "button", "aria-label": "Previous match", disabled: true, click: () => seek(-1) }, "↑");
    const on = el("button", { type: "button", "aria-label": "Next match", disabled: true, click: () => seek(1) }, "↓");
    const where2 = el("dl", { class: "text-where" });
    const bar = el("canvas", { width: shades.paper.length, height: 1, "aria-hidden": "true" });
    const low = el("span");
    const high = el("span");
    const scale = el("span", { class: "text-scale" }, low, bar, high);
    const legend = el("p", { class: "text-legend" });
    parent.append(
      el(
        "header",
        { class: "text-head" },
        el("h2", {}, "Text ", el("small", {}, `${count(length)} ${length === 1 ? "token" : "tokens"}`)),
        by,
        el("div", { class: "text-search", role: "search" }, field, found, back, on)
      ),
      where2,
      roll.element,
      el("footer", { class: "text-foot" }, scale, legend)
    );
    const reading = () => app.state.more.by !== "1";
    function chosen2() {
      const { layer, head, query, key } = app.state;
      const at = reading() ? query ?? app.hover?.query ?? null : key ?? app.hover?.key ?? null;
      return at === null ? null : { layer, head, kind: reading() ? "row" : "column", at };
    }
    function pair2() {
      const { query, key } = app.state;
      const hover = app.hover;
      return { query: hover?.query ?? query, key: hover?.key ?? key };
    }
    function want() {
      wanted = chosen2();
      if (!wanted) {
        colours = null;
        paint2();
      } else if (colours?.name !== nameOf2(wanted)) {
        void ask();
      }
    }
    async function ask() {
      if (asking) return;
      asking = true;
      try {
        while (wanted && colours?.name !== nameOf2(wanted)) {
          const choice2 = wanted;
          const look = await looks.get(choice2);
          failed = false;
          if (!wanted || nameOf2(choice2) !== nameOf2(wanted)) continue;
          colours = { choice: choice2, name: nameOf2(choice2), look };
          paint2();
        }
      } catch (error) {
        if (!aborted(error)) {
          app.missed();
          failed = true;
          colours = null;
          paint2();
          legend.textContent = error instanceof Error ? error.message : String(error);
        }
      } finally {
        asking = false;
      }
    }
    function paint2() {
      for (const piece of roll.pieces()) dress(piece);
      tell();
    }
    function dress(span) {
      const token = span.token;
      const look = colours?.look;
      let shade = -1;
      let name = "t";
      if (look) {
        const value = look.values[token];
        if (Number.isNaN(value)) name += " never";
        else shade = shadeOf(look, value);
      }
      const { query, key } = app.state;
      const hover = app.hover;
      if (query !== null && token === query + offset) name += " pinned-query";
      if (key !== null && token === key) name += " pinned-key";
      if (hover && hover.query !== null && token === hover.query + offset) name += " over-query";
      if (hover && hover.key === token) name += " over-key";
      if (token === here) name += " here";
      if (token === decodedAt) name += " decoded";
      if (search.length) {
        const at = search.of(token);
        if (at >= 0) name += at === search.at ? " match now" : " match";
      }
      if (span.className !== name) span.className = name;
      if (span.shade !== shade) {
        span.shade = shade;
        span.style.backgroundColor = shade < 0 ? "" : shades.paper[shade];
        span.style.color = shade < 0 ? "" : shades.ink[shade];
      }
    }
    function tell() {
      const { query, key } = pair2();
      const choice2 = chosen2();
      const weight = weightOf(query, key);
      fill(
        where2,
        ...neighbours(tokens, "query", "reads", query === null ? null : query + offset, query === app.state.query),
        ...neighbours(tokens, "key", "is read", key, key === app.state.key),
        ...weight === null && choice2 && colours?.name === nameOf2(choice2) ? most(colours.look) : [
          el("dt", {}, "weight"),
          el("dd", { "data-testid": "text-weight" }, weight === null ? "–" : Number.isNaN(weight) ? "never computed" : number(weight, 4))
        ]
      );
      low.textContent = colours ? tickText(colours.look.low) : "";
      high.textContent = colours ? tickText(colours.look.high) : "";
      scale.hidden = !colours;
      if (!choice2) {
        legend.textContent = "Point at a token; click pins it.";
      } else {
        const at = choice2.kind === "row" ? choice2.at + offset : choice2.at;
        legend.textContent = `${choice2.kind === "row" ? "read by query" : "reads key"} ${count(at)}; log scale`;
        if (colours?.name !== nameOf2(choice2)) legend.textContent += " …";
      }
    }
    function most({ values, largest: largest2 }) {
      return [
        el("dt", {}, "weight ", el("small", {}, "most")),
        el("dd", { "data-testid": "text-most", class: "most" }, ...largest2.map((at) => el("span", {}, el("b", {}, count(at)), ` ${visible(tokens[at], 8)} ${number(values[at], 2)}`)))
      ];
    }
    function weightOf(query, key) {
      if (query === null || key === null || !colours) return null;
      const { choice: choice2, look } = colours;
      if (choice2.kind === "row") return choice2.at === query ? look.values[key] : null;
      return choice2.at === key ? look.values[query + offset] : null;
    }
    function point(token) {
      if (token === here) return;
      here = token;
      if (token === null) {
        app.point(null);
        return;
      }
      const { query, key } = app.state;
      const row = app.row(token);
      const mine = token < n_keys ? token : null;
      if (reading()) {
        app.point(query === null ? { query: row, key: null, from: "text" } : { query, key: mine, from: "text" });
      } else {
        app.point(key === null ? { query: null, key: mine, from: "text" } : { query: row, key, from: "text" });
      }
    }
    function over(target) {
      const token = roll.tokenOf(target);
      if (token !== null) point(token);
    }
    function pin(token) {
      const { query, key } = app.state;
      const row = app.row(token);
      if (reading()) {
        if (row === null) app.say(`token ${token} was no query of this tape`);
        else app.pin(row === query ? null : row, void 0);
      } else if (token < n_keys) {
        app.pin(void 0, token === key ? null : token);
      }
      const at = here;
      here = null;
      point(at);
      want();
      paint2();
    }
    roll.room.addEventListener("pointermove", ({ target, clientX, clientY }) => {
      clearTimeout(resting);
      const wait = roll.scrolled + REST2 - performance.now();
      if (wait > 0) resting = setTimeout(() => over(document.elementFromPoint(clientX, clientY)), wait);
      else over(target);
    });
    roll.element.addEventListener("pointerleave", () => {
      clearTimeout(resting);
      point(null);
    });
    roll.element.addEventListener("blur", () => point(null));
    roll.room.addEventListener("click", (event) => {
      const token = roll.tokenOf(event.target);
      if (token !== null && !getSelection()?.toString()) pin(token);
    });
    roll.element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { query, key } = app.state;
      const pinned = reading() ? query === null ? null : query + offset : key;
      const to = roll.step(event.key, pinned ?? here ?? roll.first);
      if (to !== null) {
        if (pinned === null) point(to);
        else if (reading()) app.set({ query: Math.min(Math.max(0, to - offset), n_queries - 1) });
        else app.set({ key: Math.min(to, n_keys - 1) });
        roll.reveal(to);
        app.say(`token ${to}, ${visible(tokens[to], 40)}`);
      } else if ((event.key === "Enter" || event.key === " ") && here !== null) {
        pin(here);
      } else if (event.key === "Escape" && (query !== null || key !== null)) {
        app.pin(null, null);
      } else {
        return;
      }
      event.preventDefault();
      event.stopPropagation();
    });
    function find(text) {
      search.find(text, roll.first);
      back.disabled = on.disabled = !search.length;
      arrive();
    }
    function seek(by2) {
      if (!search.length) return;
      search.go(by2);
      const { token } = search;
      const row = app.row(token);
      const key = token < n_keys ? token : null;
      app.set(reading() ? { query: row, key: null } : { query: null, key });
      app.look({ query: row, key });
      app.say(`match ${search.at + 1} of ${search.length}, token ${token}`);
      arrive();
    }
    function arrive() {
      const n = search.length;
      found.textContent = !search.sought ? "" : n ? `${count(search.at + 1)} of ${count(n)}` : "no match";
      if (n) roll.reveal(search.token);
      roll.render();
      paint2();
    }
    const offHover = app.on("hover", () => {
      clearTimeout(settling);
      const hover = app.hover;
      paint2();
      if (!hover || hover.from === "text") {
        want();
        return;
      }
      settling = setTimeout(() => {
        want();
        const token = reading() ? hover.key ?? (hover.query === null ? null : hover.query + offset) : hover.query === null ? hover.key : hover.query + offset;
        if (token !== null) roll.reveal(token);
      }, SETTLE);
    });
    const offStatus = app.on("status", () => {
      if (failed && app.alive) want();
    });
    const offTheme = app.on("theme", recolour);
    function recolour() {
      shades = inks(isDark());
      for (const piece of roll.pieces()) piece.shade = -2;
      swatch();
      paint2();
    }
    function swatch() {
      const colour = (
        /** @type {CanvasRenderingContext2D} */
        bar.getContext("2d")
      );
      shades.paper.forEach((paper, at) => {
        colour.fillStyle = paper;
        colour.fillRect(at, 0, 1, 1);
      });
    }
    swatch();
    tell();
    const start = reading() ? app.state.query : app.state.key;
    if (start !== null) roll.kept = reading() ? start + offset : start;
    want();
    return {
      update(state, before) {
        const head = state.layer !== before.layer || state.head !== before.head;
        const pins = state.query !== before.query || state.key !== before.key;
        const turned = state.more.by !== before.more.by;
        if (head) colours = null;
        if (turned) {
          const value = reading() ? "" : "1";
          for (const input of by.querySelectorAll("input")) input.checked = input.value === value;
        }
        if (!head && !pins && !turned) return;
        want();
        if (pins) {
          const query = state.query !== before.query && state.query !== null ? state.query + offset : null;
          const key = state.key !== before.key ? state.key : null;
          const token = reading() ? query ?? key : key ?? query;
          if (token !== null && token !== here) roll.reveal(token);
        }
        paint2();
      },
      destroy() {
        offHover();
        offStatus();
        offTheme();
        roll.destroy();
        clearTimeout(settling);
        clearTimeout(resting);
        wanted = null;
      }
    };
  }
  function labels(app, length) {
    const { tokens, ids } = app;
    if (tokens && tokens.length >= length) return tokens;
    return Array.from({ length }, (_, at) => tokens?.[at] ?? (ids?.[at] === void 0 ? ` ${at}` : ` #${ids[at]}`));
  }

  // mappage.js
  function mount6(parent, app) {
    const stage = el("section", { class: "stage", "aria-label": "Map" });
    const aside = el("aside", { class: "panes", "aria-label": "Text and next token" });
    const page = el("div", { class: "map-page" }, stage, aside);
    parent.append(page);
    let beside2 = [];
    const open = () => {
      const slots = [{ name: "text", mount: mount5 }];
      if (app.tape.has.next) slots.push({ name: "next", mount: mount4 });
      if (app.tape.has.influence) slots.push({ name: "influence", mount: mount2 });
      beside2 = slots.map((slot) => {
        const section = el("section", { class: `pane pane-${slot.name}` });
        aside.append(section);
        return slot.mount(section, app);
      });
    };
    const close = () => {
      for (const part of beside2) part.destroy();
      beside2 = [];
      aside.replaceChildren();
    };
    page.classList.toggle("wide", !app.state.panes);
    const chart = mount3(stage, app);
    if (app.state.panes) open();
    return {
      update(state, before) {
        if (state.panes !== before.panes) {
          page.classList.toggle("wide", !state.panes);
          if (state.panes) open();
          else close();
        }
        chart.update(state, before);
        for (const part of beside2) part.update(state, before);
      },
      destroy() {
        close();
        chart.destroy();
      }
    };
  }

  // quiz.js
  var quiz_exports = {};
  __export(quiz_exports, {
    mount: () => mount7
  });

  // random.js
  var N = 624;
  var M = 397;
  var WORD = (1n << 64n) - 1n;
  var Random = class {
    /** @param {string} text the seed */
    constructor(text) {
      this.state = new Uint32Array(N);
      this.at = N;
      const bytes = new TextEncoder().encode(text);
      this.#seed(words(new Uint8Array([...bytes, ...sha512(bytes)])));
    }
    /** @param {Uint32Array} key least significant word first */
    #seed(key) {
      const state = this.state;
      state[0] = 19650218;
      for (let i2 = 1; i2 < N; i2++) state[i2] = Math.imul(1812433253, state[i2 - 1] ^ state[i2 - 1] >>> 30) + i2;
      let i = 1;
      const step = () => {
        i += 1;
        if (i === N) {
          state[0] = state[N - 1];
          i = 1;
        }
      };
      for (let k = 0; k < Math.max(N, key.length); k++) {
        const j = k % key.length;
        state[i] = (state[i] ^ Math.imul(state[i - 1] ^ state[i - 1] >>> 30, 1664525)) + key[j] + j;
        step();
      }
      for (let k = 0; k < N - 1; k++) {
        state[i] = (state[i] ^ Math.imul(state[i - 1] ^ state[i - 1] >>> 30, 1566083941)) - i;
        step();
      }
      state[0] = 2147483648;
    }
    /** 32 random bits. */
    #word() {
      const state = this.state;
      if (this.at === N) {
        for (let k = 0; k < N; k++) {
          const y2 = state[k] & 2147483648 | state[(k + 1) % N] & 2147483647;
          state[k] = state[(k + M) % N] ^ y2 >>> 1 ^ (y2 & 1 ? 2567483615 : 0);
        }
        this.at = 0;
      }
      let y = state[this.at++];
      y ^= y >>> 11;
      y ^= y << 7 & 2636928640;
      y ^= y << 15 & 4022730752;
      return (y ^ y >>> 18) >>> 0;
    }
    /** A number of [0, 1). */
    random() {
      const high = this.#word() >>> 5;
      return (high * 67108864 + (this.#word() >>> 6)) / 9007199254740992;
    }
    /** A whole number of [0, n), n below 2^31. @param {number} n */
    below(n) {
      const bits = 32 - Math.clz32(n);
      let drawn = n;
      while (drawn >= n) drawn = this.#word() >>> 32 - bits;
      return drawn;
    }
    /** A whole number from `low` to `high`, both included. @param {number} low @param {number} high */
    whole(low, high) {
      return low + this.below(high - low + 1);
    }
    /** @template T @param {readonly T[]} items @returns {T} */
    choice(items) {
      return items[this.below(items.length)];
    }
    /**
     * `k` of a few items, in random order. (Python draws otherwise where k is small beside a long list.)
     * @template T
     * @param {readonly T[]} items
     * @param {number} k
     * @returns {T[]}
     */
    sample(items, k) {
      const pool = [...items];
      return Array.from({ length: k }, (_, i) => {
        const j = this.below(pool.length - i);
        const found = pool[j];
        pool[j] = pool[pool.length - i - 1];
        return found;
      });
    }
    /** @template T @param {T[]} items shuffled in place */
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = this.below(i + 1);
        [items[i], items[j]] = [items[j], items[i]];
      }
    }
  };
  function words(bytes) {
    const found = new Uint32Array(Math.ceil(bytes.length / 4));
    for (let at = 0; at < bytes.length; at++) found[at >> 2] |= bytes[bytes.length - 1 - at] << 8 * (at & 3);
    let length = found.length;
    while (length > 1 && !found[length - 1]) length -= 1;
    return found.subarray(0, length);
  }
  function fractions(count3, root) {
    const primes = [];
    for (let n = 2n; primes.length < count3; n++) if (primes.every((p) => n % p)) primes.push(n);
    return primes.map((p) => {
      let low = 0n;
      let high = 1n << 72n;
      const target = p << 64n * root;
      while (high - low > 1n) {
        const middle = low + high >> 1n;
        if (middle ** root <= target) low = middle;
        else high = middle;
      }
      return low & WORD;
    });
  }
  function sha512(bytes) {
    const rounds = fractions(80, 3n);
    const hash = fractions(8, 2n);
    const padded = new Uint8Array(Math.ceil((bytes.length + 17) / 128) * 128);
    padded.set(bytes);
    padded[bytes.length] = 128;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 4, bytes.length * 8);
    const turn = (x, n) => (x >> n | x << 64n - n) & WORD;
    for (let block = 0; block < padded.length; block += 128) {
      const w = Array.from({ length: 16 }, (_, at) => view.getBigUint64(block + 8 * at));
      for (let t = 16; t < 80; t++) {
        const [x, y] = [w[t - 15], w[t - 2]];
        const s0 = turn(x, 1n) ^ turn(x, 8n) ^ x >> 7n;
        const s1 = turn(y, 19n) ^ turn(y, 61n) ^ y >> 6n;
        w.push(w[t - 16] + s0 + w[t - 7] + s1 & WORD);
      }
      let [a, b, c, d, e, f, g, h] = hash;
      for (let t = 0; t < 80; t++) {
        const s1 = turn(e, 14n) ^ turn(e, 18n) ^ turn(e, 41n);
        const t1 = h + s1 + (e & f ^ ~e & WORD & g) + rounds[t] + w[t];
        const s0 = turn(a, 28n) ^ turn(a, 34n) ^ turn(a, 39n);
        const t2 = s0 + (a & b ^ a & c ^ b & c);
        [h, g, f, e, d, c, b, a] = [g, f, e, d + t1 & WORD, c, b, a, t1 + t2 & WORD];
      }
      [a, b, c, d, e, f, g, h].forEach((value, at) => hash[at] = hash[at] + value & WORD);
    }
    const out = new DataView(new ArrayBuffer(64));
    hash.forEach((value, at) => out.setBigUint64(8 * at, value));
    return new Uint8Array(out.buffer);
  }

  // questions.js
  var LETTERS = "abcde";
  var KINDS = ["disallowed", "count", "complete", "heatmap", "mechanism", "debug"];
  var Setting = class _Setting {
    /** @param {Pattern} pattern @param {number} nQueries @param {number} nKeys */
    constructor(pattern, nQueries, nKeys = nQueries) {
      this.pattern = pattern;
      this.nQueries = nQueries;
      this.nKeys = nKeys;
      this.offset = nKeys - nQueries;
      this.rows = rows(pattern, nQueries, nKeys);
    }
    /** The keys of the query at a position. @param {number} query */
    keys(query) {
      return this.rows[query - this.offset];
    }
    /** @param {number} query @param {number} key */
    allows(query, key) {
      return this.keys(query).includes(key);
    }
    /** Every pair of positions that is computed, or that is not, row by row.
     * @param {boolean} computed @returns {[number, number][]} */
    pairs(computed) {
      return this.rows.flatMap(
        (keys2, row) => range2(0, this.nKeys).filter((key) => keys2.includes(key) === computed).map((key) => (
          /** @type {[number, number]} */
          [row + this.offset, key]
        ))
      );
    }
    /** @returns {Drawing} */
    drawing() {
      return this.rows.map((keys2) => range2(0, this.nKeys).map((key) => keys2.includes(key)));
    }
    /** `q3·k4 is not computed: k4 comes after q3` @param {number} query @param {number} key */
    because(query, key) {
      const said = this.allows(query, key) ? "computed" : "not computed";
      return `q${query}·k${key} is ${said}: ${why(this.pattern, query, key)}`;
    }
    /**
     * A product on which the chosen pattern and the right one disagree, and what the right one says of it.
     * @param {Pattern} chosen
     */
    against(chosen2) {
      const theirs = new _Setting(chosen2, this.nQueries, this.nKeys);
      const extra = theirs.pairs(true).find(([query2, key2]) => !this.allows(query2, key2));
      const pair2 = extra ?? this.pairs(true).find(([query2, key2]) => !theirs.allows(query2, key2));
      if (!pair2) throw new Error(`quiz: ${format(chosen2)} and ${format(this.pattern)} agree at these lengths`);
      const [query, key] = pair2;
      const said = extra ? "It computes" : "It never computes";
      return `${said} q${query}·k${key}, but ${why(this.pattern, query, key)}.`;
    }
  };
  function question(seed, index, kinds2 = KINDS) {
    const make = { disallowed, count: count2, complete, heatmap, mechanism, debug };
    return make[kinds2[index % kinds2.length]](new Random(`${seed}:${index}`));
  }
  function instance(rng, decode = true) {
    const n = rng.whole(4, 8);
    const cut4 = rng.whole(2, n - 2);
    const pattern = rng.choice([
      ...[CAUSAL, CAUSAL, CAUSAL, CAUSAL],
      and(CAUSAL, windowOf(rng.whole(2, 3))),
      or(CAUSAL, first(cut4)),
      and(CAUSAL, documents([cut4, n - cut4])),
      and(CAUSAL, or(windowOf(2), first(1)))
    ]);
    const named3 = `\`${format(pattern)}\``;
    const gloss = same(pattern, CAUSAL) ? "" : `: query i reads the keys ${meaning(pattern)}`;
    if (decode && !same(pattern, or(CAUSAL, first(cut4))) && rng.random() < 0.25) {
      const scene2 = `A decoder's cache holds the keys k0…k${n - 1}. It computes one step, q${n - 1}, with ${named3}${gloss}.`;
      return { setting: new Setting(pattern, 1, n), scene: scene2 };
    }
    const scene = same(pattern, CAUSAL) ? `A decoder-only model reads ${n} tokens (${named3}).` : `A model reads ${n} tokens with ${named3}${gloss}.`;
    return { setting: new Setting(pattern, n), scene };
  }
  function disallowed(rng) {
    let made, open, banned;
    do {
      made = instance(rng, false);
      open = made.setting.pairs(true);
      banned = made.setting.pairs(false);
    } while (open.length < 3 || !banned.length);
    const { setting, scene } = made;
    const wrong = rng.choice(banned);
    const tempting = open.filter(([i, j]) => i === wrong[1] && j === wrong[0] || i === wrong[0]).slice(0, 2);
    const rest = open.filter((pair2) => !tempting.includes(pair2));
    const others = rng.sample(rest, rest.length);
    const pairs = [wrong, ...[...tempting, ...others].slice(0, 3)];
    rng.shuffle(pairs);
    return chosen({
      kind: "disallowed",
      prompt: `${scene} Which of these products is disallowed?`,
      options: pairs.map(([i, j]) => `q${i}·k${j}`),
      drawings: [],
      right: pairs.indexOf(wrong),
      reason: (given2, right) => {
        const told = setting.because(...pairs[right]);
        return given2 === right ? `${told}.` : `${setting.because(...pairs[given2])}. But ${told}.`;
      }
    });
  }
  function count2(rng) {
    const { setting, scene } = instance(rng);
    const query = setting.offset + rng.below(setting.nQueries);
    const keys2 = setting.keys(query);
    const told = `q${query} reads ${spelled(runs(keys2)) || "no key"}: ${howMany(keys2.length)}`;
    return {
      kind: "count",
      prompt: `${scene} How many keys does q${query} read?`,
      options: [],
      drawings: [],
      answer: String(keys2.length),
      expects: "a number",
      grade(answer) {
        if (!/^-?[0-9]{1,9}$/.test(answer.trim())) throw new RangeError("a whole number is needed");
        const given2 = Number(answer);
        if (given2 === keys2.length) return { correct: true, reason: `${told}.` };
        const wrong = `${told}, not ${given2}.`;
        if (given2 < keys2.length) {
          return { correct: false, reason: `${wrong} ${setting.because(query, keys2[keys2.length - 1])}.` };
        }
        const spare = range2(0, setting.nKeys).filter((key) => !keys2.includes(key));
        const missing = spare.find((key) => key > query) ?? spare[0];
        const hint = missing === void 0 ? `There are only ${howMany(keys2.length)}.` : `${setting.because(query, missing)}.`;
        return { correct: false, reason: `${wrong} ${hint}` };
      }
    };
  }
  function complete(rng) {
    for (; ; ) {
      const { setting, scene } = instance(rng);
      const query = setting.offset + rng.below(setting.nQueries);
      const n = setting.nKeys;
      const keys2 = setting.keys(query);
      const tempting = [
        range2(0, n),
        range2(0, query + 1),
        range2(0, query),
        range2(query, n),
        range2(0, Math.min(query + 2, n)),
        keys2.slice(1),
        keys2.slice(0, -1),
        [query],
        [.../* @__PURE__ */ new Set([...keys2, ...rng.sample(range2(0, n), 1)])].sort((a, b) => a - b)
      ];
      const named3 = new Map(tempting.filter((one) => one.length).map((one) => [String(one), one]));
      named3.delete(String(keys2));
      const wrong = [...named3.values()].sort(lexical);
      if (wrong.length < 3) continue;
      const lists = [keys2, ...rng.sample(wrong, 3)];
      rng.shuffle(lists);
      return chosen({
        kind: "complete",
        prompt: `${scene} Which list holds every product of q${query} and no other?`,
        options: lists.map((one) => one.map((key) => `q${query}·k${key}`).join(" ")),
        drawings: [],
        right: lists.indexOf(keys2),
        reason: (given2, right) => {
          if (given2 === right) return `q${query} reads ${spelled(runs(keys2))} and no other key.`;
          const extra = lists[given2].find((key) => !keys2.includes(key));
          const missing = keys2.find((key) => !lists[given2].includes(key));
          const faults = [];
          if (extra !== void 0) {
            faults.push(`${setting.because(query, extra)}, so it does not belong in the list`);
          }
          if (missing !== void 0) faults.push(`${setting.because(query, missing)}, and the list lacks it`);
          return `${faults.join("; ")}.`;
        }
      });
    }
  }
  var HEATMAPS = [
    [CAUSAL, "the lower triangle"],
    [FULL, "the full square of an encoder"],
    [or(not(CAUSAL), diagonal(0)), "the upper triangle, the decoder's turned about"],
    [diagonal(0), "the diagonal, where a token reads only itself"]
  ];
  function heatmap(rng) {
    const n = rng.whole(4, 8);
    const shown2 = rng.sample(HEATMAPS, HEATMAPS.length);
    const setting = new Setting(CAUSAL, n);
    return chosen({
      kind: "heatmap",
      prompt: "Rows are queries, columns are keys, ■ is a weight above 0. Which heatmap is a decoder-only model's?",
      options: [],
      drawings: shown2.map(([pattern]) => new Setting(pattern, n).drawing()),
      right: shown2.findIndex(([pattern]) => same(pattern, CAUSAL)),
      reason: (given2, right) => given2 === right ? "The lower triangle: query i reads the keys at or before its own position, and no other." : `That is ${shown2[given2][1]}. ${setting.against(shown2[given2][0])}`
    });
  }
  function mechanism(rng) {
    const n = rng.whole(7, 10);
    const prefix = rng.whole(3, n - 3);
    const size = rng.whole(2, 4);
    const cut4 = rng.whole(3, n - 3);
    const mechanisms = [
      {
        pattern: CAUSAL,
        name: "causal",
        tasks: [
          "A model writes a story one token at a time; each token may depend on all that was written before it, however far back.",
          "A code model is trained to predict every next token of a file from everything before it in the file."
        ]
      },
      {
        pattern: FULL,
        name: "bidirectional",
        tasks: [
          "A model decides whether a finished review is friendly; every token may use the words on both sides of it.",
          "Some words of a finished sentence are blanked out; a model fills each blank from all that stands before and after it."
        ]
      },
      {
        pattern: or(CAUSAL, first(prefix)),
        name: "prefix",
        tasks: [
          `A model reads a prompt of ${prefix} tokens in both directions, then writes the answer one token at a time.`,
          `The ${prefix} patches of an image may all see one another; the caption after them is generated left to right.`
        ]
      },
      {
        pattern: and(CAUSAL, windowOf(size)),
        name: "sliding window",
        tasks: [
          `A model generates from an endless log; its cache holds ${size} keys, so that a token reads only the last ${size} positions, its own included.`,
          `A generating layer must cost the same at every step, however long the text: each token reads itself and at most ${size - 1} before it.`
        ]
      },
      {
        pattern: and(CAUSAL, documents([cut4, n - cut4])),
        name: "packed documents",
        tasks: [
          `Two texts of ${cut4} and ${n - cut4} tokens fill one training row; each is learnt token after token, as if it were alone.`,
          `Prompts of ${cut4} and ${n - cut4} tokens are laid end to end to avoid padding; each is continued left to right, and none may see the other.`
        ]
      }
    ];
    const shown2 = rng.sample(mechanisms, mechanisms.length);
    const right = rng.choice(shown2);
    const setting = new Setting(right.pattern, n);
    return chosen({
      kind: "mechanism",
      prompt: `${rng.choice(right.tasks)} Which mechanism fits?`,
      options: shown2.map(({ name, pattern }) => pattern === CAUSAL ? name : `${name}: ${format(pattern)}`),
      drawings: [],
      right: shown2.indexOf(right),
      reason: (given2) => {
        const pattern = shown2[given2].pattern;
        if (pattern === right.pattern) {
          return `\`${format(pattern)}\`: query i reads the keys ${meaning(pattern)}; the task asks for that.`;
        }
        return `\`${format(pattern)}\` does not fit. ${setting.against(pattern)}`;
      }
    });
  }
  function debug(rng) {
    const { setting, scene } = instance(rng, false);
    const opened = rng.random() < 0.5;
    const [query, key] = rng.choice(setting.pairs(!opened));
    const drawing = setting.drawing();
    drawing[query][key] = opened;
    const reason = why(setting.pattern, query, key);
    const told = opened ? `q${query}·k${key} is open, but ${reason}. A leak: the output at position ${query} would depend on token ${key}, which it must not see.` : `q${query}·k${key} is hidden, but ${reason}. A loss: position ${query} would not read token ${key}, which it may see.`;
    return {
      kind: "debug",
      prompt: `${scene} But one cell of its mask is wrong. Which one? Is it a leak (a forbidden product is computed) or a loss (an allowed one is hidden)?`,
      options: [],
      drawings: [drawing],
      answer: `${query} ${key} ${opened ? "leak" : "loss"}`,
      expects: "query, key, and leak or loss, as in '2 4 leak'",
      grade(answer) {
        const found = /^\D*(\d{1,9})\D+?(\d{1,9})[\s,;:]*(leak|loss|lost)\w*[.\s]*$/.exec(answer.toLowerCase());
        if (!found) throw new RangeError(`${this.expects}, is needed`);
        const [i, j] = [Number(found[1]), Number(found[2])];
        if (i >= setting.nQueries || j >= setting.nKeys) throw new RangeError(`q${i}·k${j} is not in the picture`);
        if (i !== query || j !== key) {
          return { correct: false, reason: `${setting.because(i, j)}, as it is drawn. ${told}` };
        }
        if (found[3] === "leak" !== opened) {
          return { correct: false, reason: `The cell is right, the effect is not. ${told}` };
        }
        return { correct: true, reason: told };
      }
    };
  }
  function chosen({ right, reason, ...made }) {
    const letters = LETTERS.slice(0, made.options.length || made.drawings.length);
    return {
      ...made,
      answer: letters[right],
      expects: "a letter",
      grade(answer) {
        const given2 = letters.indexOf(answer.trim().toLowerCase() || "?");
        if (given2 < 0) throw new RangeError(`one of the letters ${[...letters].join(", ")} is needed`);
        return { correct: given2 === right, reason: reason(given2, right) };
      }
    };
  }
  function range2(from, to) {
    return Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at);
  }
  function lexical(a, b) {
    const at = a.findIndex((value, index) => value !== b[index]);
    return at < 0 ? a.length - b.length : at >= b.length ? 1 : a[at] - b[at];
  }
  function howMany(count3) {
    return `${count3} key${count3 === 1 ? "" : "s"}`;
  }

  // quiz.js
  var SVG2 = "http://www.w3.org/2000/svg";
  var CELL = 18;
  var SEEDS = 1e4;
  var NAMES2 = {
    disallowed: "the disallowed product",
    count: "count the keys",
    complete: "the complete list",
    heatmap: "the decoder's map",
    mechanism: "which mechanism",
    debug: "find the wrong cell"
  };
  var chance = Math.floor(Math.random() * SEEDS);
  var given = /* @__PURE__ */ new Map();
  function mount7(parent, app) {
    let drawn = "";
    let asked;
    let cell = "";
    let effect = "";
    const score = el("p", { class: "quiz-score", "data-testid": "quiz-score", "aria-live": "polite" });
    const marks2 = el("ol", { class: "quiz-marks", "aria-label": "Answers so far" });
    const card = el("section", { class: "quiz-card", "aria-live": "polite", "data-testid": "quiz-question" });
    const kinds2 = el(
      "select",
      { "aria-label": "Kinds of question", change: () => go({ kind: kinds2.value, number: "" }) },
      el("option", { value: "" }, "all kinds in turn"),
      ...KINDS.map((kind) => el("option", { value: kind }, NAMES2[kind]))
    );
    const seedField = el("input", {
      type: "number",
      min: 0,
      max: 999999999,
      step: 1,
      "aria-label": "Seed",
      change: () => {
        if (/^\d{1,9}$/.test(seedField.value)) go({ seed: seedField.value, number: "" });
        else seedField.value = String(where2().seed);
      }
    });
    const fresh = () => go({ seed: String(Math.floor(Math.random() * SEEDS)), number: "" });
    const same2 = el("p", { class: "quiz-same" });
    parent.append(
      el(
        "article",
        { class: "quiz", "aria-labelledby": "quiz-title" },
        el(
          "header",
          { class: "page-head" },
          el("h1", { id: "quiz-title" }, "The quiz"),
          el("p", {}, "Which products does a pattern compute? Answer, and read the reason off the rule.")
        ),
        el(
          "div",
          { class: "quiz-set" },
          el("label", {}, "Questions ", kinds2),
          el("label", {}, "Seed ", seedField),
          el("button", { type: "button", click: fresh }, "New questions"),
          same2
        ),
        el("div", { class: "quiz-tally" }, score, marks2),
        card
      )
    );
    queueMicrotask(() => {
      const { page, more } = app.state;
      if (page === "quiz" && more.seed === void 0) app.set({ more: { ...more, seed: String(chance) } });
    });
    function go(patch) {
      const more = { ...app.state.more, ...patch };
      for (const name2 of Object.keys(patch)) if (patch[name2] === "") delete more[name2];
      app.set({ more }, { push: true });
    }
    function where2() {
      const { seed, number: number2, kind } = app.state.more;
      const whole2 = (text) => text !== void 0 && /^\d{1,9}$/.test(text) ? Number(text) : null;
      const chosen2 = KINDS.find((one) => one === kind);
      return { seed: whole2(seed) ?? chance, number: Math.max(1, whole2(number2) ?? 1), kind: chosen2 ?? null };
    }
    function name(number2) {
      const { seed, kind } = where2();
      return `${seed}/${kind ?? ""}/${number2}`;
    }
    function draw() {
      const { seed, number: number2, kind } = where2();
      const here = name(number2);
      tally();
      kinds2.value = kind ?? "";
      if (document.activeElement !== seedField) seedField.value = String(seed);
      fill(same2, "the same in the terminal: ", el("code", {}, `lookbehind quiz --seed ${seed}${kind ? ` --kind ${kind}` : ""}`));
      if (here === drawn) return;
      drawn = here;
      asked = question(seed, number2 - 1, kind ? [kind] : KINDS);
      cell = effect = "";
      ask(number2);
    }
    function tally() {
      const { number: number2, seed, kind } = where2();
      const prefix = `${seed}/${kind ?? ""}/`;
      const mine = [...given].filter(([at]) => at.startsWith(prefix));
      const right = mine.filter(([, one]) => one.grade.correct).length;
      score.textContent = mine.length ? `${right} of ${mine.length} right` : "No answer yet";
      score.dataset.right = String(right);
      score.dataset.asked = String(mine.length);
      const last = Math.max(number2, ...mine.map(([at]) => Number(at.slice(prefix.length))));
      const from = Math.max(1, last - 29);
      fill(
        marks2,
        ...Array.from({ length: last - from + 1 }, (_, at) => {
          const one = given.get(prefix + (from + at));
          const state = one ? one.grade.correct ? "right" : "wrong" : "open";
          return el(
            "li",
            {},
            el(
              "button",
              {
                type: "button",
                class: state,
                "aria-label": `question ${from + at}: ${state === "open" ? "not answered" : state}`,
                "aria-current": from + at === number2 ? "step" : null,
                click: () => go({ number: from + at === 1 ? "" : String(from + at) })
              },
              one ? one.grade.correct ? "✓" : "✗" : "·"
            )
          );
        })
      );
    }
    function ask(number2) {
      const told = el("div", { class: "quiz-told" });
      const before = given.get(drawn);
      fill(
        card,
        el("p", { class: "quiz-kind" }, `Question ${number2}`, el("span", {}, NAMES2[asked.kind])),
        el("h2", { class: "quiz-prompt", tabindex: -1 }, ...coded(asked.prompt)),
        ways(before),
        told
      );
      card.dataset.kind = asked.kind;
      if (before) tell(told, before);
    }
    function ways(before) {
      if (asked.kind === "count") return counting(before);
      if (asked.kind === "debug") return finding(before);
      const choices = asked.options.length ? asked.options : asked.drawings;
      const buttons = choices.map((one, at) => {
        const letter = LETTERS[at];
        const state = before ? letter === asked.answer ? "right" : letter === before.answer ? "wrong" : "other" : "";
        return el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              class: state,
              "data-letter": letter,
              disabled: Boolean(before),
              click: () => judge(letter)
            },
            el("b", { class: "letter" }, letter),
            typeof one === "string" ? el("span", { class: "option" }, ...coded(optional(one))) : picture(one)
          )
        );
      });
      return el("ol", { class: asked.options.length ? "quiz-options" : "quiz-drawings", "aria-label": "Options" }, ...buttons);
    }
    function counting(before) {
      const field = el("input", {
        type: "number",
        inputmode: "numeric",
        min: 0,
        "aria-label": "How many keys",
        disabled: Boolean(before),
        value: before?.answer ?? ""
      });
      return el(
        "form",
        {
          class: "quiz-form",
          submit: (event) => {
            event.preventDefault();
            judge(field.value);
          }
        },
        el("label", {}, "keys ", field),
        el("button", { type: "submit", class: "primary", disabled: Boolean(before) }, "Check")
      );
    }
    function finding(before) {
      const [rightQuery, rightKey] = asked.answer.split(" ");
      const [drawing] = asked.drawings;
      const cellClass = (query, key2) => {
        const here = `${query} ${key2}`;
        if (before && here === `${rightQuery} ${rightKey}`) return "found";
        return (before ? before.answer.startsWith(`${here} `) : cell === here) ? "chosen" : null;
      };
      const body = drawing.map(
        (row, query) => el(
          "tr",
          {},
          el("th", { scope: "row" }, `q${query}`),
          ...row.map(
            (on, key2) => el(
              "td",
              { class: on ? "on" : "off" },
              el("button", {
                type: "button",
                class: cellClass(query, key2),
                "data-cell": `${query} ${key2}`,
                "aria-label": `q${query}·k${key2}, ${on ? "computed" : "not computed"}`,
                "aria-pressed": String(cell === `${query} ${key2}`),
                disabled: Boolean(before),
                click: () => {
                  cell = `${query} ${key2}`;
                  for (const other of card.querySelectorAll("[data-cell]")) {
                    const chosen2 = (
                      /** @type {HTMLElement} */
                      other.dataset.cell === cell
                    );
                    other.classList.toggle("chosen", chosen2);
                    other.setAttribute("aria-pressed", String(chosen2));
                  }
                }
              })
            )
          )
        )
      );
      const radio = (name2, words2) => el(
        "label",
        {},
        el("input", {
          type: "radio",
          name: "effect",
          value: name2,
          disabled: Boolean(before),
          checked: before ? before.answer.endsWith(name2) : effect === name2,
          change: () => effect = name2
        }),
        ` ${words2}`
      );
      return el(
        "form",
        {
          class: "quiz-form quiz-debug",
          submit: (event) => {
            event.preventDefault();
            if (!cell || !effect) {
              refuse(cell ? "Is it a leak or a loss?" : "Click the wrong cell first.");
              return;
            }
            judge(`${cell} ${effect}`);
          }
        },
        el(
          "table",
          { class: "quiz-mask" },
          el("caption", { class: "unseen" }, "The mask: rows are queries, columns are keys"),
          el(
            "thead",
            {},
            el("tr", {}, el("td", {}), ...drawing[0].map((_, key2) => el("th", { scope: "col" }, `k${key2}`)))
          ),
          el("tbody", {}, ...body)
        ),
        el(
          "fieldset",
          {},
          el("legend", { class: "unseen" }, "What the wrong cell does"),
          radio("leak", "a leak: a forbidden product is computed"),
          radio("loss", "a loss: an allowed product is hidden"),
          el("button", { type: "submit", class: "primary", disabled: Boolean(before) }, "Check")
        )
      );
    }
    function judge(answer) {
      let grade;
      try {
        grade = asked.grade(answer);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        refuse(`Please: ${error.message}.`);
        return;
      }
      given.set(drawn, { answer, grade });
      tally();
      ask(where2().number);
      const next = card.querySelector("button.next");
      if (next instanceof HTMLElement) next.focus();
    }
    function refuse(words2) {
      const told = card.querySelector(".quiz-told");
      if (told) fill(told, el("p", { class: "quiz-refused", role: "alert" }, words2));
    }
    function tell(place3, { grade }) {
      const { number: number2 } = where2();
      const letter = asked.expects === "a letter" && !grade.correct ? ` The answer is ${asked.answer}.` : "";
      fill(
        place3,
        el(
          "p",
          { class: grade.correct ? "verdict right" : "verdict wrong", "data-testid": "quiz-verdict" },
          el("b", {}, grade.correct ? "Right." : `No.${letter}`),
          " ",
          el("span", { "data-testid": "quiz-reason" }, ...coded(grade.reason))
        ),
        el(
          "button",
          { type: "button", class: "next primary", click: () => go({ number: String(number2 + 1) }) },
          "Next question"
        )
      );
    }
    function key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
      if (event.target instanceof HTMLSelectElement) return;
      const button = card.querySelector(`[data-letter="${/^[a-e]$/.test(event.key) ? event.key : "?"}"]`);
      if (button instanceof HTMLButtonElement) {
        event.preventDefault();
        event.stopPropagation();
        button.click();
      }
    }
    document.addEventListener("keydown", key, true);
    draw();
    return {
      update(state, before) {
        if (state.more === before.more) return;
        draw();
        const prompt = card.querySelector(".quiz-prompt");
        if (state.more.number !== before.more.number && prompt instanceof HTMLElement) prompt.focus();
      },
      destroy() {
        document.removeEventListener("keydown", key, true);
      }
    };
  }
  function optional(option) {
    const at = option.indexOf(": ");
    return at < 0 ? option : `${option.slice(0, at + 2)}\`${option.slice(at + 2)}\``;
  }
  function coded(text) {
    return text.split("`").map((part, at) => at % 2 ? el("code", {}, part) : part);
  }
  function picture(rows2) {
    const n = rows2[0].length;
    const svg2 = document.createElementNS(SVG2, "svg");
    const side = n * CELL;
    svg2.setAttribute("viewBox", `-1 -1 ${side + 2} ${rows2.length * CELL + 2}`);
    svg2.setAttribute("role", "img");
    const words2 = rows2.map((row, query) => {
      const keys2 = row.flatMap((on, key) => on ? [key] : []);
      return `q${query} reads ${spelled(runs(keys2)) || "no key"}`;
    });
    svg2.setAttribute("aria-label", words2.join("; "));
    svg2.append(shape("rect", { class: "frame", x: 0, y: 0, width: side, height: rows2.length * CELL }));
    rows2.forEach(
      (row, i) => row.forEach((on, j) => {
        if (on) svg2.append(shape("rect", { class: "on", x: j * CELL + 1, y: i * CELL + 1, width: CELL - 2, height: CELL - 2 }));
        else svg2.append(shape("circle", { class: "off", cx: (j + 0.5) * CELL, cy: (i + 0.5) * CELL, r: 1.4 }));
      })
    );
    return svg2;
  }
  function shape(name, attributes) {
    const made = document.createElementNS(SVG2, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
    return made;
  }

  // sheet.js
  var sheet_exports = {};
  __export(sheet_exports, {
    mount: () => mount8
  });

  // measures.js
  var MEASURES = [
    { name: "sink", words: "sink", told: "mean weight on key 0", share: true },
    { name: "induction", words: "induction", told: "mean weight on what followed the same token before", share: true },
    { name: "previous", words: "previous token", told: "mean weight on the token before", share: true },
    { name: "duplicate", words: "duplicate token", told: "mean weight on the same token before", share: true },
    { name: "entropy", words: "entropy", told: "in nats; how widely a query looks", share: false },
    { name: "relative_entropy", words: "relative entropy", told: "entropy over that of an even look", share: true },
    { name: "distance", words: "distance", told: "mean distance looked back, in tokens", share: false },
    { name: "max_score", words: "largest score", told: "before the softmax", share: false }
  ];
  var TRAITS = (
    /** @type {const} */
    ["sink", "previous", "duplicate", "induction"]
  );
  var NOTABLE = 0.3;
  var measureOf = (name) => MEASURES.find((one) => one.name === name) ?? null;
  function notable(scores) {
    let best = null;
    let most = NOTABLE;
    for (const trait of TRAITS) {
      const value = scores?.[trait] ?? 0;
      if (value >= most) [best, most] = [trait, value];
    }
    return measureOf(best);
  }

  // card.js
  var LOW = 1e-4;
  var HIGH = 1;
  var Card = class {
    /** @param {import("./app.js").App} app @param {number} layer @param {number} head */
    constructor(app, layer, head) {
      this.layer = layer;
      this.head = head;
      this.name = `${layer}.${head}`;
      this.seen = false;
      this.wanting = true;
      this.state = "none";
      this.frame = null;
      this.colours = new Uint32Array(STEPS);
      this.canvas = el("canvas", { width: 1, height: 1, "aria-hidden": "true" });
      this.note = el("span", { class: "note" });
      this.title = el("span", { class: "name" });
      this.trait = el("span", { class: "trait" });
      this.rule = el("span", { class: "rule", hidden: true }, ...broken2(app.tape.layers[layer]?.pattern ?? ""));
      this.element = el(
        "a",
        {
          class: "sheet-head",
          href: `#/map/${layer}/${head}`,
          "data-head": this.name,
          "data-state": "none",
          click: (event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
            event.preventDefault();
            app.set({ page: "map", layer, head, x: null, y: null, z: null }, { push: true });
          }
        },
        el("span", { class: "frame" }, this.canvas, this.note),
        el("span", { class: "words" }, this.title, this.trait),
        this.rule
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
    fail(words2) {
      if (this.frame) return;
      this.state = "error";
      this.element.dataset.state = "error";
      this.note.textContent = words2;
    }
    /** @param {Uint32Array<ArrayBuffer>} colours */
    draw(colours) {
      this.colours = colours;
      if (!this.frame) return;
      const { rows: rows2, columns, halves, multiplier } = this.frame;
      this.canvas.width = columns;
      this.canvas.height = rows2;
      const pen = (
        /** @type {CanvasRenderingContext2D} */
        this.canvas.getContext("2d")
      );
      const image = pen.createImageData(columns, rows2);
      const pixels = new Uint32Array(image.data.buffer);
      const reach = (STEPS - 1) / Math.log(HIGH / LOW);
      for (let at = 0; at < pixels.length; at++) {
        const value = HALF[halves[at]] * multiplier;
        if (Number.isNaN(value)) continue;
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
      const words2 = trait?.words.replace(" token", "") ?? "";
      const said = trait ? valueOf(scores, trait) : "";
      fill(this.trait, measure || !trait ? "" : `${words2} `, el("b", {}, said));
      const told = [`Layer ${this.layer}, head ${this.head}`, this.rule.textContent, `${words2} ${said}`.trim()];
      this.element.setAttribute("aria-label", told.filter(Boolean).join(", "));
      this.element.title = scores ? MEASURES.map((one) => `${one.words} ${valueOf(scores, one)}`).join("\n") : "";
    }
  };
  function valueOf(scores, measure) {
    const value = scores?.[measure.name] ?? null;
    return value === null ? "–" : number(value);
  }
  function broken2(pattern) {
    return pattern.split(/(?= [&|] )/).flatMap((part) => [el("span", {}, part)]);
  }

  // sheet.js
  var AT_ONCE = 4;
  var AGAIN2 = 2500;
  var SMALLEST = 96;
  var LARGEST = 208;
  var GAP2 = 20;
  var NARROW2 = 150;
  var POLL = 1500;
  function mount8(parent, app) {
    const { tape } = app;
    const patterns = [...new Set(tape.layers.map((layer) => layer.pattern))];
    const total = tape.layers.reduce((sum2, layer) => sum2 + layer.n_heads, 0);
    const scores = /* @__PURE__ */ new Map();
    let progress = { state: "working", done: 0, total };
    const cards = /* @__PURE__ */ new Map();
    let queue = [];
    let under = 0;
    let poll = 0;
    const gone = new AbortController();
    for (const layer of tape.layers) {
      for (let head = 0; head < layer.n_heads; head++) {
        cards.set(`${layer.index}.${head}`, new Card(app, layer.index, head));
      }
    }
    const watcher = new IntersectionObserver(
      (entries) => {
        for (const entry2 of entries) {
          const card = cards.get(
            /** @type {HTMLElement} */
            entry2.target.dataset.head ?? ""
          );
          if (!card) continue;
          card.seen = entry2.isIntersecting;
          if (card.seen && card.wanting && !queue.includes(card)) queue.push(card);
        }
        queue = queue.filter((card) => card.seen);
        pump();
      },
      { rootMargin: "200px" }
    );
    for (const card of cards.values()) watcher.observe(card.element);
    function pump() {
      while (under < AT_ONCE && queue.length && !gone.signal.aborted) {
        const card = (
          /** @type {Card} */
          queue.shift()
        );
        under += 1;
        card.wanting = false;
        app.source.thumb(card.layer, card.head, gone.signal).then((frame) => {
          card.show(frame);
          if (frame.state === "sampled") later(card);
        }).catch((error) => {
          if (aborted(error)) return;
          app.missed();
          card.fail(error instanceof Error ? error.message : String(error));
          later(card);
        }).finally(() => {
          under -= 1;
          pump();
        });
      }
    }
    function later(card) {
      if (!app.source.live) return;
      setTimeout(() => {
        card.wanting = true;
        if (card.seen && !queue.includes(card)) queue.push(card);
        pump();
      }, AGAIN2);
    }
    async function askScores() {
      try {
        const heads = await app.source.heads();
        if (gone.signal.aborted) return;
        progress = heads;
        for (const one of heads.heads) {
          scores.set(`${one.layer}.${one.head}`, one);
        }
        arrange();
      } catch (error) {
        if (gone.signal.aborted) return;
        app.missed();
      }
      if (progress.state === "working" && !progress.error && app.source.live) poll = setTimeout(() => void askScores(), POLL);
    }
    const sort = select("Sort", "sort", [["", "by layer"], ...MEASURES.map(({ name, words: words2 }) => pair2(name, `by ${words2}`))]);
    const order = el("button", { type: "button", class: "sheet-order", click: () => keep({ up: app.state.more.up ? "" : "1" }) });
    const only = select("Only heads with", "only", [["", "any score"], ...MEASURES.map(({ name, words: words2 }) => pair2(name, words2))]);
    const least2 = el("input", {
      type: "number",
      step: "any",
      "aria-label": "at least",
      class: "sheet-least",
      input: () => {
        if (least2.value === "" || Number.isFinite(Number(least2.value))) keep({ least: least2.value });
      }
    });
    const pattern = select("Pattern", "pattern", [["", "any"], ...patterns.map((one) => pair2(one, one))]);
    const told = el("span", { class: "sheet-told" });
    const found = el("p", { class: "sheet-found", role: "status", "data-testid": "sheet-found" });
    const state = el("p", { class: "sheet-state", "data-testid": "sheet-state" });
    const bar = el("canvas", { class: "sheet-bar", width: STEPS, height: 1, role: "img", "aria-label": "colours from little to much weight" });
    const room = el("div", { class: "sheet-room", "data-testid": "sheet" });
    function pair2(a, b) {
      return [a, b];
    }
    function select(label, name, options) {
      return choice(label, options, "", (value) => keep({ [name]: value }));
    }
    function keep(patch) {
      const more = { ...app.state.more, ...patch };
      if (patch.only && !more.least) more.least = measureOf(patch.only)?.share ? "0.3" : "1";
      if (!more.only) delete more.least;
      if (!more.sort) delete more.up;
      for (const name of Object.keys(more)) if (more[name] === "") delete more[name];
      app.set({ more }, { push: patch.least === void 0 });
    }
    const title2 = tape.title || tape.model;
    parent.append(
      el(
        "article",
        { class: "sheet", "aria-labelledby": "sheet-title" },
        el(
          "header",
          { class: "page-head" },
          el("h1", { id: "sheet-title" }, "Contact sheet"),
          el(
            "p",
            {},
            `${title2 ? `${title2}: ` : ""}${count(tape.layers.length)} ${tape.layers.length === 1 ? "layer" : "layers"}, ${count(total)} ${total === 1 ? "head" : "heads"}, ${count(tape.n_queries)} ${tape.n_queries === 1 ? "query" : "queries"} × ${count(tape.n_keys)} ${tape.n_keys === 1 ? "key" : "keys"}. Query i, down, reads; key j, across, is read.`
          )
        ),
        el(
          "div",
          { class: "sheet-set", role: "group", "aria-label": "Sort and filter" },
          el("label", {}, "Sort ", sort),
          order,
          el("label", {}, "Only heads with ", only),
          el("label", { class: "sheet-at-least" }, "of at least ", least2),
          patterns.length > 1 ? el("label", {}, "Pattern ", pattern) : "",
          told,
          found
        ),
        el(
          "p",
          { class: "sheet-legend" },
          el("span", {}, "largest weight of a pixel, log scale, the same for all"),
          el("span", { class: "ends" }, tickText(LOW), bar, tickText(HIGH)),
          el("span", { class: "swatch off" }),
          el("span", {}, "never computed"),
          state
        ),
        room,
        notes()
      )
    );
    function notes() {
      if (!tape.skipped.length) return "";
      const words2 = tape.skipped.map(
        (one) => typeof one === "string" ? one : Array.isArray(one) ? one.join(": ") : `${one.name}: ${one.reason}`
      );
      return el(
        "details",
        { class: "sheet-skipped" },
        el("summary", {}, `${count(words2.length)} ${words2.length === 1 ? "layer has" : "layers have"} no attention map`),
        el("ul", {}, ...words2.map((one) => el("li", {}, one)))
      );
    }
    let arranged = "";
    function arrange() {
      const more = app.state.more;
      const by = measureOf(more.sort);
      const sift = measureOf(more.only);
      const floor = Number(more.least ?? "");
      const held = patterns.includes(more.pattern ?? "") ? more.pattern : "";
      sort.value = by?.name ?? "";
      only.value = sift?.name ?? "";
      pattern.value = held ?? "";
      if (document.activeElement !== least2) least2.value = more.least ?? "";
      const bare = !scores.size && progress.state !== "working";
      sort.parentElement?.toggleAttribute("hidden", bare);
      only.parentElement?.toggleAttribute("hidden", bare);
      least2.parentElement?.toggleAttribute("hidden", bare || !sift);
      order.hidden = bare || !by;
      const meant = by ?? sift;
      told.textContent = meant ? `${meant.words}: ${meant.told}` : "";
      order.textContent = more.up ? "lowest first ↑" : "highest first ↓";
      const value = (card, name) => scores.get(card.name)?.[name] ?? null;
      let shown2 = [...cards.values()].filter((card) => {
        if (held && tape.layers[card.layer]?.pattern !== held) return false;
        if (!sift) return true;
        const one = value(card, sift.name);
        return one !== null && one >= floor;
      });
      if (by) {
        const known = shown2.filter((card) => value(card, by.name) !== null);
        const sign = more.up ? 1 : -1;
        known.sort((a, b) => sign * (Number(value(a, by.name)) - Number(value(b, by.name))));
        shown2 = [...known, ...shown2.filter((card) => value(card, by.name) === null)];
      }
      for (const card of shown2) card.caption(by ?? sift, Boolean(by), patterns.length > 1, scores.get(card.name) ?? null);
      found.textContent = shown2.length === total ? "" : `${count(shown2.length)} of ${count(total)} heads`;
      said();
      const now = `${by ? "flat" : "layers"} ${shown2.map((card) => card.name).join(" ")}`;
      if (now === arranged) return;
      arranged = now;
      if (!shown2.length) {
        const why2 = progress.state !== "working" ? "No head is like that." : "No head so far: the scores are still being worked out.";
        fill(room, el("p", { class: "sheet-none" }, why2));
      } else if (by) {
        fill(room, el("ol", { class: "sheet-heads flat", "aria-label": `Heads by ${by.words}: ${by.told}` }, ...shown2.map((card) => card.item)));
      } else {
        const layers = tape.layers.filter((layer) => shown2.some((card) => card.layer === layer.index));
        fill(
          room,
          ...layers.map(
            (layer) => el(
              "section",
              { class: "sheet-layer", "aria-label": `Layer ${layer.index}`, "data-layer": layer.index },
              el(
                "header",
                {},
                el("h2", {}, `Layer ${layer.index}`),
                el("p", { class: "badge", title: layer.pattern }, ...broken2(layer.pattern)),
                el("p", { class: "kv" }, kinds(layer))
              ),
              el("ol", { class: "sheet-heads" }, ...shown2.filter((card) => card.layer === layer.index).map((card) => card.item))
            )
          )
        );
      }
    }
    function said() {
      const sampled = [...cards.values()].filter((card) => card.state === "sampled").length;
      const words2 = [];
      if (progress.error) words2.push(`scores: ${progress.error}`);
      else if (progress.state === "working") {
        words2.push(`working on the scores: ${count(progress.done)} of ${count(progress.total)} heads`);
      } else if (progress.state === "sampled") words2.push("scores sampled: means over some of the queries");
      if (sampled) words2.push(`${count(sampled)} ${sampled === 1 ? "map" : "maps"} sampled: open one to have it exact`);
      state.textContent = words2.join("; ");
    }
    room.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !event.key.startsWith("Arrow")) return;
      const links = [...room.querySelectorAll("a")];
      const from = links.indexOf(
        /** @type {HTMLAnchorElement} */
        document.activeElement
      );
      if (from < 0) return;
      event.preventDefault();
      event.stopPropagation();
      let to = from + (event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0);
      if (event.key === "ArrowDown" || event.key === "ArrowUp") to = vertical(links, from, event.key === "ArrowDown" ? 1 : -1);
      links[to]?.focus();
    });
    const offTheme = app.on("theme", recolour);
    function recolour() {
      const colours = new Uint32Array(ramp(isDark()).buffer);
      const pen = (
        /** @type {CanvasRenderingContext2D} */
        bar.getContext("2d")
      );
      const image = pen.createImageData(STEPS, 1);
      new Uint32Array(image.data.buffer).set(colours);
      pen.putImageData(image, 0, 0);
      for (const card of cards.values()) card.draw(colours);
    }
    const oneColumn = matchMedia("(max-width: 760px), (max-height: 480px)");
    const widest = Math.max(1, ...tape.layers.map((layer) => layer.n_heads));
    function size() {
      const free = room.clientWidth - (oneColumn.matches ? 0 : 168);
      const fit2 = Math.max(1, Math.floor(free / (SMALLEST + GAP2)));
      const abreast = Math.ceil(widest / Math.ceil(widest / fit2));
      const side = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(free / abreast) - GAP2));
      room.style.setProperty("--thumb", `${side}px`);
      room.classList.toggle("narrow", side < NARROW2);
    }
    const resized = new ResizeObserver(size);
    resized.observe(room);
    size();
    recolour();
    arrange();
    void askScores();
    const offCards = app.on("status", said);
    return {
      update(now, before) {
        if (now.more !== before.more) arrange();
      },
      destroy() {
        gone.abort();
        clearTimeout(poll);
        watcher.disconnect();
        resized.disconnect();
        offTheme();
        offCards();
      }
    };
  }
  function kinds(layer) {
    const words2 = [];
    if (layer.n_kv_heads !== layer.n_heads) words2.push(`${layer.n_kv_heads} kv ${layer.n_kv_heads === 1 ? "head" : "heads"}`);
    if (layer.sinks) words2.push("learned sinks");
    if (layer.alibi) words2.push("ALiBi");
    if (layer.softcap) words2.push(`softcap ${number(layer.softcap)}`);
    return words2.join(", ");
  }
  function vertical(links, from, by) {
    const mine = links[from].getBoundingClientRect();
    let best = from;
    let least2 = Infinity;
    links.forEach((link, at) => {
      const box = link.getBoundingClientRect();
      const down = (box.top - mine.top) * by;
      if (down < mine.height / 2) return;
      const far = down * 4 + Math.abs(box.left - mine.left);
      if (far < least2) {
        least2 = far;
        best = at;
      }
    });
    return best;
  }

  // main.js
  var PAGES2 = { sheet: sheet_exports, map: mappage_exports, lesson: lesson_exports, quiz: quiz_exports };
  async function boot() {
    const source = embedded() ?? server();
    const [tape, tokens] = await Promise.all([source.tape(), source.tokens()]);
    const app = new App(source, tape, tokens);
    const top = el("header", { class: "top" });
    const main = el("main", { id: "page" });
    const said = el("p", { id: "said", class: "unseen", "aria-live": "polite" });
    document.body.replaceChildren(top, main, said);
    const bar = chrome(top, app);
    let shown2 = app.state.page;
    let part = PAGES2[shown2].mount(main, app);
    main.dataset.page = shown2;
    bar.update(app.state, app.state);
    let before = app.state;
    app.on("state", () => {
      const state = app.state;
      const previous = before;
      before = state;
      bar.update(state, previous);
      if (state.page !== shown2) {
        part.destroy();
        main.replaceChildren();
        shown2 = state.page;
        main.dataset.page = shown2;
        part = PAGES2[shown2].mount(main, app);
        app.point(null);
      } else {
        part.update(state, previous);
      }
    });
  }
  boot().catch((error) => {
    const words2 = error instanceof Error ? error.message : String(error);
    document.body.replaceChildren(
      el(
        "main",
        { class: "failed" },
        el("h1", {}, "The atlas could not open"),
        el("p", {}, words2),
        el("button", { click: () => location.reload() }, "Try again")
      )
    );
  });
})();
