"""Lesson and quiz on the page; and its modules against what Python says."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

import lookbehind as lb
from lookbehind.atlas.charts import Charts
from lookbehind.atlas.lens import Lens
from lookbehind.tape import Layer, Tape
from lookbehind.tape.predictions import Predictions

WEB = Path(__file__).parent.parent.parent / "web"
CASES = Path(__file__).parent.parent / "conformance" / "patterns.json"


@pytest.fixture
def modules(page: Page) -> Page:
    """A blank page that can import the modules of web/ one by one, as they are written."""

    def answer(route) -> None:
        name = route.request.url.removeprefix("http://web.invalid/")
        if name == "":
            route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
        else:
            route.fulfill(body=(WEB / name).read_text(encoding="utf-8"), content_type="text/javascript")

    page.route("http://web.invalid/**", answer)
    page.goto("http://web.invalid/")
    return page


def test_patterns_mean_the_same_in_the_browser(modules):
    cases = json.loads(CASES.read_text(encoding="utf-8"))
    assert len(cases) > 200
    wrong = modules.evaluate(
        """async (cases) => {
          const { parse, rows } = await import("/pattern.js");
          const read = (one) => rows(parse(one.pattern), one.n_queries, one.n_keys, one.offset);
          const same = (one) => JSON.stringify(read(one)) === JSON.stringify(one.rows);
          return cases.filter((one) => !same(one)).map((one) => one.pattern);
        }""",
        cases,
    )
    assert wrong == []


def layer(**options) -> Layer:
    generator = torch.Generator().manual_seed(3)
    n, n_keys = 41, 53
    return Layer(
        "layers.0",
        torch.randn(4, n, 8, generator=generator) * 2,
        torch.randn(2, n_keys, 8, generator=generator),
        lb.parse("causal & (window(20) | first(3)) & ~first(1)").spans(n, n_keys),
        0.3,
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"softcap": 2.0},
        {"sinks": torch.tensor([0.0, 1.0, 2.0, -1.0])},
        {"alibi": torch.tensor([0.5, 0.25, 0.1, 0.05])},
    ],
    ids=lambda options: next(iter(options), "plain"),
)
def test_an_exported_page_computes_what_the_server_does(modules, options):
    one = layer(**options)
    head = 3
    parts = {
        "q": one.q[head].flatten().tolist(),
        "k": one.k[1].flatten().tolist(),
        "lse": one.lse[head].tolist(),
        "width": 8,
        "spans": [one.spans.row_ptr.tolist(), one.spans.starts.tolist(), one.spans.stops.tolist()],
        "offset": one.spans.offset,
        "scale": one.scale,
        "softcap": one.softcap,
        "slope": 0.0 if one.alibi is None else float(one.alibi[head]),
        "sink": None if one.sinks is None else float(one.sinks[head]),
    }
    lenses = [
        Lens("weight"),
        Lens("score"),
        Lens("enrichment"),
        Lens("relative"),
        Lens("weight", 5, False),
        Lens("weight", 5, True),
        Lens("enrichment", 5, True),
        Lens("relative", 30, False),
    ]
    asked = [
        {"of": lens.of, "skip": lens.skip, "renorm": int(lens.renorm), "pool": pool, "z": z}
        for lens in lenses
        for pool in ("max", "mean", "sum")
        for z in (0, 1, 3)
    ]
    found = modules.evaluate(
        """async ([parts, asked]) => {
          const { Products } = await import("/products.js");
          const [rowPtr, starts, stops] = parts.spans.map((one) => new Int32Array(one));
          const [q, k, lse] = [parts.q, parts.k, parts.lse].map((one) => new Float32Array(one));
          const made = new Products({ ...parts, q, k, lse, spans: { rowPtr, starts, stops } });
          const maps = [];
          for (const one of asked) {
            maps.push([...(await made.pixels(one.z, 0, 0, 48 >> one.z, 56 >> one.z, one))]);
          }
          const cells = made.cells(4, 9, 10, 30);
          return { maps, row: [...made.row(17)], column: [...made.column(12)],
            cells: [cells.dots, cells.scores, cells.weights].map((one) => [...one]) };
        }""",
        [parts, asked],
    )
    charts = Charts(Tape([one]))
    try:
        for ask, values in zip(asked, found["maps"], strict=True):
            lens = Lens(ask["of"], ask["skip"], bool(ask["renorm"]))
            z, pool = ask["z"], ask["pool"]
            expected = charts.sight(0, head, lens).pixels(slice(0, 41), slice(0, 53), z, (pool,))[pool]
            mine = np.array([np.nan if v is None else v for v in values]).reshape(48 >> z, 56 >> z)
            mine = mine[: expected.shape[0], : expected.shape[1]]
            np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=2e-6, err_msg=str(ask))
        rows, column = charts.row(0, head, 17).future.result(), charts.column(0, head, 12).future.result()
        cells = charts.cells(0, head, slice(4, 9), slice(10, 30)).future.result()
    finally:
        charts.close()
    for mine, expected in (
        (found["row"], rows),
        (found["column"], column),
        (found["cells"], cells.reshape(3, -1)),
    ):
        mine = np.array(mine, dtype=float)
        np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=2e-6)


def test_halves_are_rounded_as_numpy_does(modules):
    values = np.concatenate(
        [
            np.random.default_rng(0).normal(size=400) * 10.0 ** np.arange(-8, 5).repeat(31)[:400],
            [
                0.0,
                -0.0,
                1.0,
                65504,
                65519.99,
                65520,
                1e9,
                2**-24,
                2**-25,
                2**-14,
                1 + 2**-11,
                1 + 3 * 2**-11,
                np.nan,
            ],
        ]
    )
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    found = modules.evaluate(
        """async (values) => { const { half } = await import("/products.js");
             return values.map((one) => half(one === null ? NaN : one)); }""",
        [None if np.isnan(v) else float(v) for v in values],
    )
    np.testing.assert_array_equal(np.array(found, dtype=np.uint16).view(np.float16), expected)


def test_the_lesson_lists_each_query_s_products(atlas):
    page = atlas("#/lesson")
    table = page.get_by_test_id("lesson-map")
    expect(table.locator("tbody tr")).to_have_count(8)
    for name, pattern in (
        ("causal", "causal"),
        ("window", "causal & window(3)"),
        ("prefix", "causal | first(3)"),
        ("packed", "causal & documents(4, 4)"),
        ("full", "full"),
    ):
        page.locator(f'button[data-pattern="{name}"]').click()
        spans = lb.parse(pattern).spans(8)
        expect(page.get_by_test_id("lesson-computed")).to_have_attribute("data-count", str(spans.count()))
        cells = page.evaluate(
            """() => [...document.querySelectorAll('[data-testid="lesson-map"] td[data-key]')].map((one) =>
                 one.classList.contains("on"))"""
        )
        assert cells == spans.mask().flatten().tolist(), name
        for query in (0, 5):
            table.locator(f'td[data-query="{query}"][data-key="0"]').hover()
            said = page.get_by_test_id("lesson-products")
            expected = f"q{query}: " + " ".join(f"q{query}·k{key}" for key in spans.keys(query))
            expect(said).to_have_attribute("data-products", expected)
    page.locator("#lesson-rule").fill("causal & windw(3)")
    expect(page.locator("#lesson-wrong")).to_contain_text("^")
    for asked, taken in (("40", 24), ("0.2", 24), ("-3", 1)):  # the nearest length that a lesson has
        page.locator("#lesson-n").fill(asked)
        page.locator("#lesson-n").blur()
        expect(page.locator("#lesson-n")).to_have_value(str(taken))
        expect(table.locator("tbody tr")).to_have_count(taken)


def test_the_quiz_asks_and_judges_as_the_terminal_does(atlas):
    from lookbehind.quiz import generate

    page = atlas("#/quiz?seed=7")
    for number, asked in zip(range(1, 7), generate(n=18, seed=7), strict=False):
        card = page.get_by_test_id("quiz-question")
        expect(card).to_contain_text(asked.prompt.split("`")[0].strip()[:40])
        answer = asked.answer
        if card.locator("[data-letter]").count():
            if number == 2:  # a wrong answer is told why
                wrong = next(c for c in "abcde" if c != answer)
                page.keyboard.press(wrong)
            else:
                card.locator(f'[data-letter="{answer}"]').click()
        elif card.locator("[data-cell]").count():
            query, key, effect = answer.split()
            card.locator(f'[data-cell="{query} {key}"]').click()
            card.locator(f'input[value="{effect}"]').check()
            card.get_by_role("button", name="Check").click()
        else:
            card.locator('input[type="number"]').fill(answer)
            card.get_by_role("button", name="Check").click()
        verdict = page.get_by_test_id("quiz-verdict")
        expect(verdict).to_contain_text(re.compile(r"^(Right|No)"))
        expect(page.get_by_test_id("quiz-reason")).not_to_be_empty()
        page.locator("button.next").click()
    expect(page.get_by_test_id("quiz-score")).to_have_attribute("data-asked", "6")
    drawn = next(n for n, one in zip(range(1, 19), generate(n=18, seed=7), strict=False) if one.drawings)
    page.evaluate("n => { location.hash = `#/quiz?seed=7&number=${n}` }", drawn)
    expect(page.locator("[data-testid=quiz-question] svg, .quiz-mask").first).to_be_visible()


@pytest.mark.parametrize(
    ("level", "dtype"),
    [(None, torch.float32), (None, torch.bfloat16), (None, torch.float16), (1, torch.float32)],
    ids=["exact", "bfloat16", "float16", "pooled"],
)
def test_the_source_in_a_page_answers_as_a_server_does(modules, level, dtype):
    from lookbehind.atlas.onefile import render
    from tests.tapes import tape as random_tape

    n = 700
    tape = random_tape(n, tokens=[f" {at}" for at in range(n)])
    for one in tape.layers:
        one.q, one.k = one.q.to(dtype), one.k.to(dtype)
    tape.predictions = Predictions(
        torch.arange(20, dtype=torch.int32).reshape(1, 20).repeat(n, 1),
        torch.linspace(0.1, 0.01, 20).repeat(n, 1),
        torch.linspace(0, 3, n),
        torch.tensor(torch.nan),
    )
    tape.vocabulary = {at: f"v{at}" for at in range(20)}
    html = render(tape, heads=[(0, 1)], level=level).html
    data = re.findall(r'<script type="(?:application/json|text/plain)" id="[^"]*">[^<]*</script>', html)
    places = [(1, 0, 0), (1, 1, 1), (1, 0, 1), (2, 0, 0)]
    found = modules.evaluate(
        """async ([data, places]) => {
          document.body.insertAdjacentHTML("beforeend", data);
          const { embedded } = await import("/embedded.js");
          const source = embedded();
          const maps = [];
          for (const pool of ["max", "mean", "sum"]) {
            const ids = places.map((at) => `0.1.${at.join(".")}`);
            const frames = [];
            await source.tiles({ of: "weight", pool, skip: 0, renorm: 0, ids }, (one) => frames.push(one),
              new AbortController().signal);
            const text = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
            maps.push(frames.map((one) => [one.multiplier, text(new Uint8Array(one.halves.buffer))]));
          }
          const thumb = await source.thumb(0, 1);
          const { tracks } = await source.tracks(0, 1);
          const finest = [source.finest(0, 1), source.finest(1, 0)];
          return { maps, thumb: [thumb.rows, thumb.columns], finest,
            tracks: Object.fromEntries(tracks.map((one) => [one.name, [...one.values]])),
            next: [await source.next(5), await source.next(699)], tokens: await source.tokens() };
        }""",
        ["".join(data), places],
    )
    charts = Charts(tape)
    try:
        sight = charts.sight(0, 1, Lens())
        for pool, frames in zip(("max", "mean", "sum"), found["maps"], strict=True):
            for (z, y, x), (multiplier, text) in zip(places, frames, strict=True):
                side = 256 << z
                rows, keys = (slice(at * side, min((at + 1) * side, n)) for at in (y, x))
                expected = np.full((256, 256), np.nan)
                pixels = sight.pixels(rows, keys, z, (pool,))[pool]
                expected[: pixels.shape[0], : pixels.shape[1]] = pixels
                halves = np.frombuffer(base64.b64decode(text), "<f2").reshape(256, 256)
                mine = halves.astype(np.float64) * multiplier
                name = f"{pool} {z} {y} {x}"
                np.testing.assert_allclose(mine, expected, rtol=2e-3, atol=1e-9, err_msg=name)
    finally:
        charts.close()
    seen = tape.observe(0, received=True, entropy=True, mass={"sink": lb.First(1)})
    for name, values in (("entropy", seen.entropy), ("sink", seen.mass["sink"]), ("received", seen.received)):
        np.testing.assert_allclose(found["tracks"][name], values[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["tracks"]["loss"], tape.loss())
    assert found["thumb"] == [88, 88] and found["finest"] == ([None, 2] if level is None else [1, 2])
    assert found["tokens"] == {"tokens": tape.tokens, "ids": tape.token_ids}
    first, last = found["next"]
    assert [(one["token"], one["id"]) for one in first["top"]] == [(f"v{at}", at) for at in range(20)]
    assert first["came"]["token"] == " 6" and first["came"]["id"] == tape.token_ids[6]
    assert first["came"]["p"] == pytest.approx(tape.next(5).came.probability, rel=1e-5)
    assert last["came"] is None
