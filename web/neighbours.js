// Neighbours: a token in the midst of its text, on one line.

import { count, el, visible } from "./dom.js";

const AROUND = 48; // characters on either side
const LONGEST = 24; // characters of the token

/**
 * A term and its description: the token at a position, and what stands around it.
 *
 * @param {readonly string[]} tokens
 * @param {string} name "query" or "key"
 * @param {string} verb what it does
 * @param {number | null} at position; null for none
 * @param {boolean} pinned
 */
export function neighbours(tokens, name, verb, at, pinned) {
  const title = el("dt", {}, name, " ", el("small", {}, verb));
  if (at === null) return [title, el("dd", { class: "empty" }, "–")];
  let before = "";
  for (let t = at - 1; t >= 0 && before.length < AROUND; t--) before = plain(tokens[t]) + before;
  let after = "";
  for (let t = at + 1; t < tokens.length && after.length < AROUND; t++) after += plain(tokens[t]);
  return [
    title,
    el(
      "dd",
      { "data-testid": `text-${name}`, class: pinned ? "pinned" : null },
      el("b", {}, count(at)),
      el("span", { class: "context" }, el("span", { class: "before" }, el("bdi", {}, before.slice(-AROUND)))),
      el("mark", { class: name }, visible(tokens[at], LONGEST)),
      el("span", { class: "context after" }, el("bdi", {}, after.slice(0, AROUND))),
    ),
  ];
}

/** @param {string} token */
function plain(token) {
  return token.replace(/\r\n|\n|\r/g, "↵ ").replace(/[^\S ]|\p{C}/gu, "·");
}
