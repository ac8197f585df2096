// The text beside the map, linked both ways: a token that is pointed at or pinned colours every token by how much it
// reads it, or is read by it. Rows and columns are exact. Only the lines in sight are elements.

import { count, el, fill, number, visible } from "./dom.js";
import { Looks, inks, nameOf, shadeOf } from "./looks.js";
import { neighbours } from "./neighbours.js";
import { isDark } from "./palette.js";
import { Roll } from "./roll.js";
import { tickText } from "./scale.js";
import { Search } from "./search.js";
import { aborted } from "./source.js";
import { firstDecoded } from "./steps.js";

const REST = 80; // ms after the text last moved
const SETTLE = 140; // ms that a pointer rests on the map before the text moves

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  const { offset, n_queries, n_keys } = app.tape;
  const length = Math.max(n_keys, offset + n_queries);
  const tokens = labels(app, length);
  const decoded = firstDecoded(app.tape.steps);
  const decodedAt = decoded === null ? Infinity : offset + decoded;

  const looks = new Looks(app.source, length, offset);
  /** What colours the text now. @type {{choice: import("./looks.js").Choice, name: string, look: import("./looks.js").Look} | null} */
  let colours = null;
  /** What should colour it. @type {import("./looks.js").Choice | null} */
  let wanted = null;
  let asking = false;
  let failed = false;
  /** The token under the pointer or the keyboard's cursor here. @type {number | null} */
  let here = null;
  let settling = 0;
  let resting = 0;
  const search = new Search(tokens);
  let shades = inks(isDark());

  const roll = new Roll(tokens, dress);

  /** @param {string} value @param {string} words @param {string} title */
  const radio = (value, words, title) =>
    el(
      "label",
      { title },
      el("input", {
        type: "radio",
        name: "text-by",
        value,
        checked: (app.state.more.by ?? "") === value,
        change: () => {
          const { query, key, more: kept } = app.state;
          const more = { ...kept, by: value };
          if (!value) delete (/** @type {Record<string, string>} */ (more).by);
          // The token that was chosen for the one is chosen for the other, unless another is pinned there.
          const token = query === null ? key : query + offset;
          app.set({ more, query: query ?? (token === null ? null : app.row(token)), key: key ?? (token === null || token >= n_keys ? null : token) }, { push: true });
        },
      }),
      el("span", {}, words),
    );
  const by = el(
    "div",
    { class: "text-by", role: "radiogroup", "aria-label": "Colour each token by" },
    radio("", "what it reads", "Colour each token by how much the chosen token reads it: a row of the map"),
    radio("1", "what reads it", "Colour each token by how much it reads the chosen token: a column of the map"),
  );
  const field = el("input", {
    type: "search",
    placeholder: "Search, or :250 for token 250",
    "aria-label": "Search the text",
    maxlength: 200,
    spellcheck: false,
    autocomplete: "off",
    input: () => find(field.value),
    keydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        seek(event.shiftKey ? -1 : 1);
      }
      event.stopPropagation();
    },
  });
  const found = el("output", { class: "text-found", "data-testid": "text-found" });
  const back = el("button", { type: "button", "aria-label": "Previous match", disabled: true, click: () => seek(-1) }, "↑");
  const on = el("button", { type: "button", "aria-label": "Next match", disabled: true, click: () => seek(1) }, "↓");
  const where = el("dl", { class: "text-where" });
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
      el("div", { class: "text-search", role: "search" }, field, found, back, on),
    ),
    where,
    roll.element,
    el("footer", { class: "text-foot" }, scale, legend),
  );

  // -- what is chosen --------------------------------------------------------------------------------------

  const reading = () => app.state.more.by !== "1";

  /** The row or column that colours the text, if any: what is pinned, else what is pointed at. @returns {import("./looks.js").Choice | null} */
  function chosen() {
    const { layer, head, query, key } = app.state;
    const at = reading() ? (query ?? app.hover?.query ?? null) : (key ?? app.hover?.key ?? null);
    return at === null ? null : { layer, head, kind: reading() ? "row" : "column", at };
  }

  /** The query and the key that are meant now: pointed at, else pinned. */
  function pair() {
    const { query, key } = app.state;
    const hover = app.hover;
    return { query: hover?.query ?? query, key: hover?.key ?? key };
  }

  // -- rows and columns ------------------------------------------------------------------------------------

  function want() {
    wanted = chosen();
    if (!wanted) {
      colours = null;
      paint();
    } else if (colours?.name !== nameOf(wanted)) {
      void ask();
    }
  }

  /** One request at a time: the newest wish is asked for when the one under way has come. */
  async function ask() {
    if (asking) return;
    asking = true;
    try {
      while (wanted && colours?.name !== nameOf(wanted)) {
        const choice = wanted;
        const look = await looks.get(choice);
        failed = false;
        if (!wanted || nameOf(choice) !== nameOf(wanted)) continue;
        colours = { choice, name: nameOf(choice), look };
        paint();
      }
    } catch (error) {
      if (!aborted(error)) {
        app.missed();
        failed = true;
        colours = null;
        paint();
        legend.textContent = error instanceof Error ? error.message : String(error);
      }
    } finally {
      asking = false;
    }
  }

  // -- the tokens in sight ---------------------------------------------------------------------------------

  function paint() {
    for (const piece of roll.pieces()) dress(piece);
    tell();
  }

  /** Colours one piece and marks what it is. @param {import("./roll.js").Piece} span */
  function dress(span) {
    const token = span.token;
    const look = colours?.look;
    let shade = -1; // no colour
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

  // -- words -----------------------------------------------------------------------------------------------

  function tell() {
    const { query, key } = pair();
    const choice = chosen();
    const weight = weightOf(query, key);
    fill(
      where,
      ...neighbours(tokens, "query", "reads", query === null ? null : query + offset, query === app.state.query),
      ...neighbours(tokens, "key", "is read", key, key === app.state.key),
      ...(weight === null && choice && colours?.name === nameOf(choice)
        ? most(colours.look)
        : [
            el("dt", {}, "weight"),
            el("dd", { "data-testid": "text-weight" }, weight === null ? "–" : Number.isNaN(weight) ? "never computed" : number(weight, 4)),
          ]),
    );
    low.textContent = colours ? tickText(colours.look.low) : "";
    high.textContent = colours ? tickText(colours.look.high) : "";
    scale.hidden = !colours;
    if (!choice) {
      legend.textContent = "Point at a token; click pins it.";
    } else {
      const at = choice.kind === "row" ? choice.at + offset : choice.at;
      legend.textContent = `${choice.kind === "row" ? "read by query" : "reads key"} ${count(at)}; log scale`;
      if (colours?.name !== nameOf(choice)) legend.textContent += " …";
    }
  }

  /** The largest weights of a row or column, and where they are: as many as there is room for. @param {import("./looks.js").Look} look */
  function most({ values, largest }) {
    return [
      el("dt", {}, "weight ", el("small", {}, "most")),
      el("dd", { "data-testid": "text-most", class: "most" }, ...largest.map((at) => el("span", {}, el("b", {}, count(at)), ` ${visible(tokens[at], 8)} ${number(values[at], 2)}`))),
    ];
  }

  /** @param {number | null} query @param {number | null} key */
  function weightOf(query, key) {
    if (query === null || key === null || !colours) return null;
    const { choice, look } = colours;
    if (choice.kind === "row") return choice.at === query ? look.values[key] : null;
    return choice.at === key ? look.values[query + offset] : null;
  }

  // -- moving ----------------------------------------------------------------------------------------------

  /** Points at a token from here. @param {number | null} token */
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
    // With a pin, the other side of the pair is what is pointed at: the map shows that very cell.
    if (reading()) {
      app.point(query === null ? { query: row, key: null, from: "text" } : { query, key: mine, from: "text" });
    } else {
      app.point(key === null ? { query: null, key: mine, from: "text" } : { query: row, key, from: "text" });
    }
  }

  /** @param {EventTarget | null} target */
  function over(target) {
    const token = roll.tokenOf(target);
    if (token !== null) point(token);
  }

  /** @param {number} token */
  function pin(token) {
    const { query, key } = app.state;
    const row = app.row(token);
    if (reading()) {
      if (row === null) app.say(`token ${token} was no query of this tape`);
      else app.pin(row === query ? null : row, undefined);
    } else if (token < n_keys) {
      app.pin(undefined, token === key ? null : token);
    }
    // What is pointed at means something else once something is pinned.
    const at = here;
    here = null;
    point(at);
    want();
    paint();
  }

  roll.room.addEventListener("pointermove", ({ target, clientX, clientY }) => {
    clearTimeout(resting);
    const wait = roll.scrolled + REST - performance.now();
    // While the text runs under the pointer, what comes to lie there is not what is pointed at.
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
    const pinned = reading() ? (query === null ? null : query + offset) : key;
    const to = roll.step(event.key, pinned ?? here ?? roll.first);
    if (to !== null) {
      // With a pin, the pin walks; without one, a cursor that Enter pins.
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

  // -- search ----------------------------------------------------------------------------------------------

  /** @param {string} text */
  function find(text) {
    search.find(text, roll.first);
    back.disabled = on.disabled = !search.length;
    arrive();
  }

  /** Goes to the next or the last match, and the map with it. @param {number} by */
  function seek(by) {
    if (!search.length) return;
    search.go(by);
    const { token } = search;
    const row = app.row(token);
    const key = token < n_keys ? token : null;
    app.set(reading() ? { query: row, key: null } : { query: null, key });
    app.look({ query: row, key });
    app.say(`match ${search.at + 1} of ${search.length}, token ${token}`);
    arrive();
  }

  /** Shows the match one is at. */
  function arrive() {
    const n = search.length;
    found.textContent = !search.sought ? "" : n ? `${count(search.at + 1)} of ${count(n)}` : "no match";
    if (n) roll.reveal(search.token);
    roll.render();
    paint();
  }

  // -- the rest of the page --------------------------------------------------------------------------------

  const offHover = app.on("hover", () => {
    clearTimeout(settling);
    const hover = app.hover;
    paint();
    if (!hover || hover.from === "text") {
      want();
      return;
    }
    // A pointer that crosses the map would make the text race: it follows where the pointer rests.
    settling = setTimeout(() => {
      want();
      const token = reading() ? (hover.key ?? (hover.query === null ? null : hover.query + offset)) : hover.query === null ? hover.key : hover.query + offset;
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
    paint();
  }

  function swatch() {
    const colour = /** @type {CanvasRenderingContext2D} */ (bar.getContext("2d"));
    shades.paper.forEach((paper, at) => {
      colour.fillStyle = paper;
      colour.fillRect(at, 0, 1, 1);
    });
  }

  swatch();
  tell();
  const start = reading() ? app.state.query : app.state.key;
  if (start !== null) roll.kept = reading() ? start + offset : start; // in sight as soon as there is room
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
        // What changed comes into sight; where both did, what the colours are of.
        const query = state.query !== before.query && state.query !== null ? state.query + offset : null;
        const key = state.key !== before.key ? state.key : null;
        const token = reading() ? (query ?? key) : (key ?? query);
        if (token !== null && token !== here) roll.reveal(token);
      }
      paint();
    },
    destroy() {
      offHover();
      offStatus();
      offTheme();
      roll.destroy();
      clearTimeout(settling);
      clearTimeout(resting);
      wanted = null;
    },
  };
}

/**
 * What is printed for each position: its token; where the tape keeps no text its id, or its number.
 *
 * @param {import("./app.js").App} app
 * @param {number} length
 * @returns {readonly string[]}
 */
function labels(app, length) {
  const { tokens, ids } = app;
  if (tokens && tokens.length >= length) return tokens;
  return Array.from({ length }, (_, at) => tokens?.[at] ?? (ids?.[at] === undefined ? ` ${at}` : ` #${ids[at]}`));
}
