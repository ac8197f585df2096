// Reasons: in words, what a pattern reads, and why it computes one product and not another. The words are
// those of `lookbehind explain` and `lookbehind quiz`.

import { count } from "./dom.js";
import { allowed, format } from "./pattern.js";

/** @typedef {import("./pattern.js").Pattern} Pattern */
/** Half-open, ascending, disjoint. @typedef {[number, number][]} Intervals */
/** A verb in the singular, and the rest. @typedef {[string, string]} Clause */

/** @type {Record<string, string>} */
const PLURAL = { comes: "come", is: "are", lies: "lie" };

/**
 * Why the pattern computes q_query·k_key, or why it does not.
 * @param {Pattern} pattern
 * @param {number} query
 * @param {number} key
 */
export function why(pattern, query, key) {
  return sentence([[key, key + 1]], clauses(pattern, query, key));
}

/**
 * Why the pattern forbids the keys that it forbids to `query`: one reason for all the keys that share it,
 * the keys ahead first.
 * @param {Pattern} pattern
 * @param {number} query
 * @param {number} nKeys
 * @returns {{keys: number[], text: string}[]}
 */
export function reasons(pattern, query, nKeys) {
  /** @type {Map<string, {keys: number[], clauses: Clause[]}>} */
  const grouped = new Map();
  const keys = Array.from({ length: nKeys }, (_, key) => key).filter((key) => !allowed(pattern, query, key));
  for (const key of [...keys.filter((key) => key > query), ...keys.filter((key) => key <= query)]) {
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

/** @param {Intervals} keys @param {Clause[]} clauses */
function sentence(keys, clauses) {
  const one = keys.reduce((sum, [start, stop]) => sum + stop - start, 0) === 1;
  let before = "";
  const said = clauses.map(([verb, rest]) => {
    const text = verb === before ? rest : `${one ? verb : PLURAL[verb]} ${rest}`; // a verb is not said twice
    before = verb;
    return text;
  });
  return `${spelled(keys, " and ")} ${said.join(" and ")}`;
}

/**
 * A pattern in words: which keys query i reads.
 * @param {Pattern} pattern
 * @returns {string}
 */
export function meaning(pattern) {
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
      return place(pattern.distance, "its own", "its own position");
    case "and":
      return pattern.parts.map((p) => (p.kind === "or" ? `(${meaning(p)})` : meaning(p))).join(" and ");
    case "or":
      return pattern.parts.map(meaning).join(" or ");
    case "not":
      return pattern.part.kind === "and" || pattern.part.kind === "or"
        ? `not (${meaning(pattern.part)})`
        : `not ${meaning(pattern.part)}`;
  }
}

/** The rule in one sentence. @param {Pattern} pattern */
export function says(pattern) {
  if (pattern.kind === "full") return "Every query reads every key.";
  if (pattern.kind === "not" && pattern.part.kind === "full") return "No query reads any key.";
  return `Query i reads the keys ${meaning(pattern)}.`;
}

/**
 * @param {Pattern} pattern
 * @param {number} query
 * @param {number} key
 * @returns {Clause[]}
 */
function clauses(pattern, query, key) {
  const open = allowed(pattern, query, key);
  switch (pattern.kind) {
    case "and":
    case "or": {
      // What decides is any one part that stands alone against (or for) the key, or else all of them.
      const alone = (pattern.kind === "or") === open;
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
      return [["is", `${open ? "" : "not "}${place(pattern.distance, `q${query}`, `q${query}`)}`]];
  }
}

/** @param {number} distance @param {string} far @param {string} near */
function place(distance, far, near) {
  if (distance === 0) return `at ${near}`;
  const steps = `${count(Math.abs(distance))} position${Math.abs(distance) > 1 ? "s" : ""}`;
  return `${steps} ${distance > 0 ? "before" : "after"} ${far}`;
}

/** @param {number} n */
function amongFirst(n) {
  return n === 1 ? "the first key" : `among the first ${count(n)} keys`;
}

/**
 * Ascending keys as half-open intervals.
 * @param {readonly number[]} keys
 * @returns {Intervals}
 */
export function runs(keys) {
  /** @type {Intervals} */
  const found = [];
  for (const key of keys) {
    const last = found[found.length - 1];
    if (last && last[1] === key) last[1] = key + 1;
    else found.push([key, key + 1]);
  }
  return found;
}

/**
 * Keys by intervals: `k0…k3, k877…k900`.
 * @param {Intervals} intervals
 * @param {string} last what stands before the last name
 */
export function spelled(intervals, last = ", ") {
  const names = intervals.flatMap(([start, stop]) =>
    stop - start < 3
      ? Array.from({ length: stop - start }, (_, at) => `k${start + at}`)
      : [`k${start}…k${stop - 1}`],
  );
  return names.length > 1 ? names.slice(0, -1).join(", ") + last + names[names.length - 1] : names.join("");
}
