import assert from "node:assert/strict";
import { test } from "node:test";
import { pooled, series, stepsOf } from "../tracks.js";
import { viewOf } from "../view.js";

const values = Float32Array.from({ length: 1000 }, (_, i) => (i % 97 === 5 ? NaN : Math.sin(i * 0.37) + (i === 640 ? 9 : 0)));
const track = series({ name: "entropy", axis: "query", values });

test("pooling by blocks is pooling one by one", () => {
  for (const [from, to] of [[0, 1000], [0, 64], [63, 65], [5, 6], [100, 900], [64, 128], [999, 1000], [7, 7]]) {
    const there = [...values.subarray(from, to)].filter((value) => !Number.isNaN(value));
    const { least, most, sum, n } = pooled(track, from, to);
    assert.equal(n, there.length);
    assert.equal(least, Math.min(...there));
    assert.equal(most, Math.max(...there));
    assert.ok(Math.abs(sum - there.reduce((a, b) => a + b, 0)) < 1e-6);
  }
});

test("the pixels of a track share out its queries: each counts once, in the pixel where the map has it", () => {
  const plot = { x: 118, y: 62, width: 300, height: 300 };
  for (const state of [{ x: null, y: null, z: null }, { x: 480, y: 510.4, z: 1.1 }]) {
    const view = viewOf(state, plot, 1, 1000, 1000);
    const one = series({ name: "entropy", axis: "query", values: Float32Array.from({ length: 1000 }, (_, i) => i + 1) });
    const steps = stepsOf(one, view);
    for (let i = 1; i < steps.length; i++) {
      assert.equal(steps[i].least, steps[i - 1].most + 1);
      assert.equal(steps[i].from, steps[i - 1].to);
    }
    for (const { from, least } of steps.slice(1, -1)) {
      const edge = Math.round(plot.y + plot.height / 2 + (least - 1 - view.y) * view.scale);
      assert.equal(from, edge);
    }
  }
});

test("cells larger than a pixel each have a step of their own, and what is not there has none", () => {
  const view = viewOf({ x: 100, y: 102, z: -4 }, { x: 0, y: 0, width: 300, height: 300 }, 2, 1000, 1000);
  const steps = stepsOf(track, view);
  assert.ok(steps.every((step) => step.least === step.most && step.to - step.from === 16));
  assert.ok(!steps.some((step) => Number.isNaN(step.mean)));
});

test("what is only rounding does not fill a track", () => {
  assert.equal(series({ name: "entropy", axis: "query", values: Float32Array.of(8.9e-8) }).high, 1);
});
