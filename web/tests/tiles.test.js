import assert from "node:assert/strict";
import { test } from "node:test";
import { cover, Tiles } from "../tiles.js";

const subject = { layer: 0, head: 0, of: "weight", pool: "max", skip: 0, renorm: false };
const at = (z, y, x) => ({ z, y, x });
const soon = (ms = 60) => new Promise((resolve) => setTimeout(resolve, ms));

/** A source whose answers are given by hand. */
function byHand() {
  const asked = [];
  return {
    asked,
    tiles: (request, onFrame, signal) =>
      new Promise((resolve, reject) => {
        const answer = (index, state = "exact") => onFrame({ index, state, rows: 2, columns: 2, multiplier: 1, low: 0, high: 1, halves: Uint16Array.of(0x3c00, 0, 0x7e00, 0x3800), words: state === "error" ? "no" : "" });
        asked.push({ ...request, answer, finish: resolve, signal });
        signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
      }),
  };
}

test("a level is covered from the middle outwards, and nothing beyond what is in sight", () => {
  const places = cover({ q0: 0, q1: 1000, k0: 300, k1: 1000 }, 0, 256);
  assert.deepEqual(new Set(places.map(({ x }) => x)), new Set([1, 2, 3]));
  assert.equal(places.length, 12);
  assert.ok(places[0].y === 1 || places[0].y === 2);
});

test("one request asks for what is missing, once", async () => {
  const source = byHand();
  const tiles = new Tiles(source, { changed() {}, missed() {} });
  tiles.want(subject, [at(1, 0, 0), at(1, 0, 1)]);
  tiles.want(subject, [at(1, 0, 0), at(1, 0, 1)]);
  await soon();
  assert.deepEqual(source.asked.map((one) => one.ids), [["0.0.1.0.0", "0.0.1.0.1"]]);
  source.asked[0].answer(1);
  assert.equal(tiles.standing().missing, 1);
  assert.ok(tiles.get(at(1, 0, 1)).holes);
  tiles.want(subject, [at(1, 0, 0), at(1, 0, 1), at(1, 1, 1)]);
  await soon();
  assert.deepEqual(source.asked[1].ids, ["0.0.1.1.1"]);
  tiles.stop();
});

test("a request for what is out of sight is cut short", async () => {
  const source = byHand();
  const tiles = new Tiles(source, { changed() {}, missed() {} });
  tiles.want(subject, [at(2, 0, 0), at(2, 0, 1), at(2, 1, 0)]);
  await soon();
  tiles.want({ ...subject, head: 1 }, [at(2, 0, 0)]);
  await soon();
  assert.ok(source.asked[0].signal.aborted);
  assert.deepEqual(source.asked[1].ids, ["0.1.2.0.0"]);
  tiles.stop();
});

test("sampled tiles are kept, counted, and asked for again when exact ones exist", async () => {
  const source = byHand();
  const tiles = new Tiles(source, { changed() {}, missed() {} });
  tiles.want(subject, [at(3, 0, 0)]);
  await soon();
  source.asked[0].answer(0, "sampled");
  source.asked[0].finish();
  assert.deepEqual(tiles.standing(), { missing: 0, sampled: 1, words: "" });
  tiles.refresh();
  await soon();
  assert.equal(source.asked.length, 2);
  assert.ok(tiles.get(at(3, 0, 0)).sampled);
  source.asked[1].answer(0);
  assert.deepEqual(tiles.standing(), { missing: 0, sampled: 0, words: "" });
  tiles.stop();
});

test("an error says its words, and is not asked for again at once", async () => {
  const source = byHand();
  const tiles = new Tiles(source, { changed() {}, missed() {} });
  tiles.want(subject, [at(3, 0, 0)]);
  await soon();
  source.asked[0].answer(0, "error");
  source.asked[0].finish();
  tiles.want(subject, [at(3, 0, 0)]);
  await soon();
  assert.equal(source.asked.length, 1);
  assert.equal(tiles.standing().words, "no");
  tiles.stop();
});

test("the cache is bounded, and what is in sight stays", async () => {
  const source = byHand();
  const tiles = new Tiles(source, { changed() {}, missed() {} });
  for (let y = 0; y < 400; y++) {
    tiles.want(subject, [at(0, 0, 0), at(0, y, 1)]);
    tiles.wanted.forEach((place) => tiles.get(place));
    // What a request would do, without waiting for one.
    clearTimeout(tiles.timer);
    tiles.timer = 0;
    tiles.refresh();
    for (const one of source.asked.splice(0)) {
      one.ids.forEach((_, index) => one.answer(index));
      one.finish();
    }
  }
  assert.ok(tiles.kept.size <= 321);
  assert.ok(tiles.has(at(0, 0, 0)) && tiles.has(at(0, 399, 1)) && !tiles.has(at(0, 1, 1)));
  tiles.stop();
});
