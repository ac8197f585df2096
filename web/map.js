// The map: one canvas for tiles, axes, tracks and legend, so that what belongs together lies on the same pixels.

import { paintAxes, TOKEN_ROOM } from "./axes.js";
import { CellStore, paintCells, ROOM } from "./cells.js";
import { controls } from "./controls.js";
import { crosshair } from "./crosshair.js";
import { el, fill } from "./dom.js";
import { gestures } from "./gestures.js";
import { keys } from "./keys.js";
import { paintLegend } from "./legend.js";
import { isDark, ramp, theme } from "./palette.js";
import { groundOf, paintPins, savePicture } from "./picture.js";
import { attached, extent, layoutOf, paintMap, wishes } from "./plate.js";
import { readout } from "./readout.js";
import { fit, ruler, usual } from "./scale.js";
import { subjectName, Tiles } from "./tiles.js";
import { paintTracks, series } from "./tracks.js";
import { keyAt, LARGEST_CELL, levelOf, rowAt, sight, viewOf, wholeScale } from "./view.js";
import { caption, title, where } from "./words.js";

/** @typedef {import("./plate.js").Scene} Scene */
/** @typedef {import("./address.js").State} State */

const REFIT_AFTER = 160;
const TRACKS_AGAIN = 1500;
const PATIENCE = 500;
const REFRESH_EVERY = 3500;
const SAY_AFTER = 450;

/** @type {import("./app.js").Mount} */
export function mount(parent, app) {
  const heading = el("h1", { class: "unseen" });
  const sentence = el("div", { class: "sentence" });
  const words = el("p", {});
  const under = el("div", { class: "caption" }, words);
  const line = el("p", { class: "readout" });
  const standing = el("p", { class: "standing", role: "status" });
  const canvas = el("canvas", { class: "chart", tabindex: 0, role: "application", "aria-roledescription": "map" });
  const figure = el("div", { class: "figure" }, canvas);
  const lines = crosshair(figure);
  parent.append(heading, sentence, under, figure, el("div", { class: "foot" }, line, standing));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));

  /** @type {Scene} */
  let scene;
  let width = 0;
  let height = 0;
  let frame = 0;
  let refit = 0;
  let tracksTimer = 0;
  let captionText = "";
  let sampledPolled = false;
  let waitingSince = 0;
  let sayTimer = 0;
  /** @type {{x: number, y: number} | null} where the pointer rests */
  let pointer = null;
  /** @type {Map<string, [number, number]>} the last fit of each quantity, to begin with when it is shown again */
  const fits = new Map();
  /** @type {import("./tracks.js").Series[]} */
  let tracks = [];
  let tracksOf = "";
  let dark = isDark();
  let font = "sans-serif";

  const tiles = new Tiles(app.source, { changed: draw, missed: () => app.missed() });
  const cells = new CellStore(app.source, draw);
  const bar = controls(sentence, under, app, {
    range: () => [scene.ruler.low, scene.ruler.high],
    whole: () => app.set({ x: null, y: null, z: null }, { push: true }),
    picture: () => savePicture(scene, parent),
  });

  /** Where everything lies at a scale; null is that of the whole map. @param {number | null} scale */
  function roomFor(scale) {
    const { tape, tokens } = app;
    const beside = tracks.filter((track) => track.axis === "query").length || (tape.has.next ? 3 : 2);
    const tall = layoutOf(width, height, beside, true);
    const whole = wholeScale(tall.plot, tape.n_queries, tape.n_keys);
    return tokens && Math.max(scale ?? 0, whole) >= TOKEN_ROOM ? tall : layoutOf(width, height, beside, false);
  }

  /** Everything to be painted now, from the state. @param {number} ratio */
  function compose(ratio) {
    const { state, tape } = app;
    const room = roomFor(state.z === null ? null : 2 ** -state.z);
    const view = viewOf(state, room.plot, ratio, tape.n_queries, tape.n_keys);
    const layout = attached(room, extent(view));
    const fitted = fits.get(fitName(state)) ?? usual(state);
    const scale = ruler(state, fitted);
    const colours = `${dark} ${scale.of} ${scale.log} ${scale.low} ${scale.high}`;
    const rgba = scene && scene.colours === colours ? scene.rgba : ramp(dark, scale.diverging);
    // An exported page may hold a head only from a level on.
    const level = Math.max(levelOf(view, tape.top), app.source.finest?.(state.layer, state.head) ?? 0);
    scene = { view, level, tiles, ruler: scale, rgba, colours, theme: theme(dark), font, state, app, cells, series: tracks, layout };
  }

  /** Paints at the next frame. */
  function draw() {
    if (!frame) frame = requestAnimationFrame(paint);
  }

  function paint() {
    frame = 0;
    if (!width || !height) return;
    const ratio = devicePixelRatio || 1;
    if (!app.state.range && !fits.has(fitName(app.state))) measure();
    compose(ratio);
    const { view, state } = scene;
    const wish = wishes(scene);
    tiles.want({ layer: state.layer, head: state.head, of: state.of, pool: state.pool, skip: state.skip, renorm: state.renorm }, wish.places);
    if (view.scale >= ROOM.weight && scene.level === 0) cells.want("sight", state.layer, state.head, sight(view), view.rows, view.columns);

    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = scene.theme.paper;
    context.fillRect(0, 0, width, height);
    paintMap(context, scene, wish.own);
    paintCells(context, scene, groundOf(scene));
    paintAxes(context, scene);
    paintTracks(context, scene);
    paintLegend(context, scene, scene.layout.legend);
    // The map may have moved under a pointer at rest.
    if (pointer && app.hover?.from === "map") point(pointer.x, pointer.y);
    lines.put(scene);
    tell();
    clearTimeout(refit);
    refit = setTimeout(fitAgain, REFIT_AFTER);
  }

  /** @param {Readonly<State>} state */
  function fitName(state) {
    return `${subjectName(state)} ${state.scale}`;
  }

  /** Fits the scale to the tiles in sight; whether that changed it. */
  function measure() {
    const { state } = app;
    if (tiles.prefix !== `${subjectName(state)} `) return false;
    const { values, greatest } = tiles.samples();
    const found = fit(state, values, greatest);
    const before = fits.get(fitName(state));
    if (!found || (before && before[0] === found[0] && before[1] === found[1])) return false;
    fits.set(fitName(state), found);
    return true;
  }

  /** Fits again, once the view rests: colours must not change under a moving hand. */
  function fitAgain() {
    refit = 0;
    if (!app.state.range && measure()) draw();
  }

  /** Words below and above the map, and what a screen reader hears of it. */
  function tell() {
    const { missing, sampled, words: failure } = tiles.standing();
    const clauses = caption(scene);
    const text = clauses.join("  \u00b7  ");
    if (text !== captionText) {
      captionText = text;
      words.textContent = text;
      heading.textContent = title(scene);
      canvas.setAttribute("aria-label", `${title(scene)}. ${where(scene, sight(scene.view))}. ${clauses.join("; ")}.`);
    }
    const job = app.status?.jobs.find((one) => one.layer === app.state.layer && one.head === app.state.head);
    const progress = job && job.total ? `, ${Math.floor((100 * job.done) / job.total)}%` : "";
    if (!missing) waitingSince = 0;
    else if (!waitingSince) {
      waitingSince = performance.now();
      setTimeout(draw, PATIENCE + 20);
    }
    const late = missing > 0 && performance.now() - waitingSince > PATIENCE;
    const now = failure
      ? `${app.source.live ? "a part of the map could not be made: " : ""}${failure}`
      : sampled
        ? `sampled: a preview; the exact map is being made${progress}`
        : late
          ? `${missing} of the map\u2019s tiles on their way${progress}`
          : scene.level > levelOf(scene.view, app.tape.top)
            ? `of layer ${app.state.layer}, head ${app.state.head} this page holds ${2 ** scene.level} × ${2 ** scene.level} cells a pixel and coarser`
            : "";
    if (standing.textContent !== now) standing.textContent = now;
    standing.classList.toggle("sampled", sampled > 0);
    figure.dataset.state = missing ? "loading" : sampled ? "sampled" : "exact";
    if (sampled && !sampledPolled) {
      sampledPolled = true;
      void app.poll();
    }
    readout(line, scene);
  }

  /** The cell at a place, or null away from the map. @param {number} x @param {number} y */
  function cellAt(x, y) {
    const { view } = scene;
    const { plot } = view;
    const key = Math.floor(keyAt(view, x));
    const row = Math.floor(rowAt(view, y));
    // Beside the map, a track or an axis still names its row or its key.
    const down = x >= plot.x && x <= plot.x + plot.width && key >= 0 && key < view.columns;
    const across = y >= plot.y && y <= plot.y + plot.height && row >= 0 && row < view.rows;
    return down || across ? { query: across ? row : null, key: down ? key : null } : null;
  }

  /** @param {number} x @param {number} y @param {number} scale @param {{push?: boolean}} [how] */
  function go(x, y, scale, how) {
    const { plot } = roomFor(scale);
    const whole = wholeScale(plot, app.tape.n_queries, app.tape.n_keys);
    if (scale <= whole * 1.0001) {
      app.set({ x: null, y: null, z: null }, how);
      return;
    }
    const kept = viewOf({ x, y, z: -Math.log2(scale) }, plot, scene.view.ratio, app.tape.n_queries, app.tape.n_keys);
    app.set({ x: kept.x, y: kept.y, z: -Math.log2(kept.scale) }, how);
  }

  /** @param {number} dx @param {number} dy in pixels */
  function pan(dx, dy) {
    compose(scene.view.ratio);
    const { view } = scene;
    go(view.x - dx / view.scale, view.y - dy / view.scale, view.scale);
  }

  /** @param {number} factor @param {number} x @param {number} y */
  function zoom(factor, x, y) {
    compose(scene.view.ratio);
    const { view } = scene;
    const whole = wholeScale(view.plot, view.rows, view.columns);
    const scale = Math.min(LARGEST_CELL, Math.max(whole, view.scale * factor));
    const { plot } = roomFor(scale);
    // What is under the pointer stays under it.
    const key = keyAt(view, x);
    const row = rowAt(view, y);
    go(key - (x - plot.x - plot.width / 2) / scale, row - (y - plot.y - plot.height / 2) / scale, scale);
  }

  /** @param {number} x @param {number} y */
  function point(x, y) {
    pointer = { x, y };
    const at = cellAt(x, y);
    app.point(at ? { ...at, from: "map" } : null);
    if (at && at.query !== null && at.key !== null && scene.level === 0) {
      cells.want("point", app.state.layer, app.state.head, { q0: at.query, q1: at.query + 1, k0: at.key, k1: at.key + 1 }, scene.view.rows, scene.view.columns);
    }
  }

  gestures(canvas, {
    pan,
    zoom,
    point,
    leave() {
      pointer = null;
      app.point(null);
    },
    click(x, y) {
      const at = cellAt(x, y);
      if (!at) return;
      const { query, key } = app.state;
      const same = (at.query === null || at.query === query) && (at.key === null || at.key === key);
      app.pin(at.query === null ? undefined : same ? null : at.query, at.key === null ? undefined : same ? null : at.key);
    },
  });

  /** Fetches the tracks of the head, and again while the server is still at them. */
  async function fetchTracks() {
    const { layer, head } = app.state;
    const name = `${layer}.${head}`;
    clearTimeout(tracksTimer);
    if (tracksOf !== name) {
      tracksOf = name;
      tracks = [];
    }
    try {
      const found = await app.source.tracks(layer, head);
      if (tracksOf !== name) return;
      tracks = found.tracks.map(series);
      if (found.state !== "ready") tracksTimer = setTimeout(() => void fetchTracks(), TRACKS_AGAIN);
      draw();
    } catch {
      // The tiles say what is wrong; the tracks only come back when they can.
      tracksTimer = setTimeout(() => void fetchTracks(), 4 * TRACKS_AGAIN);
      app.missed();
    }
  }

  function dress() {
    dark = isDark();
    font = getComputedStyle(document.body).fontFamily;
    draw();
  }

  /** Paints for paper, where the canvas is all there is: what is pinned is drawn on it. */
  function printed() {
    cancelAnimationFrame(frame);
    paint();
    if (scene) paintPins(context, scene);
  }
  addEventListener("beforeprint", printed);

  const watch = new ResizeObserver(() => {
    const box = figure.getBoundingClientRect();
    const ratio = devicePixelRatio || 1;
    width = Math.floor(box.width);
    height = Math.floor(box.height);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    // Painted at once: a resized canvas is blank, and would flash.
    cancelAnimationFrame(frame);
    paint();
  });

  let jobsBefore = "";
  let refreshed = 0;
  let aliveBefore = app.alive;
  const off = [
    app.on("hover", () => {
      if (!scene) return;
      scene.state = app.state;
      lines.put(scene);
      readout(line, scene);
    }),
    app.on("theme", dress),
    app.on("status", () => {
      const { layer, head, of, skip } = app.state;
      const mine = app.status?.jobs.find((job) => job.layer === layer && job.head === head && job.of === of && job.skip === skip);
      const now = mine ? `${mine.done}` : "";
      // As a pass goes on, and when it is done, what was sampled becomes exact: asked for now and then, and at its end.
      const due = !mine || performance.now() - refreshed > REFRESH_EVERY;
      if (app.alive && ((now !== jobsBefore && due && tiles.standing().sampled) || !aliveBefore)) {
        refreshed = performance.now();
        tiles.refresh();
      }
      if (app.alive && !aliveBefore) void fetchTracks();
      sampledPolled = sampledPolled && Boolean(mine);
      aliveBefore = app.alive;
      if (now !== jobsBefore) draw();
      jobsBefore = now;
    }),
  ];
  const silence = keys(canvas, app, {
    pan,
    zoom,
    scene: () => scene,
    picture: () => savePicture(scene, parent),
  });
  dress();
  watch.observe(figure);
  bar.update(app.state);
  pinned(app.state);
  void fetchTracks();

  /** A pinned cell is named with its product: that is fetched. @param {Readonly<State>} state */
  function pinned(state) {
    const { query, key, layer, head } = state;
    if (query !== null && key !== null) cells.want("pin", layer, head, { q0: query, q1: query + 1, k0: key, k1: key + 1 }, app.tape.n_queries, app.tape.n_keys);
    clearTimeout(sayTimer);
    if (query !== null || key !== null) sayTimer = setTimeout(() => app.say(line.textContent ?? ""), SAY_AFTER);
  }

  return {
    update(state, before) {
      if (state.layer !== before.layer || state.head !== before.head) void fetchTracks();
      if (state.query !== before.query || state.key !== before.key || state.layer !== before.layer || state.head !== before.head) pinned(state);
      bar.update(state);
      draw();
    },
    destroy() {
      silence();
      removeEventListener("beforeprint", printed);
      for (const stop of off) stop();
      watch.disconnect();
      cancelAnimationFrame(frame);
      clearTimeout(refit);
      clearTimeout(tracksTimer);
      clearTimeout(sayTimer);
      tiles.stop();
      cells.stop();
      fill(parent);
    },
  };
}
