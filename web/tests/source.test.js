import assert from "node:assert/strict";
import { test } from "node:test";
import { frames, tracks } from "../source.js";

/** @param {number} index @param {number} state @param {Uint8Array} payload */
function frame(index, state, payload, rows = 1, columns = payload.length / 2) {
  const bytes = new Uint8Array(32 + payload.length);
  const view = new DataView(bytes.buffer);
  [index, state, rows, columns].forEach((value, at) => view.setUint32(4 * at, value, true));
  [0.25, 0.5, 2].forEach((value, at) => view.setFloat32(16 + 4 * at, value, true));
  view.setUint32(28, payload.length, true);
  bytes.set(payload, 32);
  return bytes;
}

test("frames come whole out of a stream cut anywhere", () => {
  const halves = Uint16Array.of(0x3c00, 0x7e00, 0x4000);
  const all = [frame(2, 1, new Uint8Array(halves.buffer)), frame(0, 2, new TextEncoder().encode("no such head"), 0, 0), frame(1, 0, new Uint8Array(halves.buffer))];
  const stream = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  all.reduce((at, part) => (stream.set(part, at), at + part.length), 0);
  for (let size = 1; size <= stream.length; size++) {
    const got = [];
    const take = frames((one) => got.push(one));
    for (let at = 0; at < stream.length; at += size) take(stream.subarray(at, at + size));
    assert.deepEqual(got.map((one) => [one.index, one.state, one.words]), [[2, "sampled", ""], [0, "error", "no such head"], [1, "exact", ""]]);
    assert.deepEqual([...got[0].halves], [...halves]);
    assert.deepEqual([got[0].rows, got[0].columns, got[0].multiplier, got[0].low, got[0].high], [1, 3, 0.25, 0.5, 2]);
  }
});

test("tracks are read behind a header of any length", () => {
  for (const pad of ["", "x", "xy", "xyz"]) {
    const header = new TextEncoder().encode(JSON.stringify({ state: "ready", done: 2, total: 2, pad, names: [{ name: "sink", axis: "query", length: 2 }, { name: "received", axis: "key", length: 3 }] }));
    const bytes = new Uint8Array(4 + header.length + 20);
    new DataView(bytes.buffer).setUint32(0, header.length, true);
    bytes.set(header, 4);
    bytes.set(new Uint8Array(Float32Array.of(0.5, NaN, 1, 2, 3).buffer), 4 + header.length);
    const found = tracks(bytes.buffer);
    assert.equal(found.state, "ready");
    assert.deepEqual([...found.tracks[0].values], [0.5, NaN]);
    assert.deepEqual([...found.tracks[1].values], [1, 2, 3]);
  }
});
