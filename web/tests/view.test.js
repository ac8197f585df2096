import assert from "node:assert/strict";
import { test } from "node:test";
import { keyAt, LARGEST_CELL, levelOf, marks, rowAt, sight, toX, toY, viewOf } from "../view.js";

const plot = { x: 118, y: 62, width: 600, height: 500 };

test("a place of the screen and a cell are each other's inverse", () => {
  const view = viewOf({ x: 700.3, y: 420.7, z: -2.5 }, plot, 1, 1806, 1806);
  assert.ok(Math.abs(keyAt(view, toX(view, 713.2)) - 713.2) < 1e-9);
  assert.ok(Math.abs(rowAt(view, toY(view, 390.9)) - 390.9) < 1e-9);
});

test("the whole map fits, starts at the axes, and no view leaves it", () => {
  for (const [rows, columns] of [[1806, 1806], [20, 900], [900, 20], [1, 1], [131072, 131072]]) {
    const all = viewOf({ x: null, y: null, z: null }, plot, 1, rows, columns);
    assert.ok(columns * all.scale <= plot.width + 1e-6 && rows * all.scale <= plot.height + 1e-6);
    assert.ok(Math.abs(toX(all, 0) - plot.x) < 1e-6 && Math.abs(toY(all, 0) - plot.y) < 1e-6);
    for (const state of [{ x: -1e6, y: 1e6, z: -3 }, { x: 1e6, y: -1e6, z: 2 }, { x: 5, y: 5, z: -50 }, { x: 5, y: 5, z: 50 }]) {
      const view = viewOf(state, plot, 1, rows, columns);
      assert.ok(view.scale >= all.scale - 1e-12 && view.scale <= LARGEST_CELL);
      const { q0, q1, k0, k1 } = sight(view);
      assert.ok(q0 >= 0 && q1 <= rows && q0 < q1 && k0 >= 0 && k1 <= columns && k0 < k1);
    }
  }
});

test("a value is never drawn smaller than a device pixel, and never twice as large as it need be", () => {
  for (const ratio of [1, 1.5, 2]) {
    for (let z = -7; z < 9; z += 0.13) {
      const view = { plot, x: 0, y: 0, scale: 2 ** -z, ratio, rows: 131072, columns: 131072 };
      const level = levelOf(view, 9);
      const pixels = 2 ** level * view.scale * ratio;
      assert.ok(pixels >= 1 - 1e-6, `z ${z}`);
      if (level > 0) assert.ok(pixels < 2 + 1e-6, `z ${z}`);
    }
  }
});

test("marks are round and far enough apart", () => {
  assert.deepEqual(marks(980, 1020, 16, 68), [980, 985, 990, 995, 1000, 1005, 1010, 1015]);
  for (const scale of [0.004, 0.3, 1, 7.7, 60]) {
    const found = marks(3, 5000, scale, 50);
    for (let i = 1; i < found.length; i++) assert.ok((found[i] - found[i - 1]) * scale >= 50 - 1e-6);
  }
});
