import json
import time

import pytest
from typer.testing import CliRunner

from lookbehind.cli import app
from lookbehind.lesson import explain
from tests import tapes

runner = CliRunner()


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setattr("lookbehind.cli.explain.console.width", 80)


def run(*arguments):
    return runner.invoke(app, ["explain", *arguments])


def page(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())
    return "\n".join(line.rstrip() for line in result.output.splitlines())


def test_the_page_of_six_tokens():
    assert page("--n", "3", "-p", "causal & window(2)") == (
        "causal & window(2)\n"
        "Query i reads the keys at or before its own position and less than 2 positions\n"
        "away.\n"
        "3 tokens: 5 of 9 products are computed.\n"
        "\n"
        "       k0 k1 k2\n"
        "  q0    ■  ·  ·\n"
        "  q1    ■  ■  ·\n"
        "  q2    ·  ■  ■\n"
        "       ■ computed  · never computed\n"
        "\n"
        "  query  products                            count\n"
        "  q0     q0·k0                                   1\n"
        "         not: k1 and k2 come after q0\n"
        "  q1     q1·k0 q1·k1                             2\n"
        "         not: k2 comes after q1\n"
        "  q2     q2·k1 q2·k2                             2\n"
        "         not: k0 is outside the window of 2\n"
        "\n"
        "  computed       1 + 2 + 2 = 5\n"
        "  never          9 − 5 = 4\n"
        "  dense kernel   9 products, 44.4% of them wasted\n"
        "  64 x 64 tiles  visits 1 of 1: 9 products, 44.4% of them wasted"
    )


def test_without_anything_to_explain_it_explains_six_tokens():
    assert "= n(n + 1)/2 = 6·7/2 = 21" in page()


def test_a_text_is_split_by_the_built_in_tokenizer():
    shown = page("def parse(text):\n    return 1")
    assert 'q1 " parse"' in shown and '"\\n   "' in shown


def test_a_piece_of_a_character_is_shown_as_its_bytes():
    tokens = json.loads(run("\U0001f9ff", "--json").stdout)["tokens"]
    assert tokens == ["<0xF0>", "<0x9F>", "<0xA7>", "<0xBF>"]
    assert json.loads(run("\U0001f9ff", "-m", "tests.models:tiny", "--json").stdout)["tokens"] == tokens


def test_a_token_cannot_act_on_the_terminal():
    assert "\x1b" not in page("a \x1b[31m b")


def test_a_file(tmp_path):
    (tmp_path / "text").write_text("a = 1")
    assert 'q0 "a"' in page("--file", str(tmp_path / "text"))


def test_a_long_lesson_is_cut_short_and_says_how_to_see_more():
    shown = page("--n", "1000", "-p", "causal & (window(24) | first(4))")
    assert "992 more; --query 500 shows one, --all every one" in shown
    assert "k0…k3, k976…k999" in shown
    assert "one cell is 32 queries x 32 keys" in shown
    assert len(shown.splitlines()) <= 70


def test_one_query_is_shown_whole():
    shown = page("--n", "1000", "-p", "causal & (window(24) | first(4))", "--query", "900")
    assert all(f"q900·k{key}" in shown for key in (*range(4), *range(877, 901)))
    assert "not: k901…k999 come after q900" in shown


def test_all_shows_every_query():
    shown = page("--n", "40", "--all")
    assert all(f"q{i}·k{j}" in shown for i in range(40) for j in range(i + 1))


@pytest.mark.parametrize(("n", "cell"), [(8, "■  ·"), (30, "■ ·"), (50, "■·"), (65, "▒ ·")])
def test_the_triangle_fits_the_terminal(n, cell):
    assert cell in page("--n", str(n))


@pytest.mark.parametrize("n", [50, 5000])
def test_a_narrow_terminal_wraps_a_triangle_and_cuts_nothing(monkeypatch, n):
    monkeypatch.setattr("lookbehind.cli.explain.console.width", 40)
    drawn = str(explain(n).spans).splitlines()[-2] if n > 64 else "■" * n
    assert drawn.rstrip() in page("--n", str(n))


def test_a_decode_step():
    shown = page("--n", "6", "--queries", "1")
    assert "1 query over 6 keys: 6 of 6 products are computed." in shown
    assert "q5·k0 q5·k1" in shown


def test_one_token():
    assert "1 of 1 products are computed" in page("-n", "1")


def test_json():
    told = json.loads(run("--n", "3", "--json").output)
    assert [row["computed"] for row in told["queries"]] == [[0], [0, 1], [0, 1, 2]]
    told = json.loads(run("--n", "100000", "--json", "--query", "99999").output)
    assert len(told["queries"][0]["computed"]) == 100_000


def test_a_million_tokens_are_explained_in_seconds():
    began = time.perf_counter()
    assert "500,000,500,000" in page("--n", "1000000")
    assert time.perf_counter() - began < 20


def test_a_tape_brings_scores_and_weights(tmp_path, monkeypatch):
    tape = tapes.tape(n=6, tokens=list("abcdef"))
    tape.save(tmp_path / "run.tape")
    arguments = ("--tape", str(tmp_path / "run.tape"), "--layer", "1", "--head", "1")
    shown = page(*arguments)
    assert "causal & window(4)" in shown and "Layer 1, head 1." in shown and 'q5 "f"' in shown
    score, weight = (float(row[3]) for row in (tape.scores(1, 1, 5), tape.weights(1, 1, 5)))
    assert f"q5·k3 {score:.2f} → {weight:.2f}" in shown
    assert f"{score:.3f}  {weight:.4f}" in page(*arguments, "--query", "5")
    monkeypatch.setattr("lookbehind.cli.explain.console.width", 24)
    assert f"{score:.3f}  {weight:.4f}" in page(*arguments, "--query", "5")
    told = json.loads(run(*arguments, "--json").output)["queries"][5]
    assert told["computed"] == [2, 3, 4, 5]
    assert told["weights"][1] == pytest.approx(weight)
    assert sum(told["weights"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--n", "-3"], "explain: at least 1 token is needed to have a product; got -3"),
        (["--n", "0"], "explain: at least 1 token is needed to have a product; got 0"),
        (["--n", "10000000"], "10,000,000 tokens are too many for a lesson, which goes up to 2,097,152"),
        (["--n", "6", "-p", "causl"], "column 1: 'causl' is no pattern; did you mean 'causal'?"),
        (["--n", "6", "--query", "6"], "query 6: there are 6 queries; they are q0 to q5"),
        (["--n", "6", "--queries", "0"], "queries: a whole number of at least 1 is needed; got 0"),
        (["--n", "6", "--queries", "7"], "queries: a whole number of at most 6 is needed; got 7"),
        (["--n", "6", "-m", "tests.models:tiny"], "explain: --model splits a text into tokens; give a text"),
        (["text", "--n", "6"], "a text and --n were given; one of them is enough"),
        (["--n", "3000", "--all"], "--all: 4,501,500 products are more than the 200,000"),
        (["--n", "3000", "--json"], "9,000,000 products to list, more than 4,000,000"),
        (["--n", "5", "-p", "documents(2, 2)"], "the lengths add up to 4 positions, but 5 were asked for"),
        ([""], "it is empty"),
        (["--file", "nowhere.txt"], "nowhere.txt: cannot be read"),
        (["--tape", "nowhere.tape"], "nowhere.tape"),
        (["--n", "5", "--layer", "3"], "--layer and --head are of a tape; give it with --tape"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
