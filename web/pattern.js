// Patterns: which query may read which key, from the same text that `lookbehind.parse` reads.
//
//     either  = both { "|" both }
//     both    = single { "&" single }
//     single  = "~" single | "(" either ")" | name [ "(" number { "," number } ")" ]
//
// `~` binds strongest, then `&`, then `|`. Written for the small n that a person looks at cell by cell; for a
// tape the server knows the spans. tests/conformance/patterns.json holds this file and every engine to the
// same rows.

/**
 * @typedef {{kind: "causal"} | {kind: "full"}
 *   | {kind: "window", size: number} | {kind: "first", count: number} | {kind: "chunk", size: number}
 *   | {kind: "documents", lengths: number[]} | {kind: "diagonal", distance: number}
 *   | {kind: "and", parts: Pattern[]} | {kind: "or", parts: Pattern[]} | {kind: "not", part: Pattern}} Pattern
 */

/** A text that is no pattern, or a pattern that does not reach the lengths asked for. */
export class PatternError extends Error {
  /**
   * @param {string} why the reason, in one clause
   * @param {number | null} column where in the text, counted from 0; null where no place is to blame
   */
  constructor(why, column = null) {
    super(column === null ? why : `column ${column + 1}: ${why}`);
    this.name = "PatternError";
    this.why = why;
    this.column = column;
  }
}

/** name -> how it is written */
const WRITTEN = /** @type {const} */ ({
  causal: "causal",
  full: "full",
  window: "window(size)",
  first: "first(count)",
  chunk: "chunk(size)",
  documents: "documents(length, ...)",
  diagonal: "diagonal(distance)",
});

/** The patterns there are, as they are written. */
const PRIMITIVES = Object.values(WRITTEN);

const DEPTH = 50; // far beyond any pattern a person writes; keeps hostile text off the call stack's limit
const DIGITS = 15; // whole numbers of a double
const SHOWN = 60;
const SPACE = " \\t\\n\\r\\f\\v";
const TOKEN = new RegExp(`[A-Za-z_]+|[+-]?[0-9]+|[^${SPACE}]`, "gu");

/** @type {Pattern} */
export const CAUSAL = { kind: "causal" };
/** @type {Pattern} */
export const FULL = { kind: "full" };
/** @param {number} size @returns {Pattern} */
export const windowOf = (size) => ({ kind: "window", size });
/** @param {number} count @returns {Pattern} */
export const first = (count) => ({ kind: "first", count });
/** @param {number[]} lengths @returns {Pattern} */
export const documents = (lengths) => ({ kind: "documents", lengths });
/** @param {number} distance @returns {Pattern} */
export const diagonal = (distance) => ({ kind: "diagonal", distance });
/** @param {Pattern} part @returns {Pattern} */
export const not = (part) => ({ kind: "not", part });
/** @param {...Pattern} parts @returns {Pattern} */
export const and = (...parts) => ({ kind: "and", parts: parts.flatMap((p) => (p.kind === "and" ? p.parts : [p])) });
/** @param {...Pattern} parts @returns {Pattern} */
export const or = (...parts) => ({ kind: "or", parts: parts.flatMap((p) => (p.kind === "or" ? p.parts : [p])) });

/**
 * The pattern that `text` writes: the inverse of `format`.
 * @param {string} text
 * @returns {Pattern}
 * @throws {PatternError} the text is no pattern; `column` points at the place
 */
export function parse(text) {
  return new Parser(text).parse();
}

/** Recursive descent over the tokens of one text. */
class Parser {
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
    /** @type {Pattern} */
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
    const [number] = numbers;
    const least = { window: 1, first: 0, chunk: 1, documents: 1, diagonal: -Infinity }[name];
    const small = numbers.find((one) => one < least);
    if (small !== undefined) {
      this.at = start;
      const field = { window: "size", first: "count", chunk: "size", documents: "length", diagonal: "" }[name];
      this.fail(`${name} ${field}: a whole number of at least ${least} is needed; got ${small}`);
    }
    if (name === "window" || name === "chunk") return { kind: name, size: number };
    if (name === "first") return first(number);
    return name === "documents" ? documents(numbers) : diagonal(number);
  }

  /** @param {string} written @returns {number} */
  number(written) {
    const token = this.peek();
    if (!/^[+-]?[0-9]+$/.test(token)) this.fail(`a whole number was expected: it is written ${written}`);
    if (token.length > DIGITS) {
      this.fail(`a number of ${token.length} digits is too large; at most ${DIGITS} digits`);
    }
    this.at += 1;
    return Number(token) + 0; // -0 is 0
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
  fail(why) {
    throw new PatternError(why, this.tokens[this.at]?.index ?? this.text.length);
  }
}

/** @param {string} name @returns {name is keyof typeof WRITTEN} */
function isName(name) {
  return Object.hasOwn(WRITTEN, name);
}

/** @param {string} name what stands where a pattern was expected */
function unknown(name) {
  const known = PRIMITIVES.join(", ");
  if (!name) return `the text ends where a pattern was expected: one of ${known}`;
  const [near, likeness] = Object.keys(WRITTEN)
    .map((one) => /** @type {[string, number]} */ ([one, alike(one, name.toLowerCase())]))
    .reduce((best, one) => (one[1] > best[1] ? one : best));
  const hint = likeness >= 0.6 ? `; did you mean '${near}'?` : `; the patterns are ${known}`;
  return `'${name.slice(0, SHOWN)}' is no pattern${hint}`;
}

/** How alike two words are, 0 to 1: the letters they share in order. @param {string} a @param {string} b */
function alike(a, b) {
  const cut = b.slice(0, SHOWN);
  let row = new Array(cut.length + 1).fill(0);
  for (const letter of a) {
    const next = [0];
    for (let at = 0; at < cut.length; at++) {
      next.push(letter === cut[at] ? row[at] + 1 : Math.max(row[at + 1], next[at]));
    }
    row = next;
  }
  return (2 * row[cut.length]) / (a.length + b.length);
}

/**
 * The text of a pattern, as Python's `repr` writes it.
 * @param {Pattern} pattern
 * @returns {string}
 */
export function format(pattern) {
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
      return pattern.parts.map((part) => (part.kind === "or" ? `(${format(part)})` : format(part))).join(" & ");
    case "or":
      return pattern.parts.map(format).join(" | ");
    case "not":
      return pattern.part.kind === "and" || pattern.part.kind === "or"
        ? `~(${format(pattern.part)})`
        : `~${format(pattern.part)}`;
  }
}

/** Whether two patterns are the same value. @param {Pattern} a @param {Pattern} b */
export function same(a, b) {
  return format(a) === format(b);
}

/**
 * Whether the query at position `i` reads the key at position `j`.
 * @param {Pattern} pattern
 * @param {number} i
 * @param {number} j
 * @returns {boolean}
 */
export function allowed(pattern, i, j) {
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

/** @param {number[]} lengths @param {number} position */
function documentOf(lengths, position) {
  let end = 0;
  return lengths.findIndex((length) => (end += length) > position);
}

/**
 * Refuses lengths that the pattern does not reach: documents that end before the last position.
 * @param {Pattern} pattern
 * @param {number} positions one more than the last position asked about
 * @throws {PatternError}
 */
export function check(pattern, positions) {
  if (pattern.kind === "documents") {
    const sum = pattern.lengths.reduce((a, b) => a + b, 0);
    if (positions > sum) {
      throw new PatternError(
        `documents: the lengths add up to ${sum} positions, but ${positions} were asked for; ` +
          "add the missing documents",
      );
    }
  } else if (pattern.kind === "not") {
    check(pattern.part, positions);
  } else if (pattern.kind === "and" || pattern.kind === "or") {
    pattern.parts.forEach((part) => check(part, positions));
  }
}

/**
 * The keys that each query reads.
 * @param {Pattern} pattern
 * @param {number} nQueries
 * @param {number} nKeys as many as queries unless given
 * @param {number} offset position of the first query; the queries are the last positions unless given
 * @returns {number[][]} by row, ascending
 * @throws {PatternError} the pattern does not reach these lengths
 */
export function rows(pattern, nQueries, nKeys = nQueries, offset = nKeys - nQueries) {
  if (nQueries > 0) check(pattern, Math.max(nKeys, offset + nQueries));
  return Array.from({ length: nQueries }, (_, row) =>
    Array.from({ length: nKeys }, (_, key) => key).filter((key) => allowed(pattern, offset + row, key)),
  );
}
