import assert from "node:assert/strict";
import { test } from "node:test";
import { count, number, visible } from "../dom.js";
import { SvgPen } from "../svg.js";

test("white space and what cannot be seen are shown", () => {
  assert.equal(visible(" the"), "\u2423the");
  assert.equal(visible("\n\t\r"), "\u21b5\u21e5\u240d");
  assert.equal(visible(""), "\u2205");
  assert.equal(visible("a\u202eb\u0000\u200d"), "a<202e>b<0><200d>");
  assert.equal(visible("\u2028\u3000"), "<2028><3000>");
  assert.equal(visible("<script>alert(1)</script>", 9), "<script>\u2026");
  assert.equal(visible("abc", 3), "abc");
  assert.equal(visible("\ud83d\ude00\ud83d\ude00\ud83d\ude00", 2), "\ud83d\ude00\u2026");
});

test("numbers are short and have a real minus", () => {
  assert.deepEqual([0, 1, 0.25, 1234.5, 3.14159e-7, -2.5, NaN, Infinity].map((value) => number(value)), ["0", "1.00", "0.250", "1235", "3.14e\u22127", "\u22122.50", "none", "\u221e"]);
  assert.equal(count(1234567), "1,234,567");
});

test("nothing written into a picture becomes markup", () => {
  const pen = new SvgPen(10, 10, /** @type {any} */ ({ measureText: () => ({ width: 1 }) }));
  pen.fillText(`</text><script>alert("1")</script>&amp;\u0000\ud800`, 1, 2);
  const text = pen.text(`"><script>`);
  assert.ok(!/<script/.test(text));
  assert.ok(text.includes("&#38;amp;\ufffd\ufffd"));
});

test("groups of a picture are closed where they were saved", () => {
  const pen = new SvgPen(10, 10, /** @type {any} */ ({}));
  pen.save();
  pen.translate(1, 2);
  pen.rotate(-Math.PI / 2);
  pen.save();
  pen.rect(0, 0, 1, 1);
  pen.clip();
  pen.restore();
  pen.restore();
  const text = pen.text("x");
  assert.equal(text.match(/<g /g).length, text.match(/<\/g>/g).length);
});
