// The whole state of the page, and its place in the address: what is in the hash can be shared and gone back to.

/**
 * What the page shows. A value that equals its default is left out of the address.
 *
 * @typedef {object} State
 * @property {"sheet" | "map" | "lesson" | "quiz"} page
 * @property {number} layer
 * @property {number} head
 * @property {number | null} x key in the middle of the map, in cells; null shows the whole map
 * @property {number | null} y query row in the middle of the map, in cells
 * @property {number | null} z log2 of cells per pixel: 0 is a cell a pixel, below 0 is magnified
 * @property {"weight" | "enrichment" | "score" | "relative"} of what a cell shows
 * @property {"max" | "mean" | "sum"} pool how several cells become one pixel
 * @property {"log" | "linear"} scale for weights and row-max
 * @property {[number, number] | null} range fixed ends of the scale; null fits them to the view
 * @property {number} skip how many first keys are left out
 * @property {boolean} renorm whether rows are renormalised over the rest
 * @property {number | null} query pinned query row
 * @property {number | null} key pinned key
 * @property {boolean} grow whether rows after the pinned query are veiled: the triangle as it was then
 * @property {boolean} panes whether text and next token are open beside the map
 * @property {Readonly<Record<string, string>>} more whatever a page keeps under a name of its own
 */

/** @type {Readonly<State>} */
export const START = Object.freeze({
  page: "sheet",
  layer: 0,
  head: 0,
  x: null,
  y: null,
  z: null,
  of: "weight",
  pool: "max",
  scale: "log",
  range: null,
  skip: 0,
  renorm: false,
  query: null,
  key: null,
  grow: false,
  panes: true,
  more: Object.freeze({}),
});

const CHOICES = {
  of: ["weight", "enrichment", "score", "relative"],
  pool: ["max", "mean", "sum"],
  scale: ["log", "linear"],
};

const FARTHEST = 64;

/** Names of the address for the fields that are not simply themselves. */
const KNOWN = new Set(["x", "y", "z", "of", "pool", "scale", "range", "skip", "renorm", "q", "k", "grow", "panes"]);

/**
 * Whether a scale can have these ends: no farther from 0 than float32, and farther apart than an address rounds them.
 *
 * @param {number} low
 * @param {number} high
 */
export const areEnds = (low, high) => Math.max(-low, high) < 1e38 && high - low > Math.max(1e-38, 1e-5 * Math.max(-low, high));

/** @param {string | null} text */
const whole = (text) => (text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null);

/** @param {string | null} text */
const real = (text) => (text !== null && text !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

/**
 * The state that an address names. Whatever does not make sense in it is read as the default: an address is typed
 * and shortened by hand, and must still open the page.
 *
 * @param {string} hash
 * @returns {State}
 */
export function read(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page, layer, head] = path.split("/");
  const given = new URLSearchParams(search);

  /** @type {State} */
  const state = { ...START, more: {} };
  if (page === "map" || page === "lesson" || page === "quiz") state.page = page;
  if (page === "map") {
    state.layer = whole(layer ?? null) ?? 0;
    state.head = whole(head ?? null) ?? 0;
  }
  state.x = real(given.get("x"));
  state.y = real(given.get("y"));
  state.z = real(given.get("z"));
  // Farther in or out than FARTHEST there is nothing, and numbers for it run out of digits.
  if (state.x === null || state.y === null || state.z === null || Math.abs(state.z) > FARTHEST) state.x = state.y = state.z = null;
  for (const name of /** @type {const} */ (["of", "pool", "scale"])) {
    const value = given.get(name);
    if (value !== null && CHOICES[name].includes(value)) Object.assign(state, { [name]: value });
  }
  if (state.pool === "sum" && state.of !== "weight") state.pool = "max";
  const ends = (given.get("range") ?? "").split("_").map(real);
  if (ends.length === 2 && ends[0] !== null && ends[1] !== null && areEnds(ends[0], ends[1])) state.range = [ends[0], ends[1]];
  state.skip = whole(given.get("skip")) ?? 0;
  state.renorm = given.get("renorm") === "1" && state.skip > 0;
  state.query = whole(given.get("q"));
  state.key = whole(given.get("k"));
  state.grow = given.get("grow") === "1";
  state.panes = given.get("panes") !== "0";
  state.more = Object.fromEntries([...given].filter(([name]) => !KNOWN.has(name)));
  return state;
}

/**
 * The address of a state, as a hash.
 *
 * @param {Readonly<State>} state
 */
export function write(state) {
  const given = new URLSearchParams();
  const round = (/** @type {number} */ value, /** @type {number} */ digits) => String(Number(value.toFixed(digits)));
  if (state.page === "map") {
    if (state.x !== null && state.y !== null && state.z !== null) {
      // As many digits as move the picture by less than a hundredth of a pixel.
      const digits = Math.max(0, Math.ceil(2 - state.z * Math.LOG10E * Math.LN2));
      given.set("x", round(state.x, digits));
      given.set("y", round(state.y, digits));
      given.set("z", round(state.z, 4));
    }
    for (const name of /** @type {const} */ (["of", "pool", "scale"])) {
      if (state[name] !== START[name]) given.set(name, state[name]);
    }
    if (state.range) given.set("range", state.range.map((end) => String(Number(end.toPrecision(6)))).join("_"));
    if (state.skip) given.set("skip", String(state.skip));
    if (state.skip && state.renorm) given.set("renorm", "1");
    if (state.grow) given.set("grow", "1");
    if (!state.panes) given.set("panes", "0");
  }
  if (state.query !== null) given.set("q", String(state.query));
  if (state.key !== null) given.set("k", String(state.key));
  for (const [name, value] of Object.entries(state.more)) if (!KNOWN.has(name)) given.set(name, value);

  const path = state.page === "map" ? `map/${state.layer}/${state.head}` : state.page;
  const search = given.toString();
  return `#/${path}${search ? `?${search}` : ""}`;
}
