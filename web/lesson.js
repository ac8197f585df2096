// The lesson: a tiny sentence, a pattern, and every product of every query: which are computed, which never, and why.
// Nothing is asked of a server; the rules are pattern.js.

import { el, fill, visible } from "./dom.js";
import { CAUSAL, PatternError, allowed, format, parse, rows, same } from "./pattern.js";
import { reasons, says, why } from "./reasons.js";

/** @typedef {import("./pattern.js").Pattern} Pattern */

const MOST = 24;
const USUAL = 8;
const SENTENCE =
  "the cat sat on the mat and looked at the bird that sang in the old tree by the wall of our small garden";
const LONGEST_WORD = 12;

/**
 * The patterns to choose from, as they are written for n tokens.
 * @type {readonly {name: string, words: string, of: (n: number) => string}[]}
 */
const CHOICES = [
  { name: "causal", words: "a decoder", of: () => "causal" },
  { name: "window", words: "a sliding window", of: (n) => `causal & window(${Math.min(3, n)})` },
  { name: "prefix", words: "a prefix read both ways", of: (n) => `causal | first(${Math.ceil(n / 3)})` },
  {
    name: "packed",
    words: "documents packed in one row",
    of: (n) => (n < 2 ? "causal & documents(1)" : `causal & documents(${Math.ceil(n / 2)}, ${Math.floor(n / 2)})`),
  },
  { name: "sinks", words: "first keys and a window", of: () => "causal & (window(3) | first(1))" },
  { name: "full", words: "an encoder", of: () => "full" },
];

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  /** What is pointed at: a query, or a query and a key; positions. @type {{query: number, key: number | null} | null} */
  let pointed = null;
  let shown = read(app.state.more);

  const words = el("input", {
    type: "text",
    id: "lesson-words",
    class: "lesson-words",
    maxlength: 400,
    spellcheck: false,
    autocomplete: "off",
    input: () => {
      const n = split(words.value).length;
      keep({ words: words.value, n: String(n || USUAL) });
    },
  });
  const length = el("input", {
    type: "number",
    id: "lesson-n",
    min: 1,
    max: MOST,
    input: () => {
      const n = Number(length.value);
      if (Number.isInteger(n) && n >= 1 && n <= MOST) keep({ n: String(n) });
    },
    change: () => {
      // What is out of range is taken for the nearest that is not.
      const n = Math.round(Number(length.value));
      if (n && n !== shown.n) keep({ n: String(Math.min(MOST, Math.max(1, n))) });
      length.value = String(shown.n);
    },
  });
  const queries = el("input", {
    type: "number",
    id: "lesson-m",
    min: 1,
    input: () => {
      const m = Number(queries.value);
      if (Number.isInteger(m) && m >= 1 && m <= shown.n) keep({ m: m === shown.n ? "" : String(m) });
    },
    change: () => (queries.value = String(shown.m)),
  });
  const rule = el("input", {
    type: "text",
    id: "lesson-rule",
    class: "code lesson-rule",
    spellcheck: false,
    autocomplete: "off",
    maxlength: 300,
    "aria-describedby": "lesson-wrong",
    input: () => keep({ rule: rule.value }),
  });
  const wrong = el("pre", { id: "lesson-wrong", class: "lesson-wrong", role: "alert" });
  const chips = CHOICES.map((choice) =>
    el(
      "button",
      {
        type: "button",
        "data-pattern": choice.name,
        click: () => keep({ rule: choice.of(shown.n) }, true),
      },
      el("b", {}, choice.name),
      el("span", {}, choice.words),
    ),
  );
  const cut = el("p", { class: "lesson-cut", hidden: true });
  const table = el("table", { class: "lesson-map", "data-testid": "lesson-map" });
  const meaning = el("p", { class: "lesson-says" });
  const counts = el("dl", { class: "lesson-counts" });
  const list = el("section", { class: "lesson-query", "aria-live": "polite", "data-testid": "lesson-query" });

  table.addEventListener("pointerover", (event) => point(place(event.target)));
  table.addEventListener("pointerleave", () => point(null));
  table.addEventListener("focusin", (event) => point(place(event.target)));
  table.addEventListener("focusout", () => point(null));
  table.addEventListener("click", (event) => {
    const at = place(event.target);
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
          " of each key it may read. A pattern says which. What it forbids is never computed.",
        ),
      ),
      el(
        "div",
        { class: "lesson-set", role: "group", "aria-label": "Sentence and pattern" },
        el("label", { for: "lesson-words" }, "Sentence"),
        words,
        el(
          "span",
          { class: "lesson-lengths" },
          el("label", { for: "lesson-n" }, "tokens"),
          length,
          el("label", { for: "lesson-m" }, "queries (the last)"),
          queries,
        ),
        cut,
        el("span", { class: "lesson-label", id: "lesson-patterns" }, "Pattern"),
        el("div", { class: "lesson-chips", role: "group", "aria-labelledby": "lesson-patterns" }, ...chips),
        el("label", { for: "lesson-rule" }, "as text"),
        el("div", { class: "lesson-typed" }, rule, wrong),
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
            "never computed",
          ),
        ),
        el("div", { class: "lesson-told" }, meaning, counts, list),
      ),
    ),
  );

  /** Keeps the lesson in the address. @param {Record<string, string>} patch */
  function keep(patch, push = false) {
    const more = { ...app.state.more };
    // A preset follows the length: half of eight tokens is not half of five.
    if (patch.n !== undefined && patch.rule === undefined) {
      const preset = CHOICES.find((choice) => choice.of(shown.n) === (more.rule ?? "causal"));
      if (preset) patch.rule = preset.of(Math.min(MOST, Number(patch.n)));
    }
    for (const [name, value] of Object.entries(patch)) {
      if (value === "" && name !== "rule" && name !== "words") delete more[name];
      else more[name] = value;
    }
    if (more.rule === "causal") delete more.rule;
    app.set({ more }, { push });
  }

  /** @param {EventTarget | null} target @returns {{query: number, key: number | null} | null} */
  function place(target) {
    const cell = target instanceof Element ? target.closest("[data-query]") : null;
    if (!(cell instanceof HTMLElement)) return null;
    const key = cell.dataset.key;
    return { query: Number(cell.dataset.query), key: key === undefined ? null : Number(key) };
  }

  /** @param {{query: number, key: number | null} | null} at */
  function point(at) {
    pointed = at;
    mark();
  }

  /** Arrow keys walk the queries. @param {KeyboardEvent} event */
  function step(event) {
    const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    const from = place(event.target);
    if (!by || !from) return;
    event.preventDefault();
    event.stopPropagation();
    const next = table.querySelector(`th[data-query="${from.query + by}"]`);
    if (next instanceof HTMLElement) next.focus();
  }

  function draw() {
    const { n, m, tokens, pattern, reads } = shown;
    if (document.activeElement !== words) words.value = shown.words;
    if (document.activeElement !== length) length.value = String(n);
    if (document.activeElement !== queries) queries.value = String(m);
    if (document.activeElement !== rule) rule.value = shown.rule;
    queries.max = String(n);
    cut.hidden = shown.given <= MOST || app.state.more.words === undefined;
    cut.textContent = `The first ${MOST} of ${shown.given} words: what can still be looked at product by product.`;
    rule.toggleAttribute("aria-invalid", shown.wrong !== null);
    wrong.textContent = shown.wrong ?? "";
    wrong.hidden = shown.wrong === null;
    const text = format(pattern);
    chips.forEach((chip, at) => chip.setAttribute("aria-pressed", String(CHOICES[at].of(n) === text)));

    const first = n - m;
    const body = reads.map((keys, row) => {
      const query = first + row;
      return el(
        "tr",
        { "data-row": query },
        el(
          "th",
          { scope: "row", "data-query": query, tabindex: 0, "aria-label": `query ${query}, ${tokens[query] ?? "no word"}` },
          el("span", { class: "word" }, tokens[query] ? visible(tokens[query], LONGEST_WORD) : ""),
          el("span", { class: "name" }, `q${query}`),
        ),
        ...Array.from({ length: n }, (_, key) => {
          const on = keys.includes(key);
          return el("td", {
            class: on ? "on" : "off",
            "data-query": query,
            "data-key": key,
            "data-product": `q${query}·k${key}`,
            "aria-label": `q${query}·k${key} ${on ? "computed" : "never computed"}`,
          });
        }),
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
          ...Array.from({ length: n }, (_, key) =>
            el(
              "th",
              { scope: "col", "data-column": key },
              el("span", { class: "word" }, tokens[key] ? visible(tokens[key], LONGEST_WORD) : ""),
              el("span", { class: "name" }, `k${key}`),
            ),
          ),
        ),
      ),
      el("tbody", {}, ...body),
    );
    table.dataset.size = n > 14 ? "small" : n > 9 ? "middle" : "large";
    fill(meaning, el("code", {}, text), " ", says(pattern));
    const computed = reads.reduce((sum, keys) => sum + keys.length, 0);
    const never = m * n - computed;
    fill(
      counts,
      el("dt", {}, "computed"),
      el(
        "dd",
        { "data-testid": "lesson-computed", "data-count": computed },
        el("b", {}, String(computed)),
        ` of ${m} × ${n} = ${m * n}`,
        el("span", { class: "lesson-sum" }, sum(shown, computed)),
      ),
      el("dt", {}, "never computed"),
      el(
        "dd",
        { "data-testid": "lesson-never", "data-count": never },
        el("b", {}, String(never)),
        never ? ` · ${Math.round((100 * never) / (m * n))}% of all` : "",
      ),
    );
    mark();
  }

  /** Lights the query that is pointed at or pinned, and lists its products. */
  function mark() {
    const { n, m, tokens, pattern, reads, pinned } = shown;
    const first = n - m;
    const at = pointed && pointed.query >= first && pointed.query < n ? pointed : null;
    const query = at?.query ?? pinned ?? n - 1;
    const keys = reads[query - first];
    for (const row of table.querySelectorAll("tbody tr")) {
      const here = Number(/** @type {HTMLElement} */ (row).dataset.row) === query;
      row.classList.toggle("lit", here);
      row.classList.toggle("pinned", Number(/** @type {HTMLElement} */ (row).dataset.row) === pinned);
    }
    for (const head of table.querySelectorAll("th[data-column]")) {
      const key = Number(/** @type {HTMLElement} */ (head).dataset.column);
      head.classList.toggle("lit", keys.includes(key));
      head.classList.toggle("here", key === at?.key);
    }
    const forbidden = Array.from({ length: n }, (_, key) => key).filter((key) => !keys.includes(key));
    /** @param {number} key @param {string} kind */
    const product = (key, kind) =>
      el("li", { class: key === at?.key ? `${kind} here` : kind }, `q${query}·k${key}`);
    const whole = keys.map((key) => `q${query}·k${key}`).join(" ");
    const key = at?.key ?? null;
    fill(
      list,
      el(
        "h2",
        {},
        `q${query}`,
        tokens[query] ? el("span", { class: "token" }, visible(tokens[query], 24)) : "",
        el("small", {}, `reads ${keys.length} ${keys.length === 1 ? "key" : "keys"}`),
      ),
      keys.length
        ? el(
            "p",
            { class: "products", "data-testid": "lesson-products", "data-products": `q${query}: ${whole}` },
            el("span", { class: "lead" }, `q${query}:`),
            " ",
            el("ul", { "aria-label": `products of query ${query}` }, ...keys.map((one) => product(one, "on"))),
          )
        : el("p", { class: "products", "data-testid": "lesson-products", "data-products": `q${query}:` }, "none: the output here is 0"),
      forbidden.length
        ? el(
            "div",
            { class: "forbidden", "data-testid": "lesson-forbidden" },
            el("h3", {}, "never computed"),
            el(
              "ul",
              { "aria-label": `products never computed for query ${query}` },
              ...forbidden.map((one) => product(one, "off")),
            ),
            el("ul", { class: "why" }, ...reasons(pattern, query, n).map(({ text }) => el("li", {}, text))),
          )
        : el("p", { class: "forbidden none" }, "Nothing is forbidden to this query."),
      key === null
        ? ""
        : el(
            "p",
            { class: "cell", "data-testid": "lesson-cell" },
            el("b", {}, `q${query}·k${key}`),
            ` is ${allowed(pattern, query, key) ? "computed" : "never computed"}: ${why(pattern, query, key)}.`,
          ),
    );
  }

  draw();
  return {
    update(state, before) {
      if (state.more === before.more) return;
      shown = read(state.more, shown.pattern);
      draw();
    },
    destroy() {},
  };
}

/**
 * The lesson that the address names; where its pattern is no pattern, the last that was one, and what is wrong.
 *
 * @param {Readonly<Record<string, string>>} more
 * @param {Pattern} last
 */
function read(more, last = CAUSAL) {
  const given = more.words ?? SENTENCE;
  const named = split(given);
  const n = within(more.n, 1, MOST, more.words === undefined ? USUAL : Math.max(1, named.length));
  const m = within(more.m, 1, n, n);
  const rule = more.rule ?? "causal";
  let pattern = last;
  let wrong = null;
  /** @type {number[][]} */
  let reads;
  try {
    const typed = parse(rule);
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
  return { words: given, given: given.split(/\s+/).filter(Boolean).length, tokens: named.slice(0, n), n, m, rule, pattern, reads, wrong, pinned: at < 0 ? null : at };
}

/** @param {string} text */
function split(text) {
  return text.split(/\s+/).filter(Boolean).slice(0, MOST);
}

/** @param {string | undefined} text @param {number} low @param {number} high @param {number} otherwise */
function within(text, low, high, otherwise) {
  return text !== undefined && /^\d{1,3}$/.test(text) ? Math.min(Math.max(Number(text), low), high) : otherwise;
}

/** How the count comes about: one term per query. @param {ReturnType<typeof read>} shown @param {number} total */
function sum({ reads, pattern, n, m }, total) {
  if (m < 2) return "";
  const terms = reads.map((keys) => String(keys.length));
  const written = (m > 10 ? [...terms.slice(0, 3), "…", terms[m - 1]] : terms).join(" + ");
  const formula = same(pattern, CAUSAL) && m === n ? ` = n(n + 1)/2 = ${n}·${n + 1}/2` : "";
  return `${written}${formula} =\u00a0${total}`;
}
