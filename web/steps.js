// Steps: which call of the model a query row belongs to. The first call reads the prompt (prefill); after it a
// decoder takes a row a step.

import { count } from "./dom.js";

/** @typedef {{kind: "prefill" | "decode" | "block", call: number, row: number, rows: number, decoded: number}} Step */

/**
 * The call that a query row was part of.
 *
 * @param {readonly number[]} steps rows of each call
 * @param {number} row
 * @returns {Step | null} null where the calls do not account for the row
 */
export function stepOf(steps, row) {
  let first = 0;
  let decoded = 0;
  for (let call = 0; call < steps.length; call++) {
    const rows = steps[call];
    const decode = call > 0 && rows === 1;
    if (decode) decoded += 1;
    if (row < first + rows) {
      return { kind: call === 0 ? "prefill" : decode ? "decode" : "block", call, row: row - first, rows, decoded };
    }
    first += rows;
  }
  return null;
}

/**
 * The first row that was decoded one at a time.
 *
 * @param {readonly number[]} steps
 * @returns {number | null} null where there is none
 */
export function firstDecoded(steps) {
  const call = steps.findIndex((rows, at) => at > 0 && rows === 1);
  return call < 0 ? null : steps.slice(0, call).reduce((a, b) => a + b, 0);
}

/** A step in words. @param {Step} step */
export function stepWords(step) {
  if (step.kind === "decode") return `decode step ${count(step.decoded)}, a row of its own`;
  const place = `row ${count(step.row + 1)} of ${count(step.rows)}`;
  return step.kind === "prefill" ? `prefill, ${place}` : `call ${count(step.call + 1)}, ${place}`;
}
