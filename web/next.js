// What came next: at the pinned query, the next-token distribution that the model gave when it was recorded, and the
// token that came. Arrow keys step the query; with later rows veiled, the triangle grows row by row.

import { count, el, fill, number, visible } from "./dom.js";
import { aborted } from "./source.js";
import { firstDecoded, stepOf, stepWords } from "./steps.js";

/** @typedef {import("./source.js").Next} Next */

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 1000;
const TOKEN = 22; // characters of a token
const PAGE = 10; // rows that Page Up and Page Down step

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  const { n_queries, steps } = app.tape;
  const decoded = firstDecoded(steps);

  /** @type {{query: number, next: Next | null} | null} */
  let known = null;
  let wrong = "";
  let asking = false;
  /** @type {number | null} */
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
  const rect = (/** @type {string} */ name, /** @type {number} */ from, /** @type {number} */ to) => {
    const made = document.createElementNS(SVG, "rect");
    const x = (WIDE * from) / Math.max(1, n_queries);
    made.setAttribute("class", name);
    made.setAttribute("x", String(x));
    made.setAttribute("width", String((WIDE * to) / Math.max(1, n_queries) - x));
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
    app.pin(Math.min(n_queries - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * n_queries))), undefined);
  });

  const panel = el(
    "div",
    { class: "next", role: "group", "aria-label": "Next token", tabindex: 0, "data-testid": "next", keydown: keys },
    el(
      "header",
      { class: "next-head" },
      el("h2", {}, "Next token"),
      el("div", { class: "next-steps" }, earlier, later),
      el("label", { class: "next-grow", title: "Hide the rows that were not there yet" }, grow, " veil later rows"),
    ),
    strip,
    body,
  );
  parent.append(panel);

  /** @param {number} by */
  function step(by) {
    const { query } = app.state;
    const to = query === null ? 0 : Math.min(Math.max(0, query + by), n_queries - 1);
    if (to !== query) app.set({ query: to });
  }

  /** @param {KeyboardEvent} event */
  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === grow) return;
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, PageUp: -PAGE, PageDown: PAGE, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    step(by);
  }

  function want() {
    wanted = app.state.query;
    draw();
    if (wanted !== null && known?.query !== wanted) void ask();
  }

  /** One request at a time: the newest wish is asked for when the one under way has come. */
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
    const at = query === null ? 0 : (WIDE * (query + 0.5)) / Math.max(1, n_queries);
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
          "Pin a query, in the map or the text, to see what the model expected after it.",
        ),
        el(
          "p",
          { class: "next-begin" },
          el("button", { type: "button", click: () => app.pin(0, undefined) }, "First query"),
          decoded === null ? "" : el("button", { type: "button", click: () => app.pin(decoded, undefined) }, "First decoded query"),
        ),
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
      token === null ? "" : el("span", { class: "token" }, visible(token, TOKEN)),
      told ? el("span", { class: `step ${told.kind}`, "data-testid": "next-step" }, stepWords(told)) : "",
    );
    if (wrong) fill(body, line, el("p", { class: "next-none", role: "alert" }, wrong));
    else if (known?.query !== query) body.classList.add("waiting"); // the last one stays until the new one is there
    else fill(body, line, ...(known.next?.top.length ? said(known.next) : [unknown()]));
    if (known?.query === query || wrong) body.classList.remove("waiting");
  }

  function unknown() {
    return el(
      "p",
      { class: "next-none", "data-testid": "next-none" },
      "What the model said after this query was not recorded: a prompt's rows are kept only where the model returned their logits.",
    );
  }

  /** @param {Next} next */
  function said({ top, came }) {
    const most = Math.max(...top.map(({ p }) => p), 1e-9);
    const rank = came ? top.findIndex(({ id }) => id === came.id) : -1;
    const rows = top.map(({ token, id, p }, at) => entry(at + 1, token, id, p, most, at === rank));
    if (came && rank < 0) rows.push(entry(null, came.token, came.id, came.p, most, true));
    return [
      el(
        "table",
        { class: "next-top", "data-testid": "next-top" },
        el("caption", { class: "unseen" }, "The ten likeliest next tokens and their probabilities"),
        el("tbody", {}, ...rows),
      ),
      came
        ? el(
            "p",
            { class: "next-came", "data-testid": "next-came" },
            "came next: ",
            el("span", { class: "token" }, named(came.token, came.id)),
            ` ${rank < 0 ? `beyond the first ${top.length}` : `rank ${rank + 1}`}, probability ${probability(came.p)}, loss ${number(came.p > 0 ? -Math.log(came.p) : Infinity)} nats`,
          )
        : el("p", { class: "next-came" }, "The text ends here: no token came."),
    ];
  }

  /** "," and "." step from anywhere on the page. @param {KeyboardEvent} event */
  function anywhere(event) {
    const at = /** @type {HTMLElement} */ (event.target);
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
    },
  };
}

/**
 * @param {number | null} rank null for the token that came from beyond the list
 * @param {string | null} token
 * @param {number} id
 * @param {number} p
 * @param {number} most
 * @param {boolean} came
 */
function entry(rank, token, id, p, most, came) {
  const bar = el("span", { class: "bar" });
  bar.style.width = `${(100 * p) / most}%`;
  return el(
    "tr",
    { class: came ? "came" : null, "data-id": id },
    el("td", { class: "rank" }, rank === null ? "…" : String(rank)),
    el("th", { scope: "row", title: `token ${id}` }, named(token, id)),
    el("td", { class: "graph", "aria-hidden": "true" }, bar),
    el("td", { class: "p" }, probability(p)),
    el("td", { class: "mark" }, came ? "came" : ""),
  );
}

/** @param {string | null} token @param {number} id */
function named(token, id) {
  return token === null ? `#${id}` : visible(token, TOKEN);
}

/** @param {number} p */
function probability(p) {
  return p >= 0.001 ? p.toFixed(3) : number(p, 2);
}
