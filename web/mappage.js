// The map page: the map with its tracks, and beside it the text, the next token and, where there is one, the influence.

import { el } from "./dom.js";
import * as influence from "./influence.js";
import * as map from "./map.js";
import * as next from "./next.js";
import * as text from "./text.js";

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  const stage = el("section", { class: "stage", "aria-label": "Map" });
  const aside = el("aside", { class: "panes", "aria-label": "Text and next token" });
  const page = el("div", { class: "map-page" }, stage, aside);
  parent.append(page);

  /** @type {import("./app.js").Part[]} */
  let beside = [];
  const open = () => {
    const slots = [{ name: "text", mount: text.mount }];
    if (app.tape.has.next) slots.push({ name: "next", mount: next.mount });
    if (app.tape.has.influence) slots.push({ name: "influence", mount: influence.mount });
    beside = slots.map((slot) => {
      const section = el("section", { class: `pane pane-${slot.name}` });
      aside.append(section);
      return slot.mount(section, app);
    });
  };
  const close = () => {
    for (const part of beside) part.destroy();
    beside = [];
    aside.replaceChildren();
  };

  page.classList.toggle("wide", !app.state.panes);
  const chart = map.mount(stage, app);
  if (app.state.panes) open();

  return {
    update(state, before) {
      if (state.panes !== before.panes) {
        page.classList.toggle("wide", !state.panes);
        if (state.panes) open();
        else close();
      }
      chart.update(state, before);
      for (const part of beside) part.update(state, before);
    },
    destroy() {
      close();
      chart.destroy();
    },
  };
}
