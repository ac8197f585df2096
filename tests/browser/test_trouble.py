"""What must hold when things are against it: no network, hostile texts, a server that stops."""

import re

import pytest
from playwright.sync_api import expect

from lookbehind.atlas import serving
from lookbehind.atlas.serving import view
from lookbehind.tape import load
from lookbehind.tape.predictions import Predictions
from tests.browser.conftest import exact, until
from tests.tapes import tape as random_tape

HOSTILE = [
    "</script><script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 2'>",
    '"><svg onload="window.broken = 3">',
    "\u202etfel ot thgir\u202c",
    "a\x00b\x1b[31m",
    "x" * 10_000,
    "\ud800",
    "",
    "\u2028\u2029\ufeff",
    "javascript:window.broken = 4",
    "🜁́̂̃̄̅",
    "${window.broken = 5}`{{7*7}}",
]


@pytest.fixture
def hostile(tmp_path):
    """A tape whose every text is an attack."""
    import torch

    n = 40
    tape = random_tape(n, tokens=[HOSTILE[at % len(HOSTILE)] for at in range(n)], ids=list(range(n)))
    tape.meta["model"] = HOSTILE[1]
    for layer in tape.layers:
        layer.name = HOSTILE[0]
    tape.skipped = [(HOSTILE[0], HOSTILE[1], HOSTILE[2])]
    ids = torch.arange(10, dtype=torch.int32).repeat(n, 1)
    tape.predictions = Predictions(
        ids, torch.full((n, 10), 0.05), torch.full((n,), 3.0), torch.tensor(torch.nan)
    )
    tape.vocabulary = {at: HOSTILE[at] for at in range(10)}
    return tape


def unbroken(page) -> None:
    """Nothing of the texts has become markup or script."""
    assert page.evaluate("window.broken") is None
    assert (
        page.evaluate("document.querySelectorAll('img, iframe, script[src*=broken], svg[onload]').length")
        == 0
    )


def visit_everything(page, address) -> None:
    for where in (
        "#/sheet",
        "#/map/1/1?q=13&k=12&x=10&y=14&z=-5",
        "#/map/0/0?q=29&k=5",
        "#/lesson",
        "#/quiz?seed=1",
    ):
        page.goto("about:blank")
        page.goto(address + where)
        if "map" in where:
            exact(page)
            expect(page.get_by_test_id("next-top")).to_be_visible()
            expect(page.locator(".text-line").first).to_be_visible()
            expect(page.locator(".readout")).to_contain_text("weight")
            page.get_by_label("Search the text", exact=True).fill("<img")
            page.keyboard.press("Enter")
            page.locator(".text-line .t").first.hover()
        elif "sheet" in where:
            page.locator('a.sheet-head[data-state="exact"]').first.wait_for()
        unbroken(page)


def test_hostile_texts_stay_texts(page, hostile, watched, tmp_path):
    watched(page)
    with view(hostile, open_browser=False) as viewing:
        visit_everything(page, viewing.url)
        page.goto("about:blank")  # a page that asks on when its server has gone logs an error, rightly
    out = tmp_path / "hostile.html"
    hostile.export(out, title=HOSTILE[0])
    visit_everything(page, out.as_uri())


def test_an_export_opens_from_disk_without_a_network(browser, tape, tmp_path, watched):
    out = tmp_path / "page.html"
    tape.export(out, heads=[(3, 4), (1, 0)], title="exported")
    assert out.stat().st_size < 10_000_000
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    try:
        page = context.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        faults = watched(page)
        query, key = 410, 402
        page.goto(out.as_uri())
        cards = page.locator('a.sheet-head[data-state="exact"]')
        cards.first.wait_for()
        page.goto(out.as_uri() + f"#/map/3/4?q={query}&k={key}&x={key}&y={query}&z=-5")
        exact(page)
        expect(page.locator(".readout")).to_contain_text("q·k")
        said = page.locator(".readout").inner_text().replace("\u2212", "-")
        weight = float(re.search(r"weight ([^,]+),", said)[1])
        assert weight == pytest.approx(float(tape.weights(3, 4, query)[key]), rel=1e-3)
        assert float(re.search(r"loss (\S+)", said)[1]) == pytest.approx(float(tape.loss()[query]), rel=1e-2)
        came = tape.next(query).came
        expect(page.get_by_test_id("next-came")).to_contain_text(f"{came.probability:.3f}"[:4])
        # Every way of looking at it is computed in the page.
        for more in ("&of=score&pool=mean", "&of=enrichment&skip=1&renorm=1", "&of=relative"):
            page.goto(out.as_uri() + f"#/map/1/0?q={query}{more}")
            exact(page)
        # A head that is not there exactly says so, and its small map is there.
        page.goto(out.as_uri() + "#/map/0/0")
        expect(page.locator(".caption")).to_contain_text("largest weight of 4 × 4 cells")
        canvas = page.locator("canvas.chart").bounding_box()
        page.mouse.move(canvas["x"] + canvas["width"] * 0.2, canvas["y"] + canvas["height"] * 0.7)
        expect(page.locator(".readout")).to_contain_text(re.compile("queries .* keys .*: never computed"))
        page.get_by_role("button", name="not all of it").click()
        expect(page.get_by_role("dialog")).to_contain_text("queries and keys of 34 of 36 heads")
        page.keyboard.press("Escape")
        page.goto(out.as_uri() + "#/map/0/0?of=score")
        expect(page.locator(".standing")).to_contain_text("this page holds layer 0, head 0 only as weights")
        assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)
        assert faults == []
    finally:
        context.close()


def test_a_server_that_stops_is_said_and_comes_back(page, recorded, monkeypatch):
    monkeypatch.setattr(serving.secrets, "token_urlsafe", lambda size: "t" * 22)
    page.set_default_timeout(20_000)
    first = view(load(recorded), open_browser=False)
    port = int(re.search(r":(\d+)/", first.url)[1])
    try:
        page.goto(first.url + "#/map/2/2")
        exact(page)
        # In the middle of a load: what is asked for next finds nobody.
        page.route("**/api/tiles**", lambda route: (first.close(), route.continue_()))
        page.evaluate("location.hash = '#/map/4/4'")
        banner = page.locator('.banner[role="alert"]')
        expect(banner).to_be_visible(timeout=20_000)
        expect(banner).to_contain_text("The server has stopped")
        page.unroute("**/api/tiles**")
    finally:
        first.close()
    with view(load(recorded), open_browser=False, port=port):
        expect(banner).to_be_hidden(timeout=20_000)
        exact(page)
        assert page.evaluate("location.hash").startswith("#/map/4/4")
        until(page, "document.querySelector('.standing').textContent === ''")


def test_a_server_started_anew_at_the_same_port_is_not_taken_for_the_old_one(page, recorded):
    first = view(load(recorded), open_browser=False)
    port = int(re.search(r":(\d+)/", first.url)[1])
    try:
        page.goto(first.url + "#/map/2/2")
        exact(page)
    finally:
        first.close()
    banner = page.locator('.banner[role="alert"]')
    expect(banner).to_be_visible()
    with view(load(recorded), open_browser=False, port=port):
        with page.expect_response("**/api/status") as answer:  # its token is another
            pass
        assert answer.value.status == 404
        page.wait_for_timeout(200)
        expect(banner).to_be_visible()
        expect(banner).to_contain_text("if it was started anew, open the address it printed")
