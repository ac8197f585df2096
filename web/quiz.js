// The quiz: the questions of `lookbehind quiz`, asked, judged and explained on the page. A seed asks here what it
// asks in the terminal.

import { el, fill } from "./dom.js";
import { KINDS, LETTERS, question } from "./questions.js";
import { runs, spelled } from "./reasons.js";

/** @typedef {import("./questions.js").Question} Question */
/** @typedef {import("./questions.js").Drawing} Drawing */
/** @typedef {import("./questions.js").Grade} Grade */
/** @typedef {{answer: string, grade: Grade}} Given */

const SVG = "http://www.w3.org/2000/svg";
const CELL = 18;
const SEEDS = 10_000;

/** What each kind asks, in a word or two. @type {Record<import("./questions.js").Kind, string>} */
const NAMES = {
  disallowed: "the disallowed product",
  count: "count the keys",
  complete: "the complete list",
  heatmap: "the decoder's map",
  mechanism: "which mechanism",
  debug: "find the wrong cell",
};

/** The seed where the address names none. */
const chance = Math.floor(Math.random() * SEEDS);

/** Answers given so far, by seed, kind and place: kept while the page is open. @type {Map<string, Given>} */
const given = new Map();

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  /** @type {string} what is drawn now */
  let drawn = "";
  /** @type {Question} */
  let asked;
  /** What is chosen for the question with a wrong cell. */
  let cell = "";
  let effect = "";

  const score = el("p", { class: "quiz-score", "data-testid": "quiz-score", "aria-live": "polite" });
  const marks = el("ol", { class: "quiz-marks", "aria-label": "Answers so far" });
  const card = el("section", { class: "quiz-card", "aria-live": "polite", "data-testid": "quiz-question" });
  const kinds = el(
    "select",
    { "aria-label": "Kinds of question", change: () => go({ kind: kinds.value, number: "" }) },
    el("option", { value: "" }, "all kinds in turn"),
    ...KINDS.map((kind) => el("option", { value: kind }, NAMES[kind])),
  );
  const seedField = el("input", {
    type: "number",
    min: 0,
    max: 999_999_999,
    step: 1,
    "aria-label": "Seed",
    change: () => {
      if (/^\d{1,9}$/.test(seedField.value)) go({ seed: seedField.value, number: "" });
      else seedField.value = String(where().seed);
    },
  });
  const fresh = () => go({ seed: String(Math.floor(Math.random() * SEEDS)), number: "" });
  const same = el("p", { class: "quiz-same" });

  parent.append(
    el(
      "article",
      { class: "quiz", "aria-labelledby": "quiz-title" },
      el(
        "header",
        { class: "page-head" },
        el("h1", { id: "quiz-title" }, "The quiz"),
        el("p", {}, "Which products does a pattern compute? Answer, and read the reason off the rule."),
      ),
      el(
        "div",
        { class: "quiz-set" },
        el("label", {}, "Questions ", kinds),
        el("label", {}, "Seed ", seedField),
        el("button", { type: "button", click: fresh }, "New questions"),
        same,
      ),
      el("div", { class: "quiz-tally" }, score, marks),
      card,
    ),
  );

  // The seed that chance chose goes into the address, once the page stands.
  queueMicrotask(() => {
    const { page, more } = app.state;
    if (page === "quiz" && more.seed === undefined) app.set({ more: { ...more, seed: String(chance) } });
  });

  /** @param {Record<string, string>} patch */
  function go(patch) {
    const more = { ...app.state.more, ...patch };
    for (const name of Object.keys(patch)) if (patch[name] === "") delete more[name];
    app.set({ more }, { push: true });
  }

  function where() {
    const { seed, number, kind } = app.state.more;
    /** @param {string | undefined} text */
    const whole = (text) => (text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : null);
    const chosen = KINDS.find((one) => one === kind);
    return { seed: whole(seed) ?? chance, number: Math.max(1, whole(number) ?? 1), kind: chosen ?? null };
  }

  /** @param {number} number */
  function name(number) {
    const { seed, kind } = where();
    return `${seed}/${kind ?? ""}/${number}`;
  }

  function draw() {
    const { seed, number, kind } = where();
    const here = name(number);
    tally();
    kinds.value = kind ?? "";
    if (document.activeElement !== seedField) seedField.value = String(seed);
    fill(same, "the same in the terminal: ", el("code", {}, `lookbehind quiz --seed ${seed}${kind ? ` --kind ${kind}` : ""}`));
    if (here === drawn) return;
    drawn = here;
    asked = question(seed, number - 1, kind ? [kind] : KINDS);
    cell = effect = "";
    ask(number);
  }

  function tally() {
    const { number, seed, kind } = where();
    const prefix = `${seed}/${kind ?? ""}/`;
    const mine = [...given].filter(([at]) => at.startsWith(prefix));
    const right = mine.filter(([, one]) => one.grade.correct).length;
    score.textContent = mine.length ? `${right} of ${mine.length} right` : "No answer yet";
    score.dataset.right = String(right);
    score.dataset.asked = String(mine.length);
    const last = Math.max(number, ...mine.map(([at]) => Number(at.slice(prefix.length))));
    const from = Math.max(1, last - 29);
    fill(
      marks,
      ...Array.from({ length: last - from + 1 }, (_, at) => {
        const one = given.get(prefix + (from + at));
        const state = one ? (one.grade.correct ? "right" : "wrong") : "open";
        return el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              class: state,
              "aria-label": `question ${from + at}: ${state === "open" ? "not answered" : state}`,
              "aria-current": from + at === number ? "step" : null,
              click: () => go({ number: from + at === 1 ? "" : String(from + at) }),
            },
            one ? (one.grade.correct ? "✓" : "✗") : "·",
          ),
        );
      }),
    );
  }

  /** @param {number} number */
  function ask(number) {
    const told = el("div", { class: "quiz-told" });
    const before = given.get(drawn);
    fill(
      card,
      el("p", { class: "quiz-kind" }, `Question ${number}`, el("span", {}, NAMES[asked.kind])),
      el("h2", { class: "quiz-prompt", tabindex: -1 }, ...coded(asked.prompt)),
      ways(before),
      told,
    );
    card.dataset.kind = asked.kind;
    if (before) tell(told, before);
  }

  /** The ways to answer. @param {Given | undefined} before */
  function ways(before) {
    if (asked.kind === "count") return counting(before);
    if (asked.kind === "debug") return finding(before);
    const choices = asked.options.length ? asked.options : asked.drawings;
    const buttons = choices.map((one, at) => {
      const letter = LETTERS[at];
      const state = before ? (letter === asked.answer ? "right" : letter === before.answer ? "wrong" : "other") : "";
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
            click: () => judge(letter),
          },
          el("b", { class: "letter" }, letter),
          typeof one === "string" ? el("span", { class: "option" }, ...coded(optional(one))) : picture(one),
        ),
      );
    });
    return el("ol", { class: asked.options.length ? "quiz-options" : "quiz-drawings", "aria-label": "Options" }, ...buttons);
  }

  /** @param {Given | undefined} before */
  function counting(before) {
    const field = el("input", {
      type: "number",
      inputmode: "numeric",
      min: 0,
      "aria-label": "How many keys",
      disabled: Boolean(before),
      value: before?.answer ?? "",
    });
    return el(
      "form",
      {
        class: "quiz-form",
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          judge(field.value);
        },
      },
      el("label", {}, "keys ", field),
      el("button", { type: "submit", class: "primary", disabled: Boolean(before) }, "Check"),
    );
  }

  /** @param {Given | undefined} before */
  function finding(before) {
    const [rightQuery, rightKey] = asked.answer.split(" ");
    const [drawing] = asked.drawings;
    /** @param {number} query @param {number} key */
    const cellClass = (query, key) => {
      const here = `${query} ${key}`;
      if (before && here === `${rightQuery} ${rightKey}`) return "found";
      return (before ? before.answer.startsWith(`${here} `) : cell === here) ? "chosen" : null;
    };
    const body = drawing.map((row, query) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, `q${query}`),
        ...row.map((on, key) =>
          el(
            "td",
            { class: on ? "on" : "off" },
            el("button", {
              type: "button",
              class: cellClass(query, key),
              "data-cell": `${query} ${key}`,
              "aria-label": `q${query}·k${key}, ${on ? "computed" : "not computed"}`,
              "aria-pressed": String(cell === `${query} ${key}`),
              disabled: Boolean(before),
              click: () => {
                cell = `${query} ${key}`;
                for (const other of card.querySelectorAll("[data-cell]")) {
                  const chosen = /** @type {HTMLElement} */ (other).dataset.cell === cell;
                  other.classList.toggle("chosen", chosen);
                  other.setAttribute("aria-pressed", String(chosen));
                }
              },
            }),
          ),
        ),
      ),
    );
    /** @param {string} name @param {string} words */
    const radio = (name, words) =>
      el(
        "label",
        {},
        el("input", {
          type: "radio",
          name: "effect",
          value: name,
          disabled: Boolean(before),
          checked: before ? before.answer.endsWith(name) : effect === name,
          change: () => (effect = name),
        }),
        ` ${words}`,
      );
    return el(
      "form",
      {
        class: "quiz-form quiz-debug",
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          if (!cell || !effect) {
            refuse(cell ? "Is it a leak or a loss?" : "Click the wrong cell first.");
            return;
          }
          judge(`${cell} ${effect}`);
        },
      },
      el(
        "table",
        { class: "quiz-mask" },
        el("caption", { class: "unseen" }, "The mask: rows are queries, columns are keys"),
        el(
          "thead",
          {},
          el("tr", {}, el("td", {}), ...drawing[0].map((_, key) => el("th", { scope: "col" }, `k${key}`))),
        ),
        el("tbody", {}, ...body),
      ),
      el(
        "fieldset",
        {},
        el("legend", { class: "unseen" }, "What the wrong cell does"),
        radio("leak", "a leak: a forbidden product is computed"),
        radio("loss", "a loss: an allowed product is hidden"),
        el("button", { type: "submit", class: "primary", disabled: Boolean(before) }, "Check"),
      ),
    );
  }

  /** @param {string} answer */
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
    ask(where().number);
    const next = card.querySelector("button.next");
    if (next instanceof HTMLElement) next.focus();
  }

  /** @param {string} words */
  function refuse(words) {
    const told = card.querySelector(".quiz-told");
    if (told) fill(told, el("p", { class: "quiz-refused", role: "alert" }, words));
  }

  /** @param {Element} place @param {Given} one */
  function tell(place, { grade }) {
    const { number } = where();
    const letter = asked.expects === "a letter" && !grade.correct ? ` The answer is ${asked.answer}.` : "";
    fill(
      place,
      el(
        "p",
        { class: grade.correct ? "verdict right" : "verdict wrong", "data-testid": "quiz-verdict" },
        el("b", {}, grade.correct ? "Right." : `No.${letter}`),
        " ",
        el("span", { "data-testid": "quiz-reason" }, ...coded(grade.reason)),
      ),
      el(
        "button",
        { type: "button", class: "next primary", click: () => go({ number: String(number + 1) }) },
        "Next question",
      ),
    );
  }

  /** A letter on the keyboard answers. @param {KeyboardEvent} event */
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
    if (event.target instanceof HTMLSelectElement) return;
    const button = card.querySelector(`[data-letter="${/^[a-e]$/.test(event.key) ? event.key : "?"}"]`);
    if (button instanceof HTMLButtonElement) {
      event.preventDefault();
      event.stopPropagation(); // a letter means an answer here, given or not
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
    },
  };
}

/** A mechanism's pattern is code: `prefix: causal | first(3)`. @param {string} option */
function optional(option) {
  const at = option.indexOf(": ");
  return at < 0 ? option : `${option.slice(0, at + 2)}\`${option.slice(at + 2)}\``;
}

/** Words in which `code` stands between backticks. @param {string} text @returns {(Node | string)[]} */
function coded(text) {
  return text.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

/** A small drawn map; its words for those who hear it. @param {Drawing} rows */
function picture(rows) {
  const n = rows[0].length;
  const svg = document.createElementNS(SVG, "svg");
  const side = n * CELL;
  svg.setAttribute("viewBox", `-1 -1 ${side + 2} ${rows.length * CELL + 2}`);
  svg.setAttribute("role", "img");
  const words = rows.map((row, query) => {
    const keys = row.flatMap((on, key) => (on ? [key] : []));
    return `q${query} reads ${spelled(runs(keys)) || "no key"}`;
  });
  svg.setAttribute("aria-label", words.join("; "));
  svg.append(shape("rect", { class: "frame", x: 0, y: 0, width: side, height: rows.length * CELL }));
  rows.forEach((row, i) =>
    row.forEach((on, j) => {
      if (on) svg.append(shape("rect", { class: "on", x: j * CELL + 1, y: i * CELL + 1, width: CELL - 2, height: CELL - 2 }));
      else svg.append(shape("circle", { class: "off", cx: (j + 0.5) * CELL, cy: (i + 0.5) * CELL, r: 1.4 }));
    }),
  );
  return svg;
}

/** @param {string} name @param {Record<string, string | number>} attributes */
function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
