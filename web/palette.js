// Colours of the map: pale for little and dark for much on light paper, the other way round on dark paper; told apart by
// lightness alone, so that they survive grey-scale print and need no colour vision. The same ramp as lookbehind/atlas/palette.py.

/** @typedef {readonly [number, number, number]} Rgb */

/**
 * The colours of a page that canvases need; app.css has the same for everything else.
 *
 * @typedef {{paper: string, ink: string, soft: string, rule: string, hatch: string, empty: string, pin: string, hover: string, band: string, line: string, veil: string, left: string}} Theme
 */

// From warm cream over green and blue to near black, at equal steps of CIE lightness (95 to 15).
/** @type {readonly Rgb[]} */
const RAMP = [
  [253, 240, 212],
  [219, 219, 160],
  [168, 201, 130],
  [108, 183, 127],
  [56, 159, 135],
  [27, 133, 140],
  [24, 106, 138],
  [38, 78, 129],
  [42, 53, 107],
  [37, 32, 73],
];

// Blue for less than an even look, paper for an even one, orange to brown for more. Blue and orange differ for every
// kind of colour vision, and lightness falls evenly from the middle to both ends.
/** @type {readonly Rgb[]} */
const AROUND_LIGHT = [
  [16, 52, 105],
  [44, 98, 158],
  [104, 151, 199],
  [178, 203, 226],
  [243, 241, 236],
  [243, 205, 157],
  [221, 148, 73],
  [176, 95, 20],
  [107, 54, 8],
];
/** @type {readonly Rgb[]} */
const AROUND_DARK = [
  [178, 214, 250],
  [120, 172, 222],
  [76, 124, 175],
  [53, 76, 103],
  [44, 46, 51],
  [99, 72, 43],
  [164, 108, 44],
  [222, 156, 79],
  [255, 216, 166],
];

export const STEPS = 256;

/**
 * A ramp as RGBA, from little to much.
 *
 * @param {boolean} dark
 * @param {boolean} [diverging] around a middle that means "as much as an even look"
 */
export function ramp(dark, diverging = false) {
  const anchors = diverging ? (dark ? AROUND_DARK : AROUND_LIGHT) : dark ? [...RAMP].reverse() : RAMP;
  const rgba = new Uint8ClampedArray(STEPS * 4);
  for (let step = 0; step < STEPS; step++) {
    const at = (step / (STEPS - 1)) * (anchors.length - 1);
    const first = Math.min(Math.floor(at), anchors.length - 2);
    for (let c = 0; c < 3; c++) {
      rgba[4 * step + c] = anchors[first][c] + (at - first) * (anchors[first + 1][c] - anchors[first][c]);
    }
    rgba[4 * step + 3] = 255;
  }
  return rgba;
}

/** Black or white, whichever stands out more on a luminance; the contrast is 4.5 at least. @param {number} luminance */
export const inkOn = (luminance) => (luminance > 0.179 ? "#000000" : "#ffffff");

/** Luminance of a step of a ramp, 0 to 1: whether words on it are written dark or light. @param {Uint8ClampedArray} rgba @param {number} step */
export function luminance(rgba, step) {
  const linear = (/** @type {number} */ c) => {
    const v = rgba[4 * step + c] / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(0) + 0.7152 * linear(1) + 0.0722 * linear(2);
}

/** @type {Theme} */
const LIGHT = {
  paper: "#ffffff",
  ink: "#262a30",
  soft: "#626871",
  rule: "#c3c6cb",
  hatch: "#d6d8dc",
  empty: "#f4f4f2",
  pin: "#c2410c",
  hover: "#262a30",
  band: "#c9d5d8",
  line: "#186a8a",
  veil: "rgba(255, 255, 255, 0.9)",
  left: "rgba(226, 222, 214, 0.92)",
};
/** @type {Theme} */
const DARK = {
  paper: "#17181b",
  ink: "#e6e4df",
  soft: "#a0a3a8",
  rule: "#44474d",
  hatch: "#3a3d42",
  empty: "#1d1f22",
  pin: "#ff8a5c",
  hover: "#f2f0ea",
  band: "#34444a",
  line: "#6cb7a0",
  veil: "rgba(23, 24, 27, 0.88)",
  left: "rgba(58, 55, 50, 0.92)",
};

/** @param {boolean} dark */
export const theme = (dark) => (dark ? DARK : LIGHT);

/** Whether the page is dark now: as the person chose, else as the system says. */
export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
