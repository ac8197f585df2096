"""How smoothly the atlas moves: frames of Chromium without a GPU, while the map is panned and zoomed.

    python benchmarks/frames.py [run.tape] [--json]

Needs playwright and Chromium (or LOOKBEHIND_CHROMIUM). Without a tape, a synthetic one of 16,384 tokens is
made. The page moves the map itself once per frame, as a hand would, with the tiles already there. Beside
frames per second stands the processor time that the page's thread needs for a frame: it tells a busy machine
from a slow page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from lookbehind.atlas.serving import view
from lookbehind.tape import Tape, load

SIZE = {"width": 1400, "height": 900}
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)
SECONDS = 3.0
# Where the map is looked at: what is asked of the painter differs between these.
VIEWS = (
    ("the whole map", None, "zoom"),
    ("a cell a pixel", 0.0, "pan"),
    ("16 pixels a cell, tokens on the axes", -4.0, "pan"),
    ("74 pixels a cell, products in the cells", -6.2, "pan"),
)
MOVE = """
async ({ kind, ms }) => {
  const chart = document.querySelector(".chart");
  const box = chart.getBoundingClientRect();
  const at = (type, x, y, more = {}) => {
    const Kind = type === "wheel" ? WheelEvent : PointerEvent;
    const where = { clientX: box.left + x, clientY: box.top + y, pointerId: 1, button: 0 };
    chart.dispatchEvent(new Kind(type, { ...where, bubbles: true, cancelable: true, ...more }));
  };
  chart.setPointerCapture = () => {};
  const waits = [];
  let before = performance.now();
  const start = before;
  if (kind === "pan") at("pointerdown", 400, 380);
  await new Promise((done) => {
    let frame = 0;
    const next = (now) => {
      waits.push(now - before);
      before = now;
      frame += 1;
      const [x, y] = [400 + 150 * Math.sin(frame / 20), 380 + 120 * Math.sin(frame / 15)];
      if (kind === "pan") at("pointermove", x, y);
      else at("wheel", 420, 400, { deltaY: Math.sin(frame / 33) > 0 ? -25 : 25 });
      if (now - start < ms) requestAnimationFrame(next);
      else done();
    };
    requestAnimationFrame(next);
  });
  if (kind === "pan") at("pointerup", 400, 380);
  return waits.slice(1).sort((a, b) => a - b);
}
"""


def chromium() -> str:
    """The browser to measure."""
    named = os.environ.get("LOOKBEHIND_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if named is None:
        raise SystemExit("frames: Chromium is needed; apt-get install chromium, or set LOOKBEHIND_CHROMIUM")
    return named


def measure(page: Page, address: str, tape: Tape, zoom: float | None, kind: str) -> dict[str, float]:
    """One view: moved once to fetch what there is to fetch, then again to be measured."""
    middle = tape.layers[0].spans.n_queries // 2
    where = "" if zoom is None else f"?x={middle - 100}&y={middle}&z={zoom}"
    page.goto("about:blank")
    page.goto(f"{address}#/map/0/0{where}")
    page.wait_for_selector(".figure[data-state=exact]", timeout=120_000)
    page.evaluate(MOVE, {"kind": kind, "ms": 1000 * SECONDS})
    page.wait_for_selector(".figure[data-state=exact]", timeout=120_000)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _busy(devtools)
    waits = page.evaluate(MOVE, {"kind": kind, "ms": 1000 * SECONDS})
    busy = _busy(devtools) - before
    return {
        "frames_per_second": 1000 * len(waits) / sum(waits),
        "p95_ms": waits[int(0.95 * len(waits))],
        "longest_ms": waits[-1],
        "page_ms_per_frame": 1000 * busy / len(waits),
    }


def _busy(devtools: Any) -> float:
    found = devtools.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in found if one["name"] == "TaskDuration")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tape", nargs="?", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = asked.tape or Path(folder) / "synthetic.tape"
        if asked.tape is None:
            from synthetic import synthetic

            synthetic(16_384).save(path)
        tape = load(path)
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        with view(tape, open_browser=False) as server:
            page = browser.new_page(viewport=SIZE)
            found = [
                {"view": name, "move": kind, **measure(page, server.url, tape, zoom, kind)}
                for name, zoom, kind in VIEWS
            ]
        browser.close()
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "views": found}, indent=2))
        return 0
    load_now = os.getloadavg()[0]
    print(f"Chromium without a GPU, {SIZE['width']} x {SIZE['height']}; load of the machine {load_now:.1f}")
    for one in found:
        print(
            f"{one['move']:4}  {one['view']:40}  {one['frames_per_second']:5.1f} frames/s  "
            f"95 % within {one['p95_ms']:5.1f} ms  its thread {one['page_ms_per_frame']:4.1f} ms a frame"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
