import numpy as np
import torch

import lookbehind as lb
from lookbehind import Causal, First, Window
from lookbehind.auditor.gradient import future_gradient
from lookbehind.auditor.plan import make_plan
from lookbehind.auditor.subject import Subject
from lookbehind.auditor.sweep import Change, closure, forbidden_pairs, influence_map, protected, sweep
from tests.auditor.models import honest, leaky


def test_layers_reach_the_closure():
    window = (Causal() & Window(3)).spans(12).mask()
    assert (closure(window, 1) == window).all()
    assert (closure(window, 2) == (Causal() & Window(5)).spans(12).mask()).all()
    assert (closure(window) == Causal().spans(12).mask()).all()
    prefix = (Causal() | First(4)).spans(12).mask()
    assert (closure(prefix) == prefix).all(), "a prefix LM reaches no further with more layers"


def test_what_is_forbidden_lies_ahead_and_beyond_the_closure():
    assert (forbidden_pairs(Causal(), 5) == np.triu(np.ones((5, 5), bool), 1)).all()
    assert (forbidden_pairs(Causal() & Window(2), 5) == forbidden_pairs(Causal(), 5)).all()
    prefix = forbidden_pairs(Causal() | First(3), 6)
    assert not prefix[0, 2] and prefix[0, 3]


def test_a_change_protects_what_every_changed_token_may_not_reach():
    forbidden = forbidden_pairs(Causal() | First(3), 6)
    assert protected(Change(0, "single", 1), forbidden).tolist() == [False] * 6
    assert protected(Change(0, "single", 4), forbidden).tolist() == [True] * 4 + [False] * 2
    assert protected(Change(0, "suffix", 1), forbidden).tolist() == [False] * 6
    assert protected(Change(0, "constant", 3), forbidden).tolist() == [True] * 3 + [False] * 3


def test_what_follows_a_cut_begins_with_a_copy_or_a_special_token_by_turns():
    subject = Subject(honest(vocab_size=8000, eos_token_id=2, pad_token_id=0))
    for kind in ("suffix", "constant"):
        turns = set()
        for cut in range(1, 10):
            ids, changed = Change(0, kind, cut).apply(subject, 10)
            assert torch.equal(ids[:, :cut], changed[:, :cut])
            first = int(changed[0, cut])
            known = {int(ids[0, cut - 1]): "copy", 2: "end", 0: "padding"}
            turns.add(known.get(first, "random"))
            if kind == "constant":
                assert (changed[0, cut:] == first).all()
        assert turns == {"random", "copy", "end", "padding"}
    ids, changed = Change(1, "single", 4).apply(subject, 10)
    assert int(changed[0, 4]) not in (int(ids[0, 3]), 2, 0) and int((ids != changed).sum()) == 1


def test_a_sweep_is_the_same_in_any_batch():
    subject = Subject(leaky())
    far = []
    for batch in (2, 5, 64):
        plan = make_plan(subject, length=10, batch=batch)
        far.append(torch.stack(sweep(subject, plan, 0, "single").apart) > 0)
    plan.rows_independent = False
    far.append(torch.stack(sweep(subject, plan, 0, "single").apart) > 0)
    assert all(torch.equal(one, far[0]) for one in far)
    ahead = far[0].T.numpy()  # [i, j]
    assert ahead[3, 4] and not ahead[3, 5]


def test_the_gradient_of_the_future_is_exactly_zero_in_an_honest_model():
    ids = torch.arange(8)[None]
    rows = torch.arange(4)
    assert future_gradient(Subject(honest()), ids, rows, 4) == 0
    assert future_gradient(Subject(leaky()), ids, rows, 4) > 0


def test_the_influence_map_shows_what_moved_what_and_comes_with_the_report():
    report = lb.audit(leaky(), length=8, select=["LB101"])
    moved = np.array(report.influence)
    assert moved.shape == (8, 8) and (moved >= 0).all() and moved.max() <= 10
    later = np.triu(np.ones((8, 8), bool), 2)
    assert (moved[later] == 0).all(), "two tokens ahead: nothing"
    assert (np.diagonal(moved, 1) > 0).any() and (np.tril(moved) > 0).sum() > 8
    assert report.to_dict()["influence"] == moved.tolist()
    clean = np.array(lb.audit(honest(), length=8, select=["LB101"]).influence)
    assert (clean[np.triu_indices(8, 1)] == 0).all()


def test_without_every_single_token_there_is_no_influence_map():
    assert lb.audit(honest(), length=8, select=["LB201"]).influence is None
    plan = make_plan(Subject(honest()), length=10, sample=4)
    assert not plan.complete and influence_map(plan) is None
