// Lines: a text of tokens broken to a width. Widths are of pieces of text, measured once each, so that a hundred
// thousand tokens take tens of milliseconds; what is drawn is only ever the lines in sight.

import { visible } from "./dom.js";

/**
 * A text in lines. Piece p is the part of token `token[p]` that reads `text[p]`; line l holds the pieces
 * starts[l] to starts[l + 1] - 1.
 *
 * @typedef {object} Lines
 * @property {Int32Array} token ascending
 * @property {string[]} text
 * @property {Int32Array} starts one more than there are lines
 * @property {number} length how many lines
 */

/** A part of a token as it is printed; `ends` where a line break follows it. @typedef {{text: string, ends: boolean}} Part */

const AFTER = /[\s\-‐–—/…]/u; // a line may end after these
const IDEOGRAPHIC = 0x2e80; // from here on, scripts are written without spaces: a line may break anywhere

/**
 * The parts of a token: a line break shows its mark and ends the line; control and invisible characters show by
 * number, so that none can turn the text around.
 *
 * @param {string} token
 * @returns {Part[]}
 */
export function parts(token) {
  /** @type {Part[]} */
  const found = [];
  let text = "";
  const pieces = token.split(/(\r\n|\n|\r)/);
  pieces.forEach((piece, at) => {
    if (at % 2) {
      found.push({ text: `${text}↵`, ends: true });
      text = "";
    } else if (piece) {
      // Plain spaces stay spaces: this is running text. Everything else that cannot be seen is made visible.
      text = piece.split(" ").map((part) => (part ? visible(part) : "")).join(" ");
    }
  });
  if (text || !found.length) found.push({ text: text || "∅", ends: false });
  return found;
}

/**
 * @param {readonly string[]} tokens
 * @param {number} width
 * @param {(text: string) => number} measure
 * @returns {Lines}
 */
export function broken(tokens, width, measure) {
  /** @type {Map<string, Part[]>} */
  const known = new Map();
  /** @type {number[]} */
  const token = [];
  /** @type {string[]} */
  const text = [];
  const starts = [0];
  let x = 0;
  let word = 0; // the first piece of the word being laid
  let wordX = 0; // where it began
  let last = ""; // the last character laid

  /** @param {number} of @param {string} piece */
  const lay = (of, piece) => {
    let wide = measure(piece);
    const joined =
      last !== "" &&
      !AFTER.test(last) &&
      !/\s/.test(piece[0]) &&
      Math.max(piece.charCodeAt(0), last.charCodeAt(0)) < IDEOGRAPHIC;
    if (!joined) {
      word = text.length;
      wordX = x;
    }
    // White space alone hangs over the edge rather than begin a line.
    if (x > 0 && x + wide > width && piece.trim()) {
      const moved = x - wordX + wide - (word < text.length && spaced(text[word]) ? measure(" ") : 0);
      const whole = word > starts[starts.length - 1] && moved <= width;
      starts.push(whole ? word : text.length);
      x = whole ? x - wordX : 0;
      // The space that a wrapped line would begin with is the break itself.
      if (whole && word < text.length && spaced(text[word])) {
        text[word] = text[word].slice(1);
        x -= measure(" ");
      } else if (!x && spaced(piece)) {
        piece = piece.slice(1);
        wide = measure(piece);
      }
      wordX = 0;
      if (!whole) word = text.length;
    }
    token.push(of);
    text.push(piece);
    x += wide;
    last = piece[piece.length - 1];
  };

  for (let at = 0; at < tokens.length; at++) {
    let list = known.get(tokens[at]);
    if (!list) known.set(tokens[at], (list = parts(tokens[at])));
    for (const { text: whole, ends } of list) {
      if (measure(whole) <= width) {
        lay(at, whole);
      } else {
        for (const piece of cut(whole, width, measure)) lay(at, piece);
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

/** Whether a piece begins with a space that a line break can stand for. @param {string} piece */
const spaced = (piece) => piece.length > 1 && piece[0] === " " && piece[1] !== " ";

/**
 * A text too wide for a line, in pieces that fit one.
 *
 * @param {string} whole
 * @param {number} width
 * @param {(text: string) => number} measure
 */
function cut(whole, width, measure) {
  const characters = [...whole];
  // By the widest character's width: fewer measurements than trying, and these are rare.
  const widest = Math.max(1, ...[...new Set(characters)].slice(0, 1000).map(measure));
  const most = Math.max(1, Math.floor(width / widest));
  const pieces = [];
  for (let at = 0; at < characters.length; at += most) pieces.push(characters.slice(at, at + most).join(""));
  return pieces;
}

/** The line of a token's first piece. @param {Lines} lines @param {number} token */
export function lineOf(lines, token) {
  const piece = least(lines.token, token);
  let low = 0;
  let high = lines.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (lines.starts[middle] <= piece) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The first place in ascending numbers that holds at least `value`. @param {ArrayLike<number>} sorted @param {number} value */
export function least(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
