// The head of every page: where one is, where one can go, how it looks, and whether the server is still there.

import { write } from "./address.js";
import { count, el, fill } from "./dom.js";
import { isDark } from "./palette.js";
import { KNOWN } from "./tracks.js";

/** @typedef {import("./address.js").State} State */

const PAGES = /** @type {const} */ ([
  ["sheet", "Contact sheet"],
  ["map", "Map"],
  ["lesson", "Lesson"],
  ["quiz", "Quiz"],
]);

const KEYS = [
  ["wheel, pinch, + and \u2212", "zoom, towards the pointer or the pinned cell"],
  ["drag, arrow keys", "move the map"],
  ["0, Home, “Whole map”", "the whole map"],
  ["click", "pin a query and a key; again to unpin"],
  ["shift + arrow keys", "move the pinned query and key"],
  [", and .", "step to the query before and after"],
  [":250 in the search field", "token 250"],
  ["arrow keys in the text", "move the pin from token to token"],
  ["Esc", "unpin"],
  ["[ and ]", "previous and next head"],
  ["t", "text beside the map, or not"],
  ["e", "save the view as PNG or SVG"],
  ["d", "light or dark"],
  ["?", "this list"],
];

const THEMES = /** @type {const} */ (["auto", "light", "dark"]);

/**
 * @param {HTMLElement} parent
 * @param {import("./app.js").App} app
 */
export function chrome(parent, app) {
  const links = PAGES.map(([page, words]) => ({ page, link: el("a", {}, words) }));
  const look = el("button", { class: "quiet", click: () => dress(THEMES[(THEMES.indexOf(chosen()) + 1) % 3]) });
  const banner = el("div", { class: "banner", role: "alert", hidden: true });
  const { tape } = app;
  const name = [tape.title, tape.model].filter((part, index, all) => part && all.indexOf(part) === index).join(" \u00b7 ");
  const partly = Boolean(tape.left_out?.length) || !tape.complete || tape.skipped.length > 0;
  parent.append(
    el("span", { class: "brand" }, "lookbehind"),
    el("nav", { "aria-label": "Pages" }, ...links.map(({ link }) => link)),
    el("button", { class: "quiet about", title: "About this tape", click: about }, partly ? `${name} \u00b7 not all of it` : name),
    look,
    el("button", { class: "quiet", "aria-label": "Keys, gestures and tracks", title: "Keys, gestures and tracks (?)", click: help }, "?"),
  );
  const notice = el("div", { class: "banner notice", role: "status", hidden: true });
  parent.after(banner, notice);

  /** @returns {typeof THEMES[number]} */
  function chosen() {
    const now = document.documentElement.dataset.theme;
    return now === "light" || now === "dark" ? now : "auto";
  }

  /** @param {typeof THEMES[number]} theme */
  function dress(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    look.textContent = { auto: "Light/dark: auto", light: "Light", dark: "Dark" }[theme];
    try {
      localStorage.setItem("lookbehind-theme", theme);
    } catch {
      // A page opened from disk may have no storage; the choice then lasts as long as the page.
    }
    app.emit("theme");
  }

  function help() {
    const tracks = Object.entries(KNOWN).map(([name, { words }]) => [name, words]);
    tell("Keys, gestures and tracks", [...KEYS, ...tracks]);
  }

  /** What is on the tape, and what is not. */
  function about() {
    const { steps, skipped, left_out = [] } = tape;
    /** @type {[string, string][]} */
    const facts = [
      ["tape", tape.title],
      ["model", tape.model || "not recorded"],
      ["file", tape.source || "not given"],
      ["length", `${count(tape.n_queries)} queries, ${count(tape.n_keys)} keys${tape.offset ? `; query row 0 is position ${count(tape.offset)}` : ""}`],
      ["forward calls", steps.length > 1 ? `a prefill of ${count(steps[0])} rows, then ${count(steps.length - 1)} more` : "one"],
      ["layers", `${tape.layers.length}, ${count(tape.layers.reduce((sum, layer) => sum + layer.n_heads, 0))} heads`],
      ["computed by", `the ${tape.engine} engine`],
    ];
    if (!tape.complete) facts.push(["incomplete", "the recording was cut short; what is here is exact"]);
    for (const one of skipped) facts.push(["not shown", typeof one === "string" ? one : Array.isArray(one) ? one.join(": ") : `${one.name}: ${one.reason}`]);
    for (const words of left_out) facts.push(["left out", words]);
    tell("About this tape", facts);
  }

  /** @param {string} title @param {readonly (readonly string[])[]} pairs */
  function tell(title, pairs) {
    if (document.querySelector("dialog[open]")) return;
    const close = () => {
      dialog.close();
      dialog.remove();
    };
    const list = el("dl");
    for (const [term, words] of pairs) list.append(el("dt", {}, term), el("dd", {}, words));
    const dialog = el("dialog", { "aria-label": title, cancel: close }, el("h2", {}, title), list, el("button", { autofocus: true, click: close }, "Close"));
    document.body.append(dialog);
    dialog.showModal();
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement) return;
    if (event.key === "?") help();
    else if (event.key === "d") dress(isDark() ? "light" : "dark");
  });
  addEventListener("beforeprint", () => {
    const { dataset } = document.documentElement;
    const theme = chosen();
    dataset.theme = "light";
    app.emit("theme");
    const back = () => {
      if (theme === "auto") delete dataset.theme;
      else dataset.theme = theme;
      app.emit("theme");
    };
    addEventListener("afterprint", back, { once: true });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => app.emit("theme"));

  app.on("status", () => {
    const warning = app.status?.warning ?? "";
    if (app.alive && notice.textContent !== warning) notice.textContent = warning;
    notice.hidden = !notice.textContent;
    const gone = !app.alive;
    if (banner.hidden !== gone) return;
    banner.hidden = !gone;
    if (gone) {
      fill(
        banner,
        el("span", {}, "The server has stopped. What is on the screen stays, and goes on by itself should the server answer again; if it was started anew, open the address it printed. "),
        el("button", { click: () => void app.poll() }, "Try now"),
      );
    } else app.say("the server answers again");
  });

  let stored = null;
  try {
    stored = localStorage.getItem("lookbehind-theme");
  } catch {
    // As above.
  }
  dress(stored === "light" || stored === "dark" ? stored : "auto");

  // Where a link leads: the same head, pins and view on another page, as they are when it is used.
  const aim = () => {
    for (const { page, link } of links) link.href = write({ ...app.state, page });
  };
  for (const { link } of links) for (const event of ["pointerenter", "focus", "pointerdown"]) link.addEventListener(event, aim);
  aim();

  return {
    /** @param {Readonly<State>} state @param {Readonly<State>} before */
    update(state, before) {
      if (state !== before && state.page === before.page && state.layer === before.layer && state.head === before.head) return;
      aim();
      for (const { page, link } of links) {
        if (page === state.page) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      const names = { sheet: "Contact sheet", map: `Layer ${state.layer}, head ${state.head}`, lesson: "Lesson", quiz: "Quiz" };
      document.title = `${names[state.page]} \u2013 ${tape.title} \u2013 lookbehind`;
    },
  };
}
