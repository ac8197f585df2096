// The contact sheet: every head of every layer as a small map on one scale, to sort, to sift and to open.

import { Card, HIGH, LOW, broken } from "./card.js";
import { choice, count, el, fill, number } from "./dom.js";
import { MEASURES, measureOf } from "./measures.js";
import { STEPS, isDark, ramp } from "./palette.js";
import { tickText } from "./scale.js";
import { aborted } from "./source.js";

/** @typedef {import("./source.js").HeadScores} HeadScores */

const AT_ONCE = 4; // small maps asked for at a time
const AGAIN = 2500; // ms until a sampled map is asked for again
const SMALLEST = 96; // pixels of a small map
const LARGEST = 208;
const GAP = 20; // as in pages.css
const NARROW = 150; // a name and a trait do not stand side by side below a map of less
const POLL = 1500; // ms between questions for scores while they are being worked out

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  const { tape } = app;
  const patterns = [...new Set(tape.layers.map((layer) => layer.pattern))];
  const total = tape.layers.reduce((sum, layer) => sum + layer.n_heads, 0);

  /** @type {Map<string, HeadScores>} */
  const scores = new Map();
  /** @type {{state: string, done: number, total: number, error?: string}} "sampled" is as good as it will be: a long layer's scores are of some of its rows */
  let progress = { state: "working", done: 0, total };
  /** @type {Map<string, Card>} */
  const cards = new Map();
  /** @type {Card[]} those in sight without a map yet */
  let queue = [];
  let under = 0;
  let poll = 0;
  const gone = new AbortController();

  for (const layer of tape.layers) {
    for (let head = 0; head < layer.n_heads; head++) {
      cards.set(`${layer.index}.${head}`, new Card(app, layer.index, head));
    }
  }

  // -- asking ----------------------------------------------------------------------------------------------

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const card = cards.get(/** @type {HTMLElement} */ (entry.target).dataset.head ?? "");
        if (!card) continue;
        card.seen = entry.isIntersecting;
        if (card.seen && card.wanting && !queue.includes(card)) queue.push(card);
      }
      queue = queue.filter((card) => card.seen);
      pump();
    },
    { rootMargin: "200px" },
  );
  for (const card of cards.values()) watcher.observe(card.element);

  function pump() {
    while (under < AT_ONCE && queue.length && !gone.signal.aborted) {
      const card = /** @type {Card} */ (queue.shift());
      under += 1;
      card.wanting = false;
      app.source
        .thumb(card.layer, card.head, gone.signal)
        .then((frame) => {
          card.show(frame);
          if (frame.state === "sampled") later(card);
        })
        .catch((error) => {
          if (aborted(error)) return;
          app.missed();
          card.fail(error instanceof Error ? error.message : String(error));
          later(card);
        })
        .finally(() => {
          under -= 1;
          pump();
        });
    }
  }

  /** @param {Card} card */
  function later(card) {
    if (!app.source.live) return;
    setTimeout(() => {
      card.wanting = true;
      if (card.seen && !queue.includes(card)) queue.push(card);
      pump();
    }, AGAIN);
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

  // -- controls --------------------------------------------------------------------------------------------

  const sort = select("Sort", "sort", [["", "by layer"], ...MEASURES.map(({ name, words }) => pair(name, `by ${words}`))]);
  const order = el("button", { type: "button", class: "sheet-order", click: () => keep({ up: app.state.more.up ? "" : "1" }) });
  const only = select("Only heads with", "only", [["", "any score"], ...MEASURES.map(({ name, words }) => pair(name, words))]);
  const least = el("input", {
    type: "number",
    step: "any",
    "aria-label": "at least",
    class: "sheet-least",
    input: () => {
      if (least.value === "" || Number.isFinite(Number(least.value))) keep({ least: least.value });
    },
  });
  const pattern = select("Pattern", "pattern", [["", "any"], ...patterns.map((one) => pair(one, one))]);
  const told = el("span", { class: "sheet-told" });
  const found = el("p", { class: "sheet-found", role: "status", "data-testid": "sheet-found" });
  const state = el("p", { class: "sheet-state", "data-testid": "sheet-state" });
  const bar = el("canvas", { class: "sheet-bar", width: STEPS, height: 1, role: "img", "aria-label": "colours from little to much weight" });
  const room = el("div", { class: "sheet-room", "data-testid": "sheet" });

  /** @param {string} a @param {string} b @returns {[string, string]} */
  function pair(a, b) {
    return [a, b];
  }

  /** @param {string} label @param {string} name @param {[string, string][]} options */
  function select(label, name, options) {
    return choice(label, options, "", (value) => keep({ [name]: value }));
  }

  /** @param {Record<string, string>} patch */
  function keep(patch) {
    /** @type {Record<string, string>} */
    const more = { ...app.state.more, ...patch };
    if (patch.only && !more.least) more.least = measureOf(patch.only)?.share ? "0.3" : "1";
    if (!more.only) delete more.least;
    if (!more.sort) delete more.up;
    for (const name of Object.keys(more)) if (more[name] === "") delete more[name];
    app.set({ more }, { push: patch.least === undefined });
  }

  const title = tape.title || tape.model;
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
          `${title ? `${title}: ` : ""}${count(tape.layers.length)} ${tape.layers.length === 1 ? "layer" : "layers"}, ${count(total)} ${total === 1 ? "head" : "heads"}, ` +
            `${count(tape.n_queries)} ${tape.n_queries === 1 ? "query" : "queries"} × ${count(tape.n_keys)} ${tape.n_keys === 1 ? "key" : "keys"}. Query i, down, reads; key j, across, is read.`,
        ),
      ),
      el(
        "div",
        { class: "sheet-set", role: "group", "aria-label": "Sort and filter" },
        el("label", {}, "Sort ", sort),
        order,
        el("label", {}, "Only heads with ", only),
        el("label", { class: "sheet-at-least" }, "of at least ", least),
        patterns.length > 1 ? el("label", {}, "Pattern ", pattern) : "",
        told,
        found,
      ),
      el(
        "p",
        { class: "sheet-legend" },
        el("span", {}, "largest weight of a pixel, log scale, the same for all"),
        el("span", { class: "ends" }, tickText(LOW), bar, tickText(HIGH)),
        el("span", { class: "swatch off" }),
        el("span", {}, "never computed"),
        state,
      ),
      room,
      notes(),
    ),
  );

  function notes() {
    if (!tape.skipped.length) return "";
    const words = tape.skipped.map((one) =>
      typeof one === "string" ? one : Array.isArray(one) ? one.join(": ") : `${one.name}: ${one.reason}`,
    );
    return el(
      "details",
      { class: "sheet-skipped" },
      el("summary", {}, `${count(words.length)} ${words.length === 1 ? "layer has" : "layers have"} no attention map`),
      el("ul", {}, ...words.map((one) => el("li", {}, one))),
    );
  }

  // -- order -----------------------------------------------------------------------------------------------

  let arranged = "";
  /** Puts the cards in their order; only what changed is moved. */
  function arrange() {
    const more = app.state.more;
    const by = measureOf(more.sort);
    const sift = measureOf(more.only);
    const floor = Number(more.least ?? "");
    const held = patterns.includes(more.pattern ?? "") ? more.pattern : "";
    sort.value = by?.name ?? "";
    only.value = sift?.name ?? "";
    pattern.value = held ?? "";
    if (document.activeElement !== least) least.value = more.least ?? "";
    // Where there are no scores, as in a page that leaves them out, there is nothing to sort or sift by.
    const bare = !scores.size && progress.state !== "working";
    sort.parentElement?.toggleAttribute("hidden", bare);
    only.parentElement?.toggleAttribute("hidden", bare);
    least.parentElement?.toggleAttribute("hidden", bare || !sift);
    order.hidden = bare || !by;
    const meant = by ?? sift;
    told.textContent = meant ? `${meant.words}: ${meant.told}` : "";
    order.textContent = more.up ? "lowest first ↑" : "highest first ↓";

    /** @param {Card} card @param {import("./measures.js").Name} name */
    const value = (card, name) => scores.get(card.name)?.[name] ?? null;
    let shown = [...cards.values()].filter((card) => {
      if (held && tape.layers[card.layer]?.pattern !== held) return false;
      if (!sift) return true;
      const one = value(card, sift.name);
      return one !== null && one >= floor;
    });
    if (by) {
      const known = shown.filter((card) => value(card, by.name) !== null);
      const sign = more.up ? 1 : -1;
      known.sort((a, b) => sign * (Number(value(a, by.name)) - Number(value(b, by.name))));
      shown = [...known, ...shown.filter((card) => value(card, by.name) === null)];
    }
    for (const card of shown) card.caption(by ?? sift, Boolean(by), patterns.length > 1, scores.get(card.name) ?? null);
    found.textContent = shown.length === total ? "" : `${count(shown.length)} of ${count(total)} heads`;
    said();

    const now = `${by ? "flat" : "layers"} ${shown.map((card) => card.name).join(" ")}`;
    if (now === arranged) return;
    arranged = now;
    if (!shown.length) {
      const why = progress.state !== "working" ? "No head is like that." : "No head so far: the scores are still being worked out.";
      fill(room, el("p", { class: "sheet-none" }, why));
    } else if (by) {
      fill(room, el("ol", { class: "sheet-heads flat", "aria-label": `Heads by ${by.words}: ${by.told}` }, ...shown.map((card) => card.item)));
    } else {
      const layers = tape.layers.filter((layer) => shown.some((card) => card.layer === layer.index));
      fill(
        room,
        ...layers.map((layer) =>
          el(
            "section",
            { class: "sheet-layer", "aria-label": `Layer ${layer.index}`, "data-layer": layer.index },
            el(
              "header",
              {},
              el("h2", {}, `Layer ${layer.index}`),
              el("p", { class: "badge", title: layer.pattern }, ...broken(layer.pattern)),
              el("p", { class: "kv" }, kinds(layer)),
            ),
            el("ol", { class: "sheet-heads" }, ...shown.filter((card) => card.layer === layer.index).map((card) => card.item)),
          ),
        ),
      );
    }
  }

  function said() {
    const sampled = [...cards.values()].filter((card) => card.state === "sampled").length;
    const words = [];
    if (progress.error) words.push(`scores: ${progress.error}`);
    else if (progress.state === "working") {
      words.push(`working on the scores: ${count(progress.done)} of ${count(progress.total)} heads`);
    } else if (progress.state === "sampled") words.push("scores sampled: means over some of the queries");
    if (sampled) words.push(`${count(sampled)} ${sampled === 1 ? "map" : "maps"} sampled: open one to have it exact`);
    state.textContent = words.join("; ");
  }

  // -- keys ------------------------------------------------------------------------------------------------

  room.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.key.startsWith("Arrow")) return;
    const links = [...room.querySelectorAll("a")];
    const from = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
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
    const pen = /** @type {CanvasRenderingContext2D} */ (bar.getContext("2d"));
    const image = pen.createImageData(STEPS, 1);
    new Uint32Array(image.data.buffer).set(colours);
    pen.putImageData(image, 0, 0);
    for (const card of cards.values()) card.draw(colours);
  }

  const oneColumn = matchMedia("(max-width: 760px), (max-height: 480px)"); // as in pages.css
  const widest = Math.max(1, ...tape.layers.map((layer) => layer.n_heads));
  function size() {
    // As large as lets the heads of a layer stand side by side, or in rows of one length, within what is worth
    // looking at.
    const free = room.clientWidth - (oneColumn.matches ? 0 : 168);
    const fit = Math.max(1, Math.floor(free / (SMALLEST + GAP)));
    const abreast = Math.ceil(widest / Math.ceil(widest / fit));
    const side = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(free / abreast) - GAP));
    room.style.setProperty("--thumb", `${side}px`);
    room.classList.toggle("narrow", side < NARROW);
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
    },
  };
}

/** @param {import("./source.js").Layer} layer */
function kinds(layer) {
  const words = [];
  if (layer.n_kv_heads !== layer.n_heads) words.push(`${layer.n_kv_heads} kv ${layer.n_kv_heads === 1 ? "head" : "heads"}`);
  if (layer.sinks) words.push("learned sinks");
  if (layer.alibi) words.push("ALiBi");
  if (layer.softcap) words.push(`softcap ${number(layer.softcap)}`);
  return words.join(", ");
}

/** The link above or below. @param {HTMLAnchorElement[]} links @param {number} from @param {1 | -1} by */
function vertical(links, from, by) {
  const mine = links[from].getBoundingClientRect();
  let best = from;
  let least = Infinity;
  links.forEach((link, at) => {
    const box = link.getBoundingClientRect();
    const down = (box.top - mine.top) * by;
    if (down < mine.height / 2) return;
    const far = down * 4 + Math.abs(box.left - mine.left);
    if (far < least) {
      least = far;
      best = at;
    }
  });
  return best;
}
