"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = Uint8Array.from(atob(data.values), (c) => c.charCodeAt(0));
const values = new DataView(bytes.buffer);
const [map, readout, row, column] = ["map", "readout", "row", "column"].map((id) => document.getElementById(id));

// The positions that a pixel covers, as the tape pools them: floor(p * n / pixels) up to the next one's first.
const cover = (pixel, pixels, length) => [
  Math.floor((pixel * length) / pixels),
  Math.floor(((pixel + 1) * length) / pixels) - 1,
];

function name(letter, [first, last], offset) {
  const parts = [`${letter} ${first + offset}${last > first ? `–${last + offset}` : ""}`];
  if (data.tokens && first === last) {
    const code = document.createElement("code");
    code.textContent = JSON.stringify(data.tokens[first + offset]); // text, never markup
    parts.push(" ", code);
  }
  return parts;
}

function read(event) {
  const box = map.getBoundingClientRect();
  const c = Math.min(data.columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * data.columns)));
  const r = Math.min(data.rows - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * data.rows)));
  const weight = values.getFloat32(4 * (r * data.columns + c), true);
  const queries = cover(r, data.rows, data.n_queries);
  const keys = cover(c, data.columns, data.n_keys);
  const one = queries[0] === queries[1] && keys[0] === keys[1];
  const what = one ? "weight" : { mean: "mean weight", max: "largest weight", sum: "sum of weights" }[data.pool];
  const said = Number.isNaN(weight) ? ": never computed" : `: ${what} ${weight >= 0.001 ? weight.toFixed(4) : weight.toExponential(2)}`;
  readout.replaceChildren(...name("q", queries, data.first_query), Number.isNaN(weight) ? " does not read " : " reads ", ...name("k", keys, data.first_key), said);
  row.style.cssText = `display:block;top:${(100 * r) / data.rows}%;height:${100 / data.rows}%`;
  column.style.cssText = `display:block;left:${(100 * c) / data.columns}%;width:${100 / data.columns}%`;
}

map.addEventListener("pointermove", read);
map.addEventListener("pointerdown", read);
map.addEventListener("pointerleave", () => {
  row.style.cssText = column.style.cssText = "";
});
