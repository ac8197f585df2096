import assert from "node:assert/strict";
import { test } from "node:test";
import { firstDecoded, stepOf, stepWords } from "../steps.js";

test("a row knows its call, and a decoded row its step", () => {
  const steps = [5, 3, 1, 1, 1];
  assert.deepEqual(stepOf(steps, 0), { kind: "prefill", call: 0, row: 0, rows: 5, decoded: 0 });
  assert.deepEqual(stepOf(steps, 6), { kind: "block", call: 1, row: 1, rows: 3, decoded: 0 });
  assert.deepEqual(stepOf(steps, 9), { kind: "decode", call: 3, row: 0, rows: 1, decoded: 2 });
  assert.equal(stepOf(steps, 11), null);
  assert.equal(firstDecoded(steps), 8);
});

test("a first call of one row is a prefill, and a text that was only read has no decoded row", () => {
  assert.equal(stepOf([1, 1], 0)?.kind, "prefill");
  assert.equal(firstDecoded([1, 1]), 1);
  assert.equal(firstDecoded([40]), null);
  assert.equal(firstDecoded([]), null);
});

test("steps in words", () => {
  const words = [0, 2, 4].map((row) => stepWords(/** @type {any} */ (stepOf([2, 2, 1], row))));
  assert.deepEqual(words, ["prefill, row 1 of 2", "call 2, row 1 of 2", "decode step 1, a row of its own"]);
});
