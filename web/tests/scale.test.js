import assert from "node:assert/strict";
import { test } from "node:test";
import { colourTable, fit, HALF, place, ruler, shown, ticks, tickText, usual } from "../scale.js";

test("float16 is decoded exactly", () => {
  assert.equal(HALF[0x3c00], 1);
  assert.equal(HALF[0xc000], -2);
  assert.equal(HALF[0x0001], 2 ** -24);
  assert.equal(HALF[0x03ff], (2 ** -14 * 1023) / 1024);
  assert.equal(HALF[0x7bff], 65504);
  assert.equal(HALF[0x7c00], Infinity);
  assert.ok(Number.isNaN(HALF[0x7e00]) && Number.isNaN(HALF[0xfe01]));
});

test("places rise with the value, ends are ends, and NaN has no place", () => {
  for (const state of [
    { of: "weight", scale: "log", range: [1e-5, 1] },
    { of: "relative", scale: "linear", range: [0, 1] },
    { of: "score", scale: "log", range: [-10, 15] },
    { of: "enrichment", scale: "log", range: [-3, 6] },
  ]) {
    const scale = ruler(state, usual(state));
    assert.equal(place(scale, scale.low), 0);
    assert.ok(Math.abs(place(scale, scale.high) - 1) < 1e-12);
    let before = -1;
    for (let i = -20; i <= 120; i++) {
      const now = place(scale, scale.low + (i / 100) * (scale.high - scale.low));
      assert.ok(now >= before && now <= 1);
      before = now;
    }
    assert.ok(Number.isNaN(place(scale, NaN)));
    const marks = ticks(scale).map((value) => place(scale, value));
    assert.deepEqual([...marks].sort((a, b) => a - b), marks);
  }
});

test("as much as an even look lies in the middle of the diverging ramp, whatever its ends", () => {
  const scale = ruler({ of: "enrichment", scale: "log", range: [-3, 6] }, [-6, 6]);
  assert.equal(place(scale, shown("enrichment", 1)), 0.5);
  assert.equal(place(scale, shown("enrichment", 0)), 0);
});

test("never computed is transparent, zero is the palest colour", () => {
  const colours = new Uint32Array(256).fill(0xff000000).map((word, step) => word + step);
  const table = colourTable(ruler({ of: "weight", scale: "log", range: [1e-4, 1] }, [0, 1]), 2 ** -10, colours);
  assert.equal(table[0x7e00], 0);
  assert.equal(table[0], 0xff000000);
  assert.equal(table[0x3c00], 0xff000000 + Math.round((Math.log(2 ** -10 / 1e-4) / Math.log(1e4)) * 255));
});

test("a fit covers what is in sight, ends at round numbers, and ignores specks far below", () => {
  const state = { of: "weight", scale: "log" };
  const values = Float32Array.from({ length: 1000 }, (_, i) => 10 ** (-5 + (4 * i) / 1000));
  assert.deepEqual(fit(state, values, 0.31), [1e-5, 0.5]);
  assert.deepEqual(fit(state, Float32Array.of(1e-30, 0.9), 1.0004), [1e-6, 1]);
  assert.equal(fit(state, new Float32Array(0), 1), null);
  assert.deepEqual(fit({ of: "enrichment", scale: "log" }, Float32Array.of(0.25, 1, 2, 9), 9), [-4, 4]);
  const [low, high] = fit({ of: "score", scale: "log" }, Float32Array.of(-7.3, 0, 11.2), 11.2);
  assert.ok(low <= -7.3 && high >= 11.2);
});

test("a log scale begins above 0, whatever its low end", () => {
  for (const low of [-1, 0, 1e-320]) assert.equal(ruler({ of: "weight", scale: "log", range: [low, 1] }, [0, 1]).low, 1e-4);
});

test("ticks are short", () => {
  assert.deepEqual([1, 0.02, 1e-5, -6, 0, 250000].map(tickText), ["1", "0.02", "1e\u22125", "\u22126", "0", "3e5"]);
});
