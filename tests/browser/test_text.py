"""The text pane: search, keys, and that only what is in sight is made."""

import re

from playwright.sync_api import Page, expect

LAYER, HEAD = 3, 4


def expect_pin(page: Page, query: int) -> None:
    """The address names this query, which is the one pinned."""
    expect(page).to_have_url(re.compile(rf"[?&]q={query}(&|$)"))


def test_search_finds_what_is_in_the_text(atlas, tape):
    page = atlas(f"#/map/{LAYER}/{HEAD}")
    whole = "".join(tape.tokens).lower()
    starts = [0]
    for token in tape.tokens:
        starts.append(starts[-1] + len(token))
    field, found = page.get_by_label("Search the text", exact=True), page.get_by_test_id("text-found")
    for sought in ("def", "self.", "Return", "e"):
        expected = [one.start() for one in re.finditer(re.escape(sought.lower()), whole)]
        page.get_by_test_id("text").evaluate("one => { one.scrollTop = 0; }")  # it begins at what is in sight
        field.fill(sought)
        if not expected:
            expect(found).to_have_text("no match")
            continue
        expect(found).to_have_text(re.compile(rf"^1 of {len(expected)}$"))
        field.press("Enter")
        tokens = [max(t for t in range(len(tape.tokens)) if starts[t] <= place) for place in expected]
        expect_pin(page, tokens[0])
        if len(expected) > 1:
            field.press("Enter")
            expect_pin(page, tokens[1])
            field.press("Shift+Enter")
            field.press("Shift+Enter")
            expect(found).to_have_text(f"{len(expected)} of {len(expected)}")
            expect_pin(page, tokens[-1])
        expect(page.locator(".text-line .match.now").first).to_be_visible()
    field.fill(":123")
    field.press("Enter")
    expect_pin(page, 123)
    field.fill("zzz-not-there")
    expect(found).to_have_text("no match")
    expect(page.locator(".text-line .match")).to_have_count(0)


def test_what_a_query_reads_most_is_named(atlas, tape):
    query = 300
    page = atlas(f"#/map/{LAYER}/{HEAD}?q={query}")
    weights = tape.weights(LAYER, HEAD, query)
    said = page.get_by_test_id("text-most")
    for key in weights.argsort(descending=True)[:3].tolist():
        expect(said).to_contain_text(re.compile(rf"{key} .*? {float(weights[key]):.2g}"))
    page.evaluate("() => { location.hash += '&k=299' }")
    expect(page.get_by_test_id("text-weight")).to_have_text(re.compile(r"^[\d.e\u2212]+$"))
    expect(said).to_have_count(0)


def test_keys_move_the_cursor_and_then_the_pin(atlas, tape):
    page = atlas(f"#/map/{LAYER}/{HEAD}")
    text = page.get_by_test_id("text")
    text.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        text.press(key)
    expect(page.locator(".text-line .here")).to_have_attribute("data-token", "2")
    expect(page.get_by_test_id("text-query")).to_contain_text("2")
    text.press("Enter")
    expect_pin(page, 2)
    text.press("ArrowRight")
    expect_pin(page, 3)
    text.press("End")
    expect_pin(page, tape.n_queries - 1)
    expect(page.locator(f'.text-line .pinned-query[data-token="{tape.n_queries - 1}"]').first).to_be_visible()
    text.press("Escape")
    expect(page).not_to_have_url(re.compile(r"[?&]q="))


def test_turned_about_the_text_shows_who_reads_a_token(atlas, tape):
    key = 200
    page = atlas(f"#/map/{LAYER}/{HEAD}?k={key}&by=1")
    expect(page.get_by_label("what reads it")).to_be_checked()
    # Tokens before the key cannot read it: nothing was computed there.
    page.locator(".text-line .never").first.wait_for()
    never = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".text-line .t")].map((one) =>
             [one.dataset.token, one.classList.contains("never")]))"""
    )
    assert all(is_never == (int(token) < key) for token, is_never in never.items())
    reader = page.locator(f'.text-line [data-token="{key + 3}"]').first
    reader.hover()
    weight = float(tape.weights(LAYER, HEAD, key + 3)[key])
    expect(page.get_by_test_id("text-weight")).to_have_text(re.compile(r"^[\d.e\u2212]+$"))
    said = page.get_by_test_id("text-weight").inner_text().replace("\u2212", "-")
    assert abs(float(said) - weight) <= 6e-4 * weight


def test_turning_about_keeps_the_token_that_was_chosen(atlas):
    page = atlas(f"#/map/{LAYER}/{HEAD}?q=200")
    page.get_by_label("what reads it").check(force=True)
    expect(page.locator(".text-legend")).to_have_text("reads key 200; log scale")
    expect_pin(page, 200)
    page.reload()
    expect(page.locator(".text-legend")).to_have_text("reads key 200; log scale")
    page.goto("about:blank")
    page = atlas(f"#/map/{LAYER}/{HEAD}?k=190&by=1")
    page.get_by_label("what it reads").check(force=True)
    expect(page.locator(".text-legend")).to_have_text("read by query 190; log scale")


def test_the_text_stays_where_it_is_from_step_to_step(atlas):
    page = atlas(f"#/map/{LAYER}/{HEAD}?q=120")
    page.set_viewport_size({"width": 1440, "height": 900})
    rows, heights = set(), set()
    for query in range(120, 136):
        expect(page.locator(".next-after")).to_contain_text(str(query))
        expect(page.locator(".next-body")).not_to_have_class(re.compile("waiting"))
        rows.add(page.get_by_test_id("next-top").locator("tr").count())
        heights.add(page.get_by_test_id("text").evaluate("one => one.clientHeight"))
        page.keyboard.press(".")
    assert rows == {10, 11} and len(heights) == 1


def test_only_the_lines_in_sight_are_elements(atlas, tape):
    page = atlas(f"#/map/{LAYER}/{HEAD}")
    page.locator(".text-line").first.wait_for()
    text = page.get_by_test_id("text")
    lines, high = text.evaluate("one => [one.scrollHeight / 24, one.clientHeight / 24]")
    assert lines > 2 * high
    seen: set[int] = set()
    for part in range(12):
        text.evaluate("(one, part) => { one.scrollTop = part / 11 * one.scrollHeight; }", part)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert page.locator(".text-line").count() <= high + 14
        seen |= set(
            page.evaluate(
                """() => {
                  const room = document.querySelector("[data-testid=text]").getBoundingClientRect();
                  return [...document.querySelectorAll(".text-line .t")].filter((one) => {
                    const box = one.getBoundingClientRect();
                    return box.bottom > room.top && box.top < room.bottom;
                  }).map((one) => Number(one.dataset.token));
                }"""
            )
        )
    assert {0, tape.n_queries - 1} <= seen and len(seen) > 0.5 * tape.n_queries
