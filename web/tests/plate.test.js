import assert from "node:assert/strict";
import { test } from "node:test";
import { attached, layoutOf } from "../plate.js";

test("everything around the map lies within the figure, in a wide one and in that of a phone", () => {
  for (const [width, height] of [[320, 420], [390, 490], [559, 400], [560, 400], [1000, 700]]) {
    for (const named of [false, true]) {
      const layout = layoutOf(width, height, 3, named);
      for (const placed of [layout, attached(layout, layout.plot)]) {
        for (const part of [placed.plot, placed.right, placed.below, placed.legend]) {
          assert.ok(part.x >= 0 && part.x + part.width <= width && part.y >= 0 && part.y + part.height <= height, `${width} × ${height}: ${JSON.stringify(part)}`);
        }
        assert.ok(placed.legend.width >= 160);
        assert.equal(placed.strip > 0, width >= 560);
      }
    }
  }
});
