// Search: where words occur in a text of tokens, whatever their case and wherever tokens begin; ":250" is token 250.

import { least } from "./lines.js";

export class Search {
  /** @param {readonly string[]} tokens */
  constructor(tokens) {
    this.tokens = tokens;
    /** @type {{text: string, starts: Int32Array} | null} made when first asked */
    this.whole = null;
    this.sought = "";
    /** First token of each match. */
    this.first = new Int32Array(0);
    /** Last token of each match. */
    this.last = new Int32Array(0);
    /** The match one is at, -1 for none. */
    this.at = -1;
    /** Whether one went to it already. */
    this.reached = false;
  }

  get length() {
    return this.first.length;
  }

  /** The first token of the match one is at. */
  get token() {
    return this.first[this.at];
  }

  /**
   * Looks for words, or for the token of a number; the match one is then at is the first from a token on, or the first of all.
   *
   * @param {string} words
   * @param {number} from
   */
  find(words, from) {
    this.sought = words.toLowerCase();
    this.reached = false;
    const first = [];
    const last = [];
    const token = Number(/^:(\d+)$/.exec(words)?.[1] ?? NaN);
    if (token < this.tokens.length) {
      first.push(token);
      last.push(token);
    } else if (this.sought) {
      this.whole ??= joined(this.tokens);
      const { text, starts } = this.whole;
      const size = this.sought.length;
      for (let at = text.indexOf(this.sought); at >= 0; at = text.indexOf(this.sought, at + size)) {
        first.push(least(starts, at + 1) - 1);
        last.push(least(starts, at + size) - 1);
      }
    }
    this.first = Int32Array.from(first);
    this.last = Int32Array.from(last);
    const next = least(this.first, from);
    this.at = !first.length ? -1 : next < first.length ? next : 0;
  }

  /** Goes on to the next match, or back; the first time, to the one that was found. @param {number} by */
  go(by) {
    if (this.reached || by < 0) this.at = (this.at + by + this.length) % this.length;
    this.reached = true;
  }

  /** The match that a token is part of, or -1. @param {number} token */
  of(token) {
    const at = least(this.first, token + 1) - 1;
    return at >= 0 && this.last[at] >= token ? at : -1;
  }
}

/** The text in lower case, and where each token starts in it. @param {readonly string[]} tokens */
function joined(tokens) {
  const starts = new Int32Array(tokens.length);
  const parts = new Array(tokens.length);
  let at = 0;
  for (let t = 0; t < tokens.length; t++) {
    parts[t] = tokens[t].toLowerCase();
    starts[t] = at;
    at += parts[t].length;
  }
  return { text: parts.join(""), starts };
}
