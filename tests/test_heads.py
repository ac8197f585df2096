import csv
import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookbehind import heads
from lookbehind.errors import InputError
from lookbehind.heads import COLUMNS, HeadTable, head_table, layer_heads, same_token_spans
from lookbehind.pattern import Causal, Window
from lookbehind.tape import Layer, Tape
from tests.tapes import tape


def looked_up(weights, visible, targets):
    """A score by its definition: for each query, a loop."""
    found = []
    for i in range(len(weights)):
        keys = [j for j in targets(i) if visible[i, j]]
        if visible[i].sum() >= 2 and keys:
            found.append(sum(float(weights[i, j]) for j in keys))
    return pytest.approx(np.mean(found), rel=1e-5) if found else None


@pytest.mark.parametrize("pattern", [Causal(), Causal() & Window(4), Causal() & Window(1)], ids=str)
def test_every_number_is_what_its_definition_says(pattern):
    ids = [1, 2, 3, 1, 2, 3, 3, 3, 1, 2, 9, 1]
    run = tape(12, (pattern,), ids=ids)
    visible = run.layers[0].spans.mask()
    for row in head_table(run):
        p = run.weights(0, row.head).double().numpy()
        i, j = np.indices(p.shape)
        several = visible.sum(1) >= 2
        entropy = -np.sum(np.where(visible, p * np.log(np.where(visible, p, 1)), 0), axis=1)
        if several.any():
            assert row.entropy == pytest.approx(entropy[several].mean(), rel=1e-5)
            relative = entropy[several] / np.log(visible.sum(1)[several])
            assert row.relative_entropy == pytest.approx(relative.mean(), rel=1e-5)
            assert row.distance == pytest.approx((p * abs(i - j)).sum(1)[several].mean(), rel=1e-5)
        else:
            assert (row.entropy, row.relative_entropy, row.distance) == (None, None, None)
        assert row.sink == looked_up(p, visible, lambda i: [0])
        assert row.previous == looked_up(p, visible, lambda i: [i - 1] if i else [])
        assert row.duplicate == looked_up(p, visible, lambda i: [j for j in range(i) if ids[j] == ids[i]])
        assert row.induction == looked_up(
            p, visible, lambda i: [j for j in range(1, i) if ids[j - 1] == ids[i]]
        )
        scores = run.scores(0, row.head)
        assert row.max_score == pytest.approx(float(scores[~scores.isnan()].max()), rel=1e-5)
        assert row.pattern == run.layers[0].spans.describe()


def test_a_head_made_to_look_at_the_previous_token_is_found():
    n = 20
    q, k = torch.zeros(2, n, n + 1), torch.zeros(2, n, n + 1)
    for i in range(n):
        k[:, i, i] = 1.0
        q[0, i, max(i - 1, 0)] = 50.0
        q[1, i, 0] = 50.0
    run = Tape([Layer("x", q, k, Causal().spans(n), 1.0)], token_ids=list(range(n)))
    table = head_table(run)
    assert table.most("previous").head == 0
    assert table[0].previous == pytest.approx(1.0)
    assert table.most("sink").head == 1
    assert table[0].induction is None  # no token occurs twice


def test_an_induction_head_on_repeated_random_tokens_is_found():
    half, n = 16, 32
    ids = [*range(half), *range(half)]
    q, k = torch.zeros(1, n, n), torch.zeros(1, n, n)
    for i in range(n):
        k[0, i, ids[i - 1] if i else 31] = 1.0  # a key tells the token before it
        q[0, i, ids[i]] = 50.0  # a query asks for its own token
    row = head_table(Tape([Layer("x", q, k, Causal().spans(n), 1.0)], token_ids=ids))[0]
    assert row.induction == pytest.approx(1.0)
    assert row.duplicate == pytest.approx(0.0, abs=1e-6)


def test_an_even_look_has_relative_entropy_1():
    q, k = torch.zeros(1, 9, 4), torch.ones(1, 9, 4)
    row = head_table(Tape([Layer("x", q, k, Causal().spans(9), 1.0)], token_ids=[0] * 9))[0]
    assert row.relative_entropy == pytest.approx(1.0)
    assert row.entropy == pytest.approx(np.mean([math.log(i + 1) for i in range(1, 9)]))


def test_without_token_ids_the_scores_that_need_them_are_none():
    run = tape()
    run.token_ids = None
    row = head_table(run)[0]
    assert (row.duplicate, row.induction) == (None, None)
    assert row.previous is not None


def test_one_token_has_nothing_to_choose():
    row = head_table(tape(1))[0]
    assert (row.entropy, row.sink, row.previous, row.induction) == (None, None, None, None)
    assert row.max_score is not None
    json.loads(head_table(tape(1)).to_json())


def test_rows_taken_a_few_at_a_time_give_the_same_table(monkeypatch):
    run = tape(40, ids=[i % 3 for i in range(40)])
    whole = head_table(run)
    monkeypatch.setattr(heads, "_MOST_PAIRS", 7)
    assert len(heads._row_ranges(run.layers[0].spans, np.array(run.token_ids))) > 5
    for one, other in zip(whole, head_table(run), strict=True):
        for name in heads.COLUMNS[3:]:
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5)


@given(
    st.lists(st.integers(0, 3), max_size=14), st.integers(0, 14), st.integers(0, 14), st.sampled_from([0, 1])
)
def test_same_token_spans_are_the_pairs_of_the_definition(ids, first, n_keys, shift):
    n = len(ids)
    first = min(first, n)
    found = same_token_spans(np.array(ids, dtype=np.int64), first, n - first, n_keys, shift)
    wanted = [
        (i - first, j)
        for i in range(first, n)
        for j in range(shift, min(i, n_keys))
        if ids[j - shift] == ids[i]
    ]
    assert list(found.pairs()) == wanted
    assert found.offset == first


def test_tables_sort_cut_and_name_the_most():
    table = head_table(tape())
    assert [h.sink for h in table.sorted("sink")] == sorted((h.sink for h in table), reverse=True)
    assert len(table.sorted("sink").top(1)) == 1
    assert table.most("sink") == table.sorted("sink")[0]
    assert HeadTable(()).most("sink") is None


def test_a_table_is_json_csv_and_text():
    table = head_table(tape(1))
    assert json.loads(table.to_json())[0]["pattern"] == "causal"
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["entropy"] == ""
    names, first, *_ = (line.split() for line in str(table).splitlines())
    assert names == list(COLUMNS)
    assert first == ["0", "0", "causal", *["–"] * 7, f"{table[0].max_score:.3f}"]


def test_numbers_that_are_not_finite_come_last_and_are_written_as_none(tmp_path):
    broken = tape(20, n_heads=3)
    broken.layers[0].q[1, 7, 0] = torch.nan
    table = head_table(broken)
    assert math.isnan(table[1].entropy)
    order = table.sorted("entropy")
    assert (order[5].layer, order[5].head) == (0, 1)
    assert [head.entropy for head in order][:5] == sorted(
        (table[n].entropy for n in (0, 2, 3, 4, 5)), reverse=True
    )
    assert json.loads(table.to_json())[1]["entropy"] is None
    broken.export(tmp_path / "page.html")


def test_an_unknown_column_is_refused_with_the_columns_there_are():
    with pytest.raises(InputError, match="heads: there is no column 'entropi'; sort by one of layer, head, "):
        head_table(tape()).sorted("entropi")
    with pytest.raises(InputError, match="top: a whole number of at least 1 is needed; got 0"):
        head_table(tape()).top(0)


def test_some_rows_give_the_numbers_of_these_queries():
    run = tape(40, (Causal(),))
    whole = list(layer_heads(run, 0))
    assert list(layer_heads(run, 0, [slice(0, 40)])) == whole
    parts = list(layer_heads(run, 0, [slice(0, 7), slice(7, 40)]))
    assert parts[0].entropy == pytest.approx(whole[0].entropy) and parts[0].sink == pytest.approx(
        whole[0].sink
    )
    few = list(layer_heads(run, 0, [slice(10, 12), slice(30, 31)]))
    entropy = run.observe(0, entropy=True).entropy[0, [10, 11, 30]].mean()
    assert few[0].entropy == pytest.approx(float(entropy), rel=1e-5)
