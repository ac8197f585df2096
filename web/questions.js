// Questions: those of `lookbehind quiz`, kind by kind, from the same seed, judged with the same words.
//
// Nothing about right and wrong is written down here. Every question keeps the rows it was made from; what is
// right, that every other option is wrong, and why, is read off them.

import { CAUSAL, FULL, and, diagonal, documents, first, format, not, or, rows, same, windowOf } from "./pattern.js";
import { Random } from "./random.js";
import { meaning, runs, spelled, why } from "./reasons.js";

/** @typedef {import("./pattern.js").Pattern} Pattern */
/** @typedef {{correct: boolean, reason: string}} Grade */
/** A picture of which products are computed: rows of booleans. @typedef {boolean[][]} Drawing */
/** @typedef {"disallowed" | "count" | "complete" | "heatmap" | "mechanism" | "debug"} Kind */
/**
 * A question. `grade` takes a letter, a number, or "query key leak|loss", as `expects` says; it throws a
 * RangeError, whose message says what is needed, if the answer has not that form.
 * @typedef {object} Question
 * @property {Kind} kind
 * @property {string} prompt what is asked; `code` stands between backticks
 * @property {string[]} options what there is to choose from; empty where the answer is a number or a cell
 * @property {Drawing[]} drawings one per option, or one that belongs to the prompt
 * @property {string} answer the right one
 * @property {string} expects
 * @property {(answer: string) => Grade} grade
 */

export const LETTERS = "abcde";
/** @type {Kind[]} */
export const KINDS = ["disallowed", "count", "complete", "heatmap", "mechanism", "debug"];

/** A pattern at some lengths. */
class Setting {
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
    return this.rows.flatMap((keys, row) =>
      range(0, this.nKeys)
        .filter((key) => keys.includes(key) === computed)
        .map((key) => /** @type {[number, number]} */ ([row + this.offset, key])),
    );
  }

  /** @returns {Drawing} */
  drawing() {
    return this.rows.map((keys) => range(0, this.nKeys).map((key) => keys.includes(key)));
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
  against(chosen) {
    const theirs = new Setting(chosen, this.nQueries, this.nKeys);
    const extra = theirs.pairs(true).find(([query, key]) => !this.allows(query, key));
    const pair = extra ?? this.pairs(true).find(([query, key]) => !theirs.allows(query, key));
    if (!pair) throw new Error(`quiz: ${format(chosen)} and ${format(this.pattern)} agree at these lengths`);
    const [query, key] = pair;
    const said = extra ? "It computes" : "It never computes";
    return `${said} q${query}·k${key}, but ${why(this.pattern, query, key)}.`;
  }
}

/**
 * The question at a place of a quiz: the kinds in turn, as `lookbehind quiz --seed` asks them.
 * @param {number} seed
 * @param {number} index counted from 0
 * @param {readonly Kind[]} kinds
 * @returns {Question}
 */
export function question(seed, index, kinds = KINDS) {
  const make = { disallowed, count, complete, heatmap, mechanism, debug };
  return make[kinds[index % kinds.length]](new Random(`${seed}:${index}`));
}

/**
 * A pattern at some lengths, and the sentence that sets the scene.
 * @param {Random} rng
 * @param {boolean} decode
 * @returns {{setting: Setting, scene: string}}
 */
function instance(rng, decode = true) {
  const n = rng.whole(4, 8);
  const cut = rng.whole(2, n - 2);
  const pattern = rng.choice([
    ...[CAUSAL, CAUSAL, CAUSAL, CAUSAL],
    and(CAUSAL, windowOf(rng.whole(2, 3))),
    or(CAUSAL, first(cut)),
    and(CAUSAL, documents([cut, n - cut])),
    and(CAUSAL, or(windowOf(2), first(1))),
  ]);
  const named = `\`${format(pattern)}\``;
  const gloss = same(pattern, CAUSAL) ? "" : `: query i reads the keys ${meaning(pattern)}`;
  if (decode && !same(pattern, or(CAUSAL, first(cut))) && rng.random() < 0.25) {
    const scene =
      `A decoder's cache holds the keys k0…k${n - 1}. It computes one step, q${n - 1}, ` +
      `with ${named}${gloss}.`;
    return { setting: new Setting(pattern, 1, n), scene };
  }
  const scene = same(pattern, CAUSAL)
    ? `A decoder-only model reads ${n} tokens (${named}).`
    : `A model reads ${n} tokens with ${named}${gloss}.`;
  return { setting: new Setting(pattern, n), scene };
}

/** @param {Random} rng @returns {Question} */
function disallowed(rng) {
  let made, open, banned;
  do {
    made = instance(rng, false);
    open = made.setting.pairs(true);
    banned = made.setting.pairs(false);
  } while (open.length < 3 || !banned.length);
  const { setting, scene } = made;
  const wrong = rng.choice(banned);
  // The mirror of the wrong product is the tempting one: it tests which index is the query.
  const tempting = open
    .filter(([i, j]) => (i === wrong[1] && j === wrong[0]) || i === wrong[0])
    .slice(0, 2);
  const rest = open.filter((pair) => !tempting.includes(pair));
  const others = rng.sample(rest, rest.length);
  const pairs = [wrong, ...[...tempting, ...others].slice(0, 3)];
  rng.shuffle(pairs);
  return chosen({
    kind: "disallowed",
    prompt: `${scene} Which of these products is disallowed?`,
    options: pairs.map(([i, j]) => `q${i}·k${j}`),
    drawings: [],
    right: pairs.indexOf(wrong),
    reason: (given, right) => {
      const told = setting.because(...pairs[right]);
      return given === right ? `${told}.` : `${setting.because(...pairs[given])}. But ${told}.`;
    },
  });
}

/** @param {Random} rng @returns {Question} */
function count(rng) {
  const { setting, scene } = instance(rng);
  const query = setting.offset + rng.below(setting.nQueries);
  const keys = setting.keys(query);
  const told = `q${query} reads ${spelled(runs(keys)) || "no key"}: ${howMany(keys.length)}`;
  return {
    kind: "count",
    prompt: `${scene} How many keys does q${query} read?`,
    options: [],
    drawings: [],
    answer: String(keys.length),
    expects: "a number",
    grade(answer) {
      if (!/^-?[0-9]{1,9}$/.test(answer.trim())) throw new RangeError("a whole number is needed");
      const given = Number(answer);
      if (given === keys.length) return { correct: true, reason: `${told}.` };
      const wrong = `${told}, not ${given}.`;
      if (given < keys.length) {
        return { correct: false, reason: `${wrong} ${setting.because(query, keys[keys.length - 1])}.` };
      }
      const spare = range(0, setting.nKeys).filter((key) => !keys.includes(key));
      const missing = spare.find((key) => key > query) ?? spare[0];
      const hint =
        missing === undefined
          ? `There are only ${howMany(keys.length)}.`
          : `${setting.because(query, missing)}.`;
      return { correct: false, reason: `${wrong} ${hint}` };
    },
  };
}

/** @param {Random} rng @returns {Question} */
function complete(rng) {
  for (;;) {
    const { setting, scene } = instance(rng);
    const query = setting.offset + rng.below(setting.nQueries);
    const n = setting.nKeys;
    const keys = setting.keys(query);
    const tempting = [
      range(0, n),
      range(0, query + 1),
      range(0, query),
      range(query, n),
      range(0, Math.min(query + 2, n)),
      keys.slice(1),
      keys.slice(0, -1),
      [query],
      [...new Set([...keys, ...rng.sample(range(0, n), 1)])].sort((a, b) => a - b),
    ];
    const named = new Map(tempting.filter((one) => one.length).map((one) => [String(one), one]));
    named.delete(String(keys));
    const wrong = [...named.values()].sort(lexical);
    if (wrong.length < 3) continue;
    const lists = [keys, ...rng.sample(wrong, 3)];
    rng.shuffle(lists);
    return chosen({
      kind: "complete",
      prompt: `${scene} Which list holds every product of q${query} and no other?`,
      options: lists.map((one) => one.map((key) => `q${query}·k${key}`).join(" ")),
      drawings: [],
      right: lists.indexOf(keys),
      reason: (given, right) => {
        if (given === right) return `q${query} reads ${spelled(runs(keys))} and no other key.`;
        const extra = lists[given].find((key) => !keys.includes(key));
        const missing = keys.find((key) => !lists[given].includes(key));
        const faults = [];
        if (extra !== undefined) {
          faults.push(`${setting.because(query, extra)}, so it does not belong in the list`);
        }
        if (missing !== undefined) faults.push(`${setting.because(query, missing)}, and the list lacks it`);
        return `${faults.join("; ")}.`;
      },
    });
  }
}

/** @type {[Pattern, string][]} */
const HEATMAPS = [
  [CAUSAL, "the lower triangle"],
  [FULL, "the full square of an encoder"],
  [or(not(CAUSAL), diagonal(0)), "the upper triangle, the decoder's turned about"],
  [diagonal(0), "the diagonal, where a token reads only itself"],
];

/** @param {Random} rng @returns {Question} */
function heatmap(rng) {
  const n = rng.whole(4, 8);
  const shown = rng.sample(HEATMAPS, HEATMAPS.length);
  const setting = new Setting(CAUSAL, n);
  return chosen({
    kind: "heatmap",
    prompt:
      "Rows are queries, columns are keys, ■ is a weight above 0. Which heatmap is a decoder-only model's?",
    options: [],
    drawings: shown.map(([pattern]) => new Setting(pattern, n).drawing()),
    right: shown.findIndex(([pattern]) => same(pattern, CAUSAL)),
    reason: (given, right) =>
      given === right
        ? "The lower triangle: query i reads the keys at or before its own position, and no other."
        : `That is ${shown[given][1]}. ${setting.against(shown[given][0])}`,
  });
}

/** @param {Random} rng @returns {Question} */
function mechanism(rng) {
  const n = rng.whole(7, 10);
  const prefix = rng.whole(3, n - 3);
  const size = rng.whole(2, 4);
  const cut = rng.whole(3, n - 3);
  /** @type {{pattern: Pattern, name: string, tasks: string[]}[]} */
  const mechanisms = [
    {
      pattern: CAUSAL,
      name: "causal",
      tasks: [
        "A model writes a story one token at a time; each token may depend on all that was written " +
          "before it, however far back.",
        "A code model is trained to predict every next token of a file from everything before it in the file.",
      ],
    },
    {
      pattern: FULL,
      name: "bidirectional",
      tasks: [
        "A model decides whether a finished review is friendly; every token may use the words on both " +
          "sides of it.",
        "Some words of a finished sentence are blanked out; a model fills each blank from all that stands " +
          "before and after it.",
      ],
    },
    {
      pattern: or(CAUSAL, first(prefix)),
      name: "prefix",
      tasks: [
        `A model reads a prompt of ${prefix} tokens in both directions, then writes the answer one token at a time.`,
        `The ${prefix} patches of an image may all see one another; the caption after them is generated left ` +
          "to right.",
      ],
    },
    {
      pattern: and(CAUSAL, windowOf(size)),
      name: "sliding window",
      tasks: [
        `A model generates from an endless log; its cache holds ${size} keys, so that a token reads only the ` +
          `last ${size} positions, its own included.`,
        "A generating layer must cost the same at every step, however long the text: each token reads itself " +
          `and at most ${size - 1} before it.`,
      ],
    },
    {
      pattern: and(CAUSAL, documents([cut, n - cut])),
      name: "packed documents",
      tasks: [
        `Two texts of ${cut} and ${n - cut} tokens fill one training row; each is learnt token after token, as ` +
          "if it were alone.",
        `Prompts of ${cut} and ${n - cut} tokens are laid end to end to avoid padding; each is continued left ` +
          "to right, and none may see the other.",
      ],
    },
  ];
  const shown = rng.sample(mechanisms, mechanisms.length);
  const right = rng.choice(shown);
  const setting = new Setting(right.pattern, n);
  return chosen({
    kind: "mechanism",
    prompt: `${rng.choice(right.tasks)} Which mechanism fits?`,
    options: shown.map(({ name, pattern }) => (pattern === CAUSAL ? name : `${name}: ${format(pattern)}`)),
    drawings: [],
    right: shown.indexOf(right),
    reason: (given) => {
      const pattern = shown[given].pattern;
      if (pattern === right.pattern) {
        return `\`${format(pattern)}\`: query i reads the keys ${meaning(pattern)}; the task asks for that.`;
      }
      return `\`${format(pattern)}\` does not fit. ${setting.against(pattern)}`;
    },
  });
}

/** @param {Random} rng @returns {Question} */
function debug(rng) {
  const { setting, scene } = instance(rng, false);
  const opened = rng.random() < 0.5;
  const [query, key] = rng.choice(setting.pairs(!opened));
  const drawing = setting.drawing();
  drawing[query][key] = opened;
  const reason = why(setting.pattern, query, key);
  const told = opened
    ? `q${query}·k${key} is open, but ${reason}. A leak: the output at position ${query} would depend on ` +
      `token ${key}, which it must not see.`
    : `q${query}·k${key} is hidden, but ${reason}. A loss: position ${query} would not read token ${key}, ` +
      "which it may see.";
  return {
    kind: "debug",
    prompt:
      `${scene} But one cell of its mask is wrong. Which one? Is it a leak (a forbidden product is computed) ` +
      "or a loss (an allowed one is hidden)?",
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
      if ((found[3] === "leak") !== opened) {
        return { correct: false, reason: `The cell is right, the effect is not. ${told}` };
      }
      return { correct: true, reason: told };
    },
  };
}

/**
 * A question answered by a letter.
 * @param {{kind: Kind, prompt: string, options: string[], drawings: Drawing[], right: number,
 *   reason: (given: number, right: number) => string}} made
 * @returns {Question}
 */
function chosen({ right, reason, ...made }) {
  const letters = LETTERS.slice(0, made.options.length || made.drawings.length);
  return {
    ...made,
    answer: letters[right],
    expects: "a letter",
    grade(answer) {
      const given = letters.indexOf(answer.trim().toLowerCase() || "?");
      if (given < 0) throw new RangeError(`one of the letters ${[...letters].join(", ")} is needed`);
      return { correct: given === right, reason: reason(given, right) };
    },
  };
}

/** @param {number} from @param {number} to */
function range(from, to) {
  return Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at);
}

/** The order of lists, item by item. @param {number[]} a @param {number[]} b */
function lexical(a, b) {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? a.length - b.length : at >= b.length ? 1 : a[at] - b[at];
}

/** @param {number} count */
function howMany(count) {
  return `${count} key${count === 1 ? "" : "s"}`;
}
