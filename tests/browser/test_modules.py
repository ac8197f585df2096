"""The parts of the page that decide what is right, each held against Python in the browser."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

import lookbehind as lb
from lookbehind.errors import PatternError
from lookbehind.questions import Question
from lookbehind.quiz import KINDS, generate
from tests.conformance.write import TEXTS

WEB = Path(__file__).parent.parent.parent / "web"


@pytest.fixture
def modules(page: Page, watched) -> Page:
    """A page that can import the modules of web/ as they are; nothing is asked of any network."""

    def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        if name:
            route.fulfill(path=WEB / name, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><link rel=icon href='data:,'>", content_type="text/html")

    page.route("http://127.0.0.1:9999/**", answer)
    watched(page)
    page.goto("http://127.0.0.1:9999/")
    return page


BAD = (
    "",
    "  ",
    "window",
    "window(",
    "window()",
    "window(0)",
    "window(3, 4)",
    "window(x)",
    "first(-1)",
    "chunk(0)",
    "documents()",
    "documents(3,)",
    "documents(3, 0)",
    "causal &",
    "& causal",
    "causal causal",
    "(causal",
    "causal)",
    "~",
    "~~",
    "full & full |",
    "causl",
    "Causal",
    "zebra",
    "causal & windo(3)",
    "causal\t&!",
)


def test_what_is_no_pattern_is_refused_in_the_same_words(modules):
    found = modules.evaluate(
        """async (texts) => {
          const { parse } = await import("/pattern.js");
          const refusal = (text) => { try { parse(text); } catch (error) { return error.message; } };
          return texts.map((text) => `pattern: ${refusal(text)}`);
        }""",
        BAD,
    )
    for text, said in zip(BAD, found, strict=True):
        with pytest.raises(PatternError) as refused:
            lb.parse(text)
        assert said == str(refused.value).split("\n")[0], text


def test_reasons_and_meanings_are_those_of_explain(modules):
    n = 14
    found = modules.evaluate(
        """async ([texts, n]) => {
          const { parse } = await import("/pattern.js");
          const { says, reasons } = await import("/reasons.js");
          return texts.map((text) => {
            const pattern = parse(text);
            const queries = Array.from({ length: n }, (_, query) => reasons(pattern, query, n));
            return [says(pattern), queries.map((found) => found.map((one) => one.text))];
          });
        }""",
        [TEXTS, n],
    )
    for text, (says, reasons) in zip(TEXTS, found, strict=True):
        lesson = lb.explain(n, text)
        assert says == lesson.says(), text
        assert reasons == [[str(one) for one in row.reasons] for row in lesson.rows()], text


def answers(question: Question) -> list[str]:
    """Every answer there is to a question."""
    if question.kind == "count":
        return [str(number) for number in range(-1, 10)]
    if question.kind == "debug":
        pairs = [(i, j) for i in range(question.spans.n_queries) for j in range(question.spans.n_keys)]
        return [f"{i} {j} {effect}" for i, j in pairs for effect in ("leak", "loss")]
    return list("abcde"[: question.n_options])


def test_a_seed_asks_and_judges_as_the_terminal_does(modules):
    seeds, each = (0, 1, 7, 42, 9_999, 123_456_789), 2 * len(KINDS)
    asked = [(seed, index, one) for seed in seeds for index, one in enumerate(generate(None, each, seed))]
    found = modules.evaluate(
        """async (asked) => {
          const { question } = await import("/questions.js");
          return asked.map(([seed, index, answers]) => {
            const one = question(seed, index);
            const line = (row) => row.map((on) => (on ? "■" : "·")).join(" ");
            const drawn = one.drawings.map((rows) => rows.map(line).join("\\n"));
            return { ...one, grade: null, drawn, grades: answers.map((given) => one.grade(given)) };
          });
        }""",
        [[seed, index, answers(one)] for seed, index, one in asked],
    )
    assert len(found) == len(seeds) * each
    for (seed, index, one), mine in zip(asked, found, strict=True):
        where = seed, index
        assert mine["kind"] == one.kind and mine["prompt"] == one.prompt, where
        assert mine["options"] == list(one.options) and mine["answer"] == one.answer, where
        assert mine["expects"] == one.expects, where
        if one.kind == "heatmap":
            assert mine["drawn"] == list(one.drawings), where
        for given, grade in zip(answers(one), mine["grades"], strict=True):
            judged = one.grade(given)
            assert grade == {"correct": judged.correct, "reason": judged.reason}, (where, given)


def test_random_is_pythons(modules):
    seeds = ["", "0:0", "7:3", "ünï", "x" * 300]
    found = modules.evaluate(
        """async (seeds) => {
          const { Random } = await import("/random.js");
          return seeds.map((seed) => {
            const rng = new Random(seed);
            const items = [..."abcdefghij"];
            rng.shuffle(items);
            const first = [rng.random(), rng.below(1), rng.whole(-3, 5), rng.choice(items)];
            const many = () => Array.from({ length: 700 }, () => rng.below(1000));
            return [...first, rng.sample(items, 4), items, many()];
          });
        }""",
        seeds,
    )
    for seed, mine in zip(seeds, found, strict=True):
        rng = random.Random(seed)
        items = list("abcdefghij")
        rng.shuffle(items)
        drawn = [
            rng.random(),
            rng.randrange(1),
            rng.randint(-3, 5),
            rng.choice(items),
            rng.sample(items, 4),
            items,
        ]
        assert mine == [*drawn, [rng.randrange(1000) for _ in range(700)]], seed


def test_lines_hold_every_token_once_and_fit(modules):
    rng = random.Random(1)
    words = ["the", " cat", " transform", "er", ".", ".\n\n", "\n", " ", "日本", "語", "A" * 90, "a b c"]
    words += ["", "\t", "\u202e", "\x00", "-"]
    tokens = [rng.choice(words) for _ in range(20_000)]
    width = 40
    found = modules.evaluate(
        """async ([tokens, width]) => {
          const { broken, lineOf } = await import("/lines.js");
          const lines = broken(tokens, width, (text) => [...text].length);
          const of = tokens.map((_, at) => lineOf(lines, at));
          return { ...lines, token: [...lines.token], starts: [...lines.starts], of };
        }""",
        [tokens, width],
    )
    starts, owner, text = found["starts"], found["token"], found["text"]
    assert starts[0] == 0 and starts[-1] == len(text) == len(owner) and len(starts) == found["length"] + 1
    assert all(a <= b for a, b in pairwise(starts)) and all(b - a in (0, 1) for a, b in pairwise(owner))
    assert owner[0] == 0 and owner[-1] == len(tokens) - 1
    line_of = [line for line, (a, b) in enumerate(pairwise(starts)) for _ in range(a, b)]
    first: dict[int, int] = {}
    for piece, token in enumerate(owner):
        first.setdefault(token, piece)
    assert found["of"] == [line_of[first[token]] for token in range(len(tokens))]
    for a, b in pairwise(starts):
        whole = "".join(text[a:b])
        assert len(whole.rstrip()) <= width, whole
        assert "↵" not in whole[:-1], whole  # a line break ends its line
        assert not any(bad in whole for bad in "\n\t\x00\u202e"), whole
    # Nothing is lost: what is printed is the text, but for marks, and spaces that a line break stands for.
    marks = {"\n": "↵", "\t": "⇥", "\u202e": "<202e>", "\x00": "<0>"}
    printed = "".join(marks.get(c, c) for token in tokens for c in (token or "∅"))
    assert "".join(text).replace(" ", "") == printed.replace(" ", "")
