// Boot: open the source, then keep the page that the address names mounted.

import { App } from "./app.js";
import { chrome } from "./chrome.js";
import { el } from "./dom.js";
import { embedded } from "./embedded.js";
import * as lesson from "./lesson.js";
import * as mapPage from "./mappage.js";
import * as quiz from "./quiz.js";
import * as sheet from "./sheet.js";
import { server } from "./source.js";

/** @type {Record<import("./address.js").State["page"], {mount: import("./app.js").Mount}>} */
const PAGES = { sheet, map: mapPage, lesson, quiz };

async function boot() {
  const source = embedded() ?? server();
  const [tape, tokens] = await Promise.all([source.tape(), source.tokens()]);
  const app = new App(source, tape, tokens);

  const top = el("header", { class: "top" });
  const main = el("main", { id: "page" });
  const said = el("p", { id: "said", class: "unseen", "aria-live": "polite" });
  document.body.replaceChildren(top, main, said);
  const bar = chrome(top, app);

  let shown = app.state.page;
  let part = PAGES[shown].mount(main, app);
  main.dataset.page = shown;
  bar.update(app.state, app.state);

  let before = app.state;
  app.on("state", () => {
    const state = app.state;
    const previous = before;
    before = state;
    bar.update(state, previous);
    if (state.page !== shown) {
      part.destroy();
      main.replaceChildren();
      shown = state.page;
      main.dataset.page = shown;
      part = PAGES[shown].mount(main, app);
      app.point(null);
    } else {
      part.update(state, previous);
    }
  });
}

boot().catch((error) => {
  const words = error instanceof Error ? error.message : String(error);
  document.body.replaceChildren(
    el(
      "main",
      { class: "failed" },
      el("h1", {}, "The atlas could not open"),
      el("p", {}, words),
      el("button", { click: () => location.reload() }, "Try again"),
    ),
  );
});
