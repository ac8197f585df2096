"""The atlas as a person meets it: sheet, map, text, next token, back and forth."""

import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import exact, until

# A head that reads what stands just before it, so that there is something to see.
LAYER, HEAD = 3, 4
PICTURE = Path(__file__).parent.parent.parent / "docs" / "atlas.png"


def number(text: str) -> float:
    """A number as the page prints it."""
    return float(text.replace("\u2212", "-").replace("\u202f", "").replace(",", ""))


def readout(page: Page) -> str:
    return page.locator(".readout").inner_text()


def box(page: Page, mark: str) -> dict:
    found = page.locator(f".cross.{mark}").bounding_box()
    assert found is not None
    return found


def test_the_sheet_shows_every_head_and_opens_one(atlas, tape):
    page = atlas("")
    cards = page.locator("a.sheet-head")
    expect(cards).to_have_count(36)
    page.locator('a.sheet-head[data-head="0.5"][data-state="exact"]').wait_for()
    page.get_by_label("Sort", exact=True).select_option("induction")
    expected = [f"{one.layer}.{one.head}" for one in tape.heads().sorted("induction")]
    expect(cards.first).to_have_attribute("data-head", expected[0])  # once the scores are there
    assert [card.get_attribute("data-head") for card in cards.all()] == expected
    expect(page.locator(".sheet-told")).to_have_text(
        "induction: mean weight on what followed the same token before"
    )
    page.get_by_label("Only heads with", exact=True).select_option("previous")
    page.locator(".sheet-least").fill("0.4")
    names = {f"{one.layer}.{one.head}" for one in tape.heads() if (one.previous or 0) >= 0.4}
    expect(cards).to_have_count(len(names))
    assert {card.get_attribute("data-head") for card in cards.all()} == names
    first = cards.first.get_attribute("data-head")
    cards.first.click()
    exact(page)
    layer, head = first.split(".")
    assert page.evaluate("location.hash").startswith(f"#/map/{layer}/{head}")
    expect(page).to_have_title(re.compile(f"Layer {layer}, head {head}"))
    page.go_back()
    expect(cards).to_have_count(len(names))
    page.reload()  # the address holds the filter
    expect(cards).to_have_count(len(names))


def test_zooming_to_a_cell_shows_its_product(atlas, tape):
    query, key = 400, 396
    page = atlas(f"#/map/{LAYER}/{HEAD}?q={query}&k={key}")
    exact(page)
    row, column = box(page, "pin-row"), box(page, "pin-key")
    page.mouse.move(column["x"] + column["width"] / 2, row["y"] + row["height"] / 2)
    for _ in range(30):
        page.mouse.wheel(0, -240)
        page.wait_for_timeout(20)
        if box(page, "pin-row")["height"] > 40 and box(page, "pin-key")["width"] > 40:
            break
    exact(page)
    page.keyboard.press("Escape")  # no pin: only what is pointed at
    row_weights, scores = tape.weights(LAYER, HEAD, query), tape.scores(LAYER, HEAD, query)
    for at, name in ((key, "the pinned cell"), (query + 1, "a key that comes later")):
        page.evaluate(
            "([q, k]) => { location.hash = `#/map/3/4?x=${k + 0.5}&y=${q + 0.5}&z=-5&q=${q}&k=${k}` }",
            [query, at],
        )
        page.wait_for_timeout(50)
        where_row, where_key = box(page, "pin-row"), box(page, "pin-key")
        page.mouse.move(
            where_key["x"] + where_key["width"] / 2, where_row["y"] + where_row["height"] / 2, steps=3
        )
        expect(page.locator(".readout")).to_contain_text(f"query {query}")
        if at > query:
            expect(page.locator(".readout")).to_contain_text("never computed")
            continue
        expect(page.locator(".readout")).to_contain_text("q·k")
        said = readout(page)
        assert repr(tape.tokens[query].strip())[1:-1] in said or tape.tokens[query].isspace(), name
        weight = number(re.search(r"weight ([^,]+),", said)[1])
        score = number(re.search(r"score ([^,]+),", said)[1])
        dot = number(re.search(r"q·k (\S+)", said)[1])
        assert weight == pytest.approx(float(row_weights[at]), rel=1e-3)
        assert score == pytest.approx(float(scores[at]), rel=1e-3)
        layer = tape.layer(LAYER)
        plain = float(layer.q[HEAD, query] @ layer.k[HEAD // 3, at])
        assert dot == pytest.approx(plain, rel=1e-3)


def test_tracks_lie_on_the_rows_of_the_map(atlas, tape):
    page = atlas(f"#/map/{LAYER}/{HEAD}?x=350&y=400.5&z=-4&panes=0")
    exact(page)
    page.wait_for_timeout(300)
    # Where a row of pixels differs from the one above, within the map and within each track.
    found = page.evaluate(
        """() => {
          const canvas = document.querySelector("canvas.chart");
          const { width, height } = canvas;
          const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          const same = (x0, x1, y) => {
            for (let at = 4 * (y * width + x0); at < 4 * (y * width + x1); at++)
              if (data[at] !== data[at - 4 * width]) return false;
            return true;
          };
          const changes = (x0, x1) => {
            const all = [];
            for (let y = 1; y < height; y++) if (!same(x0, x1, y)) all.push(y);
            return all;
          };
          const strips = Array.from({ length: Math.floor(width / 4) }, (_, n) => changes(4 * n, 4 * n + 4));
          return { width, height, changes: strips };
        }"""
    )
    pins = []
    for query in range(392, 409):
        page.evaluate("q => { location.hash = `#/map/3/4?x=350&y=400.5&z=-4&panes=0&q=${q}` }", query)
        page.locator(".cross.pin-row").wait_for()
        page.wait_for_timeout(30)
        pins.append(box(page, "pin-row"))
    top = page.locator("canvas.chart").bounding_box()["y"]
    edges = {round(one["y"] - top) for one in pins}
    assert len(edges) == 17
    low, high = min(edges), max(edges)
    left = round(pins[0]["x"] - page.locator("canvas.chart").bounding_box()["x"]) + 8
    strips = {
        4 * at: {y for y in column if low <= y <= high}
        for at, column in enumerate(found["changes"])
        if 4 * at >= left
    }
    # Every strip of the map, and of the tracks beside it, changes where a row begins and nowhere else.
    shared = {x: strip for x, strip in strips.items() if len(strip & edges) >= 6}
    assert len(shared) > 100 and max(shared) - min(shared) > found["width"] / 2
    assert max(shared) > found["width"] - 300  # tracks among them
    for x, strip in strips.items():
        assert {y for y in strip if min(abs(y - edge) for edge in edges) > 1} == set(), x


def test_text_and_map_are_linked_both_ways(atlas, tape):
    query = 380
    page = atlas(f"#/map/{LAYER}/{HEAD}?q={query}")
    exact(page)
    weights = tape.weights(LAYER, HEAD, query)
    expect(page.locator(f'.text-line .pinned-query[data-token="{query}"]').first).to_be_visible()
    # The row colours the text: the darker, the more it is read; later tokens are not even computed.
    until(page, "document.querySelectorAll('.text-line .never').length > 0")
    shades = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".text-line .t")].map((one) =>
             [one.dataset.token, one.classList.contains("never") ? null : one.style.backgroundColor]))"""
    )
    assert len(shades) > 50
    light = {}
    for token, colour in shades.items():
        assert (colour is None) == (int(token) > query), token
        if colour is not None:
            red, green, blue = map(int, re.findall(r"\d+", colour))
            light[int(token)] = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    order = sorted(light, key=lambda token: float(weights[token]))
    assert (
        torch.corrcoef(torch.tensor([[light[t] for t in order], list(map(float, range(len(order))))]))[0, 1]
        < -0.5
    )
    most = max(light, key=lambda token: float(weights[token]))
    assert light[most] == min(light.values())
    # From the text to the map: a token that is pointed at is a column there, and its weight is said.
    token = page.locator(f'.text-line [data-token="{most}"]').first
    token.hover()
    expect(page.locator(".cross.hover-key, .cross.hover-row").first).to_be_visible()
    # From the map to the text.
    spot = box(page, "pin-row")
    page.mouse.move(spot["x"] + spot["width"] * 0.2, spot["y"] + spot["height"] / 2)
    expect(page.locator(".cross.hover-row")).to_be_visible()
    # Search jumps the map.
    page.get_by_label("Search the text", exact=True).fill("class")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("text-found")).not_to_be_empty()
    until(page, "location.hash.includes('x=')")
    exact(page)


def test_stepping_shows_what_the_model_said_next(atlas, tape):
    first = tape.steps[0]
    page = atlas(f"#/map/{LAYER}/{HEAD}?q={first - 2}")
    exact(page)
    panel = page.get_by_test_id("next")
    panel.focus()
    for query in (first - 2, first - 1, first, first + 1):
        expect(panel).to_have_attribute("data-query", str(query))
        said = tape.next(query)
        rows = page.get_by_test_id("next-top").locator("tr")
        expect(page.locator(".next-after")).to_contain_text(str(query))
        until(page, "!document.querySelector('.next-body').classList.contains('waiting')")
        texts = rows.all_inner_texts()
        assert len(texts) >= 10
        for row, one in zip(texts, said.top, strict=False):
            assert number(re.findall(r"0?\.\d+|\d+e.\d+", row)[-1]) == pytest.approx(
                one.probability, abs=6e-4
            )
        expect(page.get_by_test_id("next-came")).to_contain_text("came next")
        step = page.get_by_test_id("next-step").inner_text()
        assert ("decode" in step) == (query >= first), step
        page.keyboard.press("ArrowRight")
    # The last row has no token after it.
    page.evaluate("q => { location.hash = `#/map/3/4?q=${q}` }", tape.n_queries - 1)
    expect(page.locator(".next-came")).to_have_text("The text ends here: no token came.")
    page.get_by_label("veil later rows").check()
    assert "grow=1" in page.evaluate("location.hash")


def test_back_undoes_deliberate_steps_only(atlas):
    page = atlas("#/map/0/0")
    exact(page)
    page.keyboard.press("]")
    until(page, "location.hash.startsWith('#/map/0/1')")
    canvas = page.locator("canvas.chart").bounding_box()
    page.mouse.move(canvas["x"] + 300, canvas["y"] + 400)
    page.mouse.down()
    page.mouse.move(canvas["x"] + 340, canvas["y"] + 430, steps=4)
    page.mouse.up()
    page.get_by_role("link", name="Lesson").click()
    expect(page.get_by_test_id("lesson-map")).to_be_visible()
    page.go_back()
    until(page, "location.hash.startsWith('#/map/0/1')")
    page.go_back()
    until(page, "location.hash.startsWith('#/map/0/0')")
    exact(page)


def test_two_viewers_at_once(atlas, browser, viewing, watched):
    one = atlas("#/map/1/0")
    context = browser.new_context(viewport={"width": 1100, "height": 700})
    try:
        other = context.new_page()
        watched(other)
        other.goto(viewing.url + "#/map/5/3?of=score")
        exact(one)
        exact(other)
        assert "Layer 1, head 0" in one.title() and "Layer 5, head 3" in other.title()
    finally:
        context.close()


def test_on_paper_everything_is_there_light_and_where_it_belongs(atlas):
    page = atlas("")
    page.locator('a.sheet-head[data-head="0.5"][data-state="exact"]').wait_for()
    sheets = re.compile(rb"/Type\s*/Page\b")
    assert len(sheets.findall(page.pdf(format="A4"))) > 1, "all heads, not those of a screen"
    page.evaluate("location.hash = '#/map/3/4?q=400&k=200'")
    exact(page)
    page.keyboard.press("d")
    assert len(sheets.findall(page.pdf(format="A4", landscape=True))) == 1
    until(page, "document.documentElement.dataset.theme === 'dark'")
    canvas, row, key = page.locator("canvas.chart").bounding_box(), box(page, "pin-row"), box(page, "pin-key")
    x, y = key["x"] - canvas["x"], row["y"] - canvas["y"]

    def colours():
        return page.evaluate(
            """places => { const pen = document.querySelector("canvas.chart").getContext("2d");
                 return places.map(([x, y]) => [...pen.getImageData(x, y, 1, 1).data].slice(0, 3)); }""",
            [[2, 2], [x - 30, y], [x, y + 30]],
        )

    page.wait_for_timeout(100)
    dark = colours()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    light = colours()
    page.emulate_media(media="print")
    expect(page.locator(".cross.pin-row")).to_be_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_timeout(100)
    assert colours() == dark
    assert dark[0] == [23, 24, 27] and light[0] == [255, 255, 255]
    for red, green, blue in light[1:]:
        assert red > 150 and green < 120 and blue < 100, "what is pinned is drawn on the map"


def test_a_picture_of_it_for_the_readme(atlas, tape, tmp_path):
    """The induction head, and a query it answers. `LOOKBEHIND_PICTURES=1 make test` writes docs/atlas.png."""
    one = tape.heads().sorted("induction")[0]
    weights = tape.weights(one.layer, one.head).tril(-20)  # far from the query's own neighbours
    query, key = divmod(int(weights.argmax()), tape.n_keys)
    page = atlas(f"#/map/{one.layer}/{one.head}?q={query}&k={key}")
    exact(page)
    expect(page.get_by_test_id("next-top")).to_be_visible()
    expect(page.locator(".readout")).to_contain_text("q·k")
    page.wait_for_timeout(400)  # the scale fits itself to what is in sight
    out = PICTURE if os.environ.get("LOOKBEHIND_PICTURES") else tmp_path / "atlas.png"
    page.screenshot(path=out)
    with Image.open(out) as image:
        assert image.size == (1400, 900) and len(image.convert("RGB").getcolors(1 << 24)) > 500
