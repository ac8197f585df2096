// Measures: the numbers of a head that a sheet is sorted and sifted by; those of `lookbehind heads`.

/** @typedef {import("./source.js").HeadScores} HeadScores */
/** @typedef {"sink" | "induction" | "previous" | "duplicate" | "entropy" | "relative_entropy" | "distance" | "max_score"} Name */

/** `share` where the number lies between 0 and 1. @typedef {{name: Name, words: string, told: string, share: boolean}} Measure */

/** @type {readonly Measure[]} */
export const MEASURES = [
  { name: "sink", words: "sink", told: "mean weight on key 0", share: true },
  { name: "induction", words: "induction", told: "mean weight on what followed the same token before", share: true },
  { name: "previous", words: "previous token", told: "mean weight on the token before", share: true },
  { name: "duplicate", words: "duplicate token", told: "mean weight on the same token before", share: true },
  { name: "entropy", words: "entropy", told: "in nats; how widely a query looks", share: false },
  { name: "relative_entropy", words: "relative entropy", told: "entropy over that of an even look", share: true },
  { name: "distance", words: "distance", told: "mean distance looked back, in tokens", share: false },
  { name: "max_score", words: "largest score", told: "before the softmax", share: false },
];

const TRAITS = /** @type {const} */ (["sink", "previous", "duplicate", "induction"]);
const NOTABLE = 0.3; // a trait worth a word

/** The measure of a name, or null. @param {string | null | undefined} name */
export const measureOf = (name) => MEASURES.find((one) => one.name === name) ?? null;

/** The trait that a head shows most, if any is worth a word. @param {HeadScores | null} scores @returns {Measure | null} */
export function notable(scores) {
  let best = null;
  let most = NOTABLE;
  for (const trait of TRAITS) {
    const value = scores?.[trait] ?? 0;
    if (value >= most) [best, most] = [trait, value];
  }
  return measureOf(best);
}
