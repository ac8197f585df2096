"""The corpus is right: each cheat cheats, each honest model does not, measured without the audit."""

import pytest
import torch

from lookbehind import Causal
from tests.leaks import CASES, EVERYTHING, HONEST
from tests.leaks.checks import CHECKS, Runner, ids, measure, shows_at, worst

EXACT = 1e-11  # of the largest output, in float64
CHEATS = [case for case in CASES if case.rule != "LB103"]


def sampled(cases):
    """Every cheat is shown to cheat; of the dearer checks the suite makes every fourth."""
    return cases if EVERYTHING else cases[::4]


pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_corpus_is_large_and_its_names_are_unique():
    names = [case.name for case in (*CASES, *HONEST)]
    assert len(set(names)) == len(names)
    assert len(CASES) >= 40 and len(HONEST) >= 25
    assert {case.rule for case in CASES} == {*CHECKS, "LB103"}
    assert all(case.rule is None for case in HONEST) and all(case.note for case in (*CASES, *HONEST))


@pytest.mark.parametrize("case", CHEATS, ids=lambda case: case.name)
def test_it_cheats(case):
    if len(case.dtypes) > 1:
        assert measure(case, [case.rule])[case.rule] > EXACT
    else:
        dtype = getattr(torch, case.dtypes[0])
        assert measure(case, [case.rule])[case.rule] < EXACT, "in float64 it is honest"
        assert measure(case, [case.rule], dtype)[case.rule] > 1e-4


@pytest.mark.parametrize("case", sampled(HONEST), ids=lambda case: case.name)
def test_it_is_honest(case):
    found = measure(case, [rule for rule in CHECKS if rule not in case.undecided])
    limit = EXACT if isinstance(case.make(0), torch.nn.Module) else 1e-5  # a function stays in float32
    assert {rule: value for rule, value in found.items() if value > limit} == {}


@pytest.mark.parametrize(
    "case", sampled([c for c in CHEATS if c.rule != "LB101"]), ids=lambda case: case.name
)
def test_it_breaks_no_rule_besides_what_it_says(case):
    """A model with a faulty cache does not look ahead, and so on."""
    named = {case.rule, *case.also}
    found = measure(case, {"LB101", "LB102"} - named)
    assert {rule: value for rule, value in found.items() if value > EXACT} == {}


@pytest.mark.parametrize(
    "case",
    sampled([c for c in CASES if c.rule == "LB101" and c.culprit is not None]),
    ids=lambda case: case.name,
)
def test_its_culprit_is_the_first_to_know_the_future(case):
    dtype = torch.float64 if len(case.dtypes) > 1 else getattr(torch, case.dtypes[0])
    run, n, expect = Runner(case, dtype), shows_at(case), case.options.get("expect", Causal())
    reads = torch.from_numpy(expect.spans(n).mask())
    for seed in range(6):
        x = ids(seed, n)
        clean, found = _watched(run, x), []
        for j in range(n - 1, 0, -1 if n <= 24 else -7):
            y = x.clone()
            y[:, j:] = (y[:, j:] + 1 + ids(seed + 9, n)[:, j:] % 28) % 31
            found += _first_dirty(clean, _watched(run, y), ~reads[:, j:].any(1))
        if found:
            assert _part(clean[min(found)][0]) == case.culprit
            return
    raise AssertionError("no change of the future was seen")


def _watched(run, x):
    """(path, output) of every module that gives one row a position, in the order in which they end."""
    seen, hooks = [], []
    for path, module in run.model.named_modules():

        def hook(module, given, output, path=path):
            output = output[0] if isinstance(output, tuple) else getattr(output, "logits", output)
            if isinstance(output, torch.Tensor) and output.ndim == 3 and output.shape[:2] == x.shape and path:
                seen.append((path, output.double()))

        hooks.append(module.register_forward_hook(hook))
    try:
        run(x)
    finally:
        for one in hooks:
            one.remove()
    return seen


def _first_dirty(a, b, blind):
    """The place of the first module to end with a difference where none must be; its parents end later."""
    for place, ((_, left), (_, right)) in enumerate(zip(a, b, strict=True)):
        if worst(left[:, blind], right[:, blind]) > 1e-13:
            return [place]
    return []


def _part(path):
    """The case's own part: a mixer's projection ends before the mixer does."""
    parts = path.split(".")
    return ".".join(parts[: {"blocks": 3, "embed": 1}.get(parts[0], 4)])
