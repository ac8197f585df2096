"""Where there is little room: phones, small windows, an enlarged page; and fingers in place of a pointer."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import exact, until

PAGES = ("#/sheet?sort=entropy", "#/map/3/4?q=400&k=396&skip=1", "#/lesson", "#/lesson?n=24", "#/quiz?seed=1")


@pytest.fixture
def on(browser, viewing, watched):
    """Opens an address on a screen of some size, with fingers."""
    made = []

    def opened(address, width, height):
        context = browser.new_context(viewport={"width": width, "height": height}, has_touch=True)
        made.append(context)
        page = context.new_page()
        watched(page)
        page.goto(viewing.url + address)
        page.locator("#page > *").first.wait_for()
        return page

    yield opened
    for context in made:
        context.close()


@pytest.mark.parametrize(
    ("width", "height"), [(320, 640), (390, 844), (844, 390), (700, 430), (820, 600), (1024, 600)]
)
def test_nothing_runs_off_the_side_and_everything_can_be_reached(on, width, height):
    page = on("", width, height)
    for address in PAGES:
        page.evaluate("address => { location.hash = address }", address)
        page.wait_for_timeout(60)
        sizes = page.evaluate(
            """() => { const page = document.querySelector("#page"), root = document.documentElement;
                 return [root.scrollWidth, root.scrollHeight, page.scrollWidth, page.clientWidth]; }"""
        )
        assert sizes[0] <= width and sizes[1] <= height and sizes[2] <= sizes[3], (address, sizes)
        if "map" in address:
            exact(page)
            page.get_by_label("rows renormalised", exact=True).select_option("1")
            for part in (".foot", ".tools", "[data-testid=next-came]"):
                page.locator(part).first.scroll_into_view_if_needed()
                box = page.locator(part).first.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= width, part
                assert box["y"] >= 0 and box["y"] + box["height"] <= height, part


def test_maps_do_not_move_when_the_scores_come(on):
    page = on("", 1024, 600)
    page.locator(".sheet-head").first.wait_for()
    tops = page.evaluate(
        """() => ["", "previous 0.631"].map((words) => {
             for (const trait of document.querySelectorAll(".trait")) trait.textContent = words;
             const heads = [...document.querySelectorAll(".sheet-head")];
             return heads.map((one) => one.getBoundingClientRect().top);
           })"""
    )
    assert tops[0] == tops[1]


def test_a_narrow_map_has_its_legend_below_and_its_picture_holds_all_words(on):
    page = on("#/map/3/4?q=400&k=396", 390, 844)
    exact(page)
    expect(page.locator(".readout")).to_contain_text(re.compile(r"entropy [\d.e−-]+ nats"))
    page.get_by_role("button", name="Picture").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="SVG").click()
    svg = saved.value.path().read_text(encoding="utf-8")
    width = float(re.search(r'width="([\d.]+)"', svg)[1])
    assert width >= 600 and "never computed" in svg and "pinned: query 400" in svg


def test_fingers_move_the_map_pinch_it_and_pin(on):
    page = on("#/map/3/4", 390, 844)
    exact(page)
    session = page.context.new_cdp_session(page)
    box = page.locator("canvas.chart").bounding_box()
    x, y = box["x"] + 200, box["y"] + 250

    def touch(kind, *points):
        named = [{"x": px, "y": py, "id": at} for at, (px, py) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": named})

    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 11):
        touch("touchMove", (x - 20 - 8 * step, y), (x + 20 + 8 * step, y))
    touch("touchEnd")
    until(page, "location.hash.includes('z=')")
    found = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]))")
    assert "q" not in found, "a pinch pins nothing"
    page.wait_for_timeout(400)  # the address follows
    before = page.evaluate("Number(new URLSearchParams(location.hash.split('?')[1]).get('y'))")
    touch("touchStart", (x, y))
    for step in range(1, 11):
        touch("touchMove", (x, y - 6 * step))
    touch("touchEnd")
    page.wait_for_timeout(400)
    after = page.evaluate("Number(new URLSearchParams(location.hash.split('?')[1]).get('y'))")
    assert after > before and "q=" not in page.evaluate("location.hash")
    # A finger trembles: that is still a tap.
    page.evaluate(
        """([x, y]) => {
          const canvas = document.querySelector("canvas.chart");
          const send = (kind, dx) => canvas.dispatchEvent(new PointerEvent(kind, { bubbles: true, button: 0,
            pointerId: 7, pointerType: "touch", clientX: x + dx, clientY: y }));
          canvas.setPointerCapture = () => {};
          send("pointerdown", 0);
          for (const dx of [1, 2, 2, 3, 2, 2, 1, 2]) send("pointermove", dx);
          send("pointerup", 2);
        }""",
        [x, y],
    )
    until(page, "/[?&]q=\\d+&k=\\d+/.test(location.hash)")
    page.locator(".foot").scroll_into_view_if_needed()
    expect(page.locator(".readout")).to_contain_text("pinned query")


def test_what_is_said_when_the_server_goes_can_be_read_on_dark_paper(browser, viewing):
    page = browser.new_page(
        color_scheme="dark"
    )  # not watched: a request that fails is an error in its console
    try:
        page.route("**/api/status", lambda route: route.abort())
        page.goto(viewing.url + "#/lesson")
        banner = page.locator('.banner[role="alert"]')
        expect(banner).to_be_visible()
        style = banner.evaluate(
            "one => (({ color, backgroundColor }) => [color, backgroundColor])(getComputedStyle(one))"
        )
    finally:
        page.close()
    low, high = sorted(luminance([int(part) for part in re.findall(r"\d+", one)]) for one in style)
    assert (high + 0.05) / (low + 0.05) > 4.5


def luminance(rgb: list[int]) -> float:
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
