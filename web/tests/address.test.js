import assert from "node:assert/strict";
import { test } from "node:test";
import { read, START, write } from "../address.js";

const whole = { ...START, page: "map", layer: 3, head: 5 };

test("an address gives back the state it was written from", () => {
  const states = [
    whole,
    { ...whole, x: 812.25, y: 903.5, z: -3.1875, query: 905, key: 17, panes: false },
    { ...whole, of: "enrichment", pool: "mean", range: [-6, 6], skip: 4, renorm: true, grow: true, query: 1 },
    { ...whole, scale: "linear", range: [0, 0.02], more: { by: "1", "odd name": "a&b=c#?" } },
    { ...START, page: "sheet", more: { sort: "sink" } },
    { ...START, page: "quiz", query: 3 },
  ];
  for (const state of states) assert.deepEqual(read(write(state)), state);
});

test("the page at its defaults has a short address", () => {
  assert.equal(write(START), "#/sheet");
  assert.equal(write(whole), "#/map/3/5");
});

test("writing and reading moves the view by less than a hundredth of a pixel", () => {
  for (const z of [9.37, 3, 0, -4.2, -7.39]) {
    const state = { ...whole, x: 73210.123456789, y: 4711.987654321, z };
    const { x, y, z: back } = read(write(state));
    assert.ok(Math.abs(x - state.x) * 2 ** -z < 0.0101, `x at ${z}`);
    assert.ok(Math.abs(y - state.y) * 2 ** -z < 0.0101, `y at ${z}`);
    assert.ok(Math.abs(back - z) < 1e-4);
  }
});

test("what makes no sense in an address is read as the default", () => {
  for (const hash of ["", "#", "#/", "#/nowhere", "#/sheet?x=1", "#%%%"]) assert.equal(read(hash).page, "sheet");
  const state = read("#/map/-1/x?x=1&y=no&z=2&of=colour&pool=sum&of=weight&range=5_1&skip=-3&renorm=1&q=1e9&k=%3Cb%3E");
  assert.deepEqual({ ...state, pool: "max" }, { ...START, page: "map" });
  assert.equal(read("#/map/0/0?of=score&pool=sum").pool, "max");
  assert.equal(read("#/map/0/0?renorm=1").renorm, false);
  for (const z of ["-400", "1e300", "-1e9"]) assert.deepEqual(read(`#/map/0/0?x=5&y=5&z=${z}`), { ...START, page: "map" });
  for (const range of ["0_1e-320", "-1e308_1e308", "0.1_0.1000000001", "0_Infinity"]) assert.equal(read(`#/map/0/0?range=${range}`).range, null);
  assert.equal(write(read("#/map/0/0?x=5&y=5&z=-64")), "#/map/0/0?x=5&y=5&z=-64");
});
