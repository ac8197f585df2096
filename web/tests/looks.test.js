import assert from "node:assert/strict";
import { test } from "node:test";
import { Looks, fitted, inks, largest, shadeOf } from "../looks.js";
import { luminance } from "../palette.js";

const ask = (/** @type {Partial<import("../looks.js").Choice>} */ more) => ({ layer: 1, head: 2, kind: /** @type {const} */ ("row"), at: 3, ...more });

test("a row lies on the keys, a column on the positions of the queries, NaN elsewhere", async () => {
  const source = /** @type {any} */ ({ row: async () => Float32Array.of(0.5, 0.25, 0.125, NaN), column: async () => Float32Array.of(0.1, 0.2) });
  const looks = new Looks(source, 5, 3);
  assert.deepEqual([...(await looks.get(ask({}))).values], [0.5, 0.25, 0.125, NaN, NaN]);
  const column = (await looks.get(ask({ kind: "column" }))).values;
  assert.deepEqual([...column].map((one) => Number(one.toFixed(3))), [NaN, NaN, NaN, 0.1, 0.2]);
});

test("it is asked for once while it is kept, and again after an error", async () => {
  let asked = 0;
  const source = /** @type {any} */ ({
    async row() {
      asked += 1;
      if (asked === 1) throw new Error("away");
      return Float32Array.of(1);
    },
  });
  const looks = new Looks(source, 1, 0);
  await assert.rejects(looks.get(ask({})), /away/);
  await Promise.all([looks.get(ask({})), looks.get(ask({}))]);
  assert.equal(asked, 2);
  for (let at = 10; at < 60; at++) await looks.get(ask({ at }));
  await looks.get(ask({}));
  assert.equal(asked, 53);
});

test("the scale spans what is there, four decades at most and one at least", () => {
  const ends = (/** @type {number[]} */ ...values) => fitted(Float32Array.from(values));
  assert.deepEqual(ends(), { low: 1e-4, high: 1 });
  assert.deepEqual(ends(NaN, 0), { low: 1e-4, high: 1 });
  assert.deepEqual(ends(0.9, 1e-9), { low: 1e-4, high: 1 });
  assert.ok(Math.abs(ends(...Array(50).fill(0.004), 0.03).low - 0.001) < 1e-12);
  assert.equal(ends(0.5, 0.5).low, 0.05);
});

test("shades rise with the weight, from the first to the last", () => {
  const look = { values: new Float32Array(0), low: 1e-4, high: 1 };
  const shades = [0, 1e-6, 1e-4, 1e-3, 0.01, 0.5, 1, 2].map((value) => shadeOf(look, value));
  assert.deepEqual(shades, [...shades].sort((a, b) => a - b));
  assert.equal(shades[2], 0);
  assert.equal(shades[6], shades[7]);
  assert.ok(shades[6] > 40);
});

test("words on every shade have a contrast of 4.5 at least", () => {
  for (const dark of [false, true]) {
    const { paper, ink } = inks(dark);
    paper.forEach((colour, at) => {
      const rgba = Uint8ClampedArray.from(/** @type {string[]} */ (colour.match(/\d+/g)), Number);
      const ground = luminance(rgba, 0);
      const contrast = ink[at] === "#ffffff" ? 1.05 / (ground + 0.05) : (ground + 0.05) / 0.05;
      assert.ok(contrast >= 4.5, `${colour}: ${contrast}`);
    });
  }
});

test("the largest weights are named, whatever their order, and none where nothing was computed", () => {
  assert.deepEqual(largest(Float32Array.of(NaN, 0.1, 0.4, 0, 0.2, 0.25, NaN)), [2, 5, 4]);
  assert.deepEqual(largest(Float32Array.of(0.5, 0.5, 0.1, 0.5, 0.5)), [0, 1, 3]);
  assert.deepEqual(largest(Float32Array.of(NaN, 0, 1)), [2]);
  assert.deepEqual(largest(Float32Array.of(NaN, 0)), []);
});
