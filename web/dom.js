// Making elements. Text goes in as text: nothing in a tape, a token or a file name can become markup.

/**
 * An element with its attributes and children.
 *
 * A value that is a function is a listener ("click"), `true` an attribute without value, null or false none at all.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, String(value));
  }
  for (const child of children) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

/**
 * A <select> that says one thing of several.
 *
 * @param {string} label for screen readers
 * @param {readonly (readonly [string, string])[]} options pairs of value and words
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function choice(label, options, chosen, choose) {
  const select = el("select", { "aria-label": label, change: () => choose(select.value) });
  for (const [value, words] of options) select.append(el("option", { value, selected: value === chosen }, words));
  return select;
}

/** Replaces what an element holds. @param {Element} element @param {...(Node | string)} children */
export function fill(element, ...children) {
  element.replaceChildren(...children);
}

const SEEN = new Map([
  [" ", "\u2423"],
  ["\n", "\u21b5"],
  ["\r", "\u240d"],
  ["\t", "\u21e5"],
  ["\u00a0", "\u237d"],
]);

/**
 * A token as it is printed: white space visible, control and invisible characters by their number, cut to `most`
 * characters.
 *
 * @param {string} token
 * @param {number} [most]
 */
export function visible(token, most = Infinity) {
  if (token === "") return "\u2205";
  let shown = "";
  let count = 0;
  for (const character of token) {
    if (count === most - 1 && shown.length < token.length && [...token].length > most) return `${shown}\u2026`;
    shown += SEEN.get(character) ?? (/[\p{C}\p{Z}]/u.test(character) ? `<${(character.codePointAt(0) ?? 0).toString(16)}>` : character);
    count += 1;
  }
  return shown;
}

/** A whole number with commas between its thousands, as on the command line: 131,072. @param {number} value */
export function count(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * A value in few characters: 0.9934, 0.020, 3.1e-5, with a real minus sign.
 *
 * @param {number} value
 * @param {number} [digits] significant digits
 */
export function number(value, digits = 3) {
  if (Number.isNaN(value)) return "none";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "\u2212∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-3 && size < 1e5 ? trimmed(value, digits) : value.toExponential(digits - 1).replace("e+", "e");
  return text.replace(/-/g, "\u2212");
}

/** @param {number} value @param {number} digits */
function trimmed(value, digits) {
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 6));
}
