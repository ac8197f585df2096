import functools
import subprocess
import sys

import pytest
import torch
from torch import nn

import lookbehind as lb
from lookbehind.auditor.precision import wide
from lookbehind.auditor.subject import Subject, UncoveredError
from lookbehind.errors import InputError
from tests.auditor.models import OnlyHalf, honest, leaky
from tests.leaks import CASES
from tests.leaks.decoder import Plain, decoder
from tests.leaks.odd import CrashingLong, OneOutput

FAST = {"select": ["LB1"]}


def test_the_verb_stays_callable_when_its_package_is_imported():
    code = "import lookbehind.auditor.rules, lookbehind as lb; assert callable(lb.audit); lb.testing"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_leak_is_found_shrunk_and_reproduced():
    model = leaky()
    before = [part.training for part in model.modules()], torch.get_rng_state()
    report = lb.audit(model, **FAST)
    found = report["LB101"]
    assert report.verdict == "fail" and report.findings[0] is found
    assert found.culprit.path == "blocks.1.mixer"
    assert (found.culprit.class_name, found.culprit.file) == ("Ahead", "tests/auditor/models.py")
    assert found.pair[1] == found.pair[0] + 1
    assert found.detail == ("smallest: 2 tokens, one of them changed",)
    assert found.n_bad == 23
    assert report["LB102"].verdict == "not covered"
    assert ([part.training for part in model.modules()], True) == (
        before[0],
        torch.equal(before[1], torch.get_rng_state()),
    )


def test_the_reproducer_runs_by_itself(capsys):
    origin = "from tests.auditor.models import leaky; model = leaky(0)"
    report = lb.audit(leaky(0), origin=origin, **FAST)
    lines = report["LB101"].reproducer
    assert len(lines.splitlines()) <= 7
    exec(lines, {})
    assert float(capsys.readouterr().out.strip().removeprefix("tensor(").split(",")[0].rstrip(")")) > 1e-3


def test_an_honest_model_passes_and_says_what_was_tried():
    report = lb.audit(honest(), **FAST)
    assert report.verdict == "pass"
    assert report["LB101"].reason == (
        "no output changes with a later token, 276 pairs at n = 24; "
        "influence was seen at 276 of 276 allowed pairs"
    )


def test_a_prefix_lm_is_judged_by_its_pattern():
    class Prefix(type(honest().blocks[0].mixer)):
        def reach(self, i, j):
            return (j <= i) | (j < 4)

    model = honest(mixer=Prefix)
    assert lb.audit(model, **FAST)["LB101"].verdict == "fail"
    assert lb.audit(model, expect=lb.Causal() | lb.First(4), **FAST)["LB101"].verdict == "pass"
    assert lb.audit(model, expect="causal | first(4)", **FAST)["LB101"].verdict == "pass"


def test_no_signal_proves_nothing():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(7, 7)

        def forward(self, ids):
            return self.table(ids)

    found = lb.audit(Counts(), **FAST)["LB101"]
    assert found.verdict == "undecided"
    assert "draw them again (redraw=True)" in found.reason


def test_a_signal_that_the_dtype_rounds_away_proves_nothing():
    class Raised(Plain):
        def forward(self, input_ids):
            logits = super().forward(input_ids)
            return logits + 1e-3 * logits.mean(1, keepdim=True) + 1e12

    found = lb.audit(honest(model=Raised), **FAST)["LB101"]
    assert found.verdict == "undecided"
    assert found.reason.startswith("in float32 no token changes any later output either")


class Raised(Plain):
    """Adds a constant to every other position's logits, which changes no prediction; and may look ahead."""

    share = 0.0

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        logits = logits + self.share * logits.mean(1, keepdim=True)
        return logits + 1e12 * (torch.arange(logits.shape[1]) % 2)[:, None]


class RaisedAhead(Raised):
    share = 1e-3


def test_a_leak_is_seen_beside_positions_of_larger_outputs():
    report = lb.audit(honest(model=RaisedAhead), length=12, **FAST)
    found = report["LB101"]
    assert found.verdict == "fail" and found.pair[0] % 2 == 0
    assert "it stays in float64" in found.reason and 1e-5 < found.difference < 1e-2
    assert lb.audit(honest(model=Raised), length=12, **FAST).verdict == "pass"


def test_bfloat16_is_audited_as_it_is():
    assert lb.audit(OnlyHalf(), **FAST)["LB101"].verdict == "undecided", "no signal in float32"
    assert lb.audit(OnlyHalf().to(torch.bfloat16), **FAST)["LB101"].verdict == "fail"


def test_a_length_that_the_model_does_not_take_is_refused():
    learned = honest(positions="learned", max_position_embeddings=20)
    with pytest.raises(InputError) as refused:
        lb.audit(learned, length=28)
    told = "length: 28 is beyond max_position_embeddings=20 in the config of Plain, which fails there"
    assert str(refused.value) == f"{told}; give 20 or less"
    assert lb.audit(learned, length=20, **FAST).verdict == "pass"
    with pytest.raises(
        InputError, match=r"length: CrashingLong fails on \[1, 28\] tokens: .*; it runs on 8, "
    ):
        lb.audit(honest(model=CrashingLong), length=28)
    turned = honest(max_position_embeddings=20)
    assert lb.audit(turned, length=28, **FAST).length == 28, "rotary positions go on"


def test_ctrl_c_reaches_the_caller_with_what_was_decided(monkeypatch):
    def stopped(subject, plan):
        raise KeyboardInterrupt

    model = honest()
    monkeypatch.setattr("lookbehind.auditor.structure.check", stopped)
    with pytest.raises(KeyboardInterrupt) as caught:
        lb.audit(model, **FAST)
    report = caught.value.report
    assert (report.verdict, report["LB101"].verdict, report.interrupted) == ("not covered", "pass", True)
    assert not any(part._forward_hooks for part in model.modules())


def interrupted_at(model, what, call=1, **more):
    """The report of an audit in which Ctrl-C is pressed when progress says this for the so-manieth time."""
    heard = 0

    def press(step, done, total):
        nonlocal heard
        heard += what in step
        if heard == call:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        lb.audit(model, progress=press, length=12, **more)
    assert not any(part._forward_hooks for part in model.modules())
    assert caught.value.report.interrupted
    return caught.value.report


def test_ctrl_c_keeps_what_the_sweeps_had_seen():
    report = interrupted_at(leaky(), "single tokens changed")
    assert (report.verdict, report["LB101"].verdict, report["LB101"].dtype) == (
        "undecided",
        "undecided",
        "float32",
    )
    told = "interrupted; by then: the output at 0 moved with the tokens from 1 on, "
    assert report["LB101"].reason.startswith(told)
    assert report["LB101"].reason.endswith("ahead of it, which is not yet told from rounding")
    assert report["LB101"].difference > 1e-3
    within = interrupted_at(leaky(), "suffix tokens changed", batch=2)["LB101"]
    assert within.verdict == "undecided", "some rows of the first sweep were there"
    quiet = interrupted_at(honest(), "single tokens changed")
    assert (quiet.verdict, quiet["LB101"].reason) == ("not covered", "interrupted before it was decided")


def test_ctrl_c_while_a_leak_is_shrunk_keeps_the_leak(monkeypatch):
    def stopped(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookbehind.auditor.shrink.explained", stopped)
    found = interrupted_at(leaky(), "never")["LB101"]
    assert (found.verdict, found.culprit) == ("fail", None) and found.n_bad == 11
    assert found.reason.startswith("interrupted; by then: the output at ")


def test_ctrl_c_keeps_how_far_prefixes_were_off():
    class ByLength(Plain):
        def forward(self, input_ids):
            return super().forward(input_ids) * (1 + 0.01 * input_ids.shape[1])

    report = interrupted_at(honest(model=ByLength), "prefixes alone", 3)
    found = report["LB102"]
    assert (report["LB101"].verdict, found.verdict) == ("pass", "undecided")
    assert found.reason == (
        "interrupted; by then: outputs of the first 1 tokens alone differ from those among 12, "
        "which is not yet told from rounding"
    )
    assert 0.09 < found.difference < 0.11


def test_ctrl_c_keeps_each_way_that_differed(monkeypatch):
    case = next(case for case in CASES if case.rule == "LB201")
    select = ["LB201", "LB202"]
    later = interrupted_at(case.make(0), "decoding in chunks", select=select)
    assert later["LB201"].verdict == "fail" and later["LB201"].reproducer, "it was done"
    assert later["LB202"].reason == "interrupted before it was decided"
    within = interrupted_at(case.make(0), "at batch 1", select=select)["LB201"]
    assert within.verdict == "undecided"
    assert within.reason.startswith("interrupted; by then: token by token: the output at ")

    def stopped(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookbehind.auditor.comparison.parting", stopped)
    found = interrupted_at(case.make(0), "never", select=select)["LB201"]
    assert (found.verdict, found.culprit) == ("fail", None)
    assert found.reason.startswith("interrupted; by then: token by token: the output at ")


def test_where_memory_runs_out_before_any_rule_it_is_said():
    class Large(Plain):
        def forward(self, input_ids):
            if len(input_ids) > 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().forward(input_ids)

    report = lb.audit(honest(model=Large), **FAST)
    assert report.verdict == "not covered"
    told = "memory ran out (OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB)"
    assert report["LB101"].reason == f"{told}; lower batch=64, or give a shorter length"


def test_what_says_that_it_is_no_decoder_is_believed():
    model = honest(is_decoder=False)
    report = lb.audit(model)
    assert report.verdict == "not applicable"
    assert "declares is_decoder=False: an encoder" in report["LB101"].reason
    assert lb.audit(model, expect=lb.Causal(), select=["LB101"]).verdict == "pass"


def test_redrawn_weights_are_put_back():
    model = honest()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lb.audit(model, redraw=True, **FAST)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Packed(torch.Tensor):
    """Quantised weights as libraries make them: they are multiplied, and refuse most else."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.equal, torch.Tensor.double, torch.Tensor.copy_):
            raise ValueError(f"{func.__name__} is not implemented for {cls.__name__}")
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **(kwargs or {}))
        kept = func in (torch.Tensor.detach, torch.Tensor.data.__get__)
        return found.as_subclass(cls) if kept else found


def test_quantised_weights_are_audited_without_float64_and_not_redrawn():
    model = honest()
    model.head.weight = nn.Parameter(model.head.weight.detach().as_subclass(Packed), requires_grad=False)
    assert lb.audit(model, **FAST).verdict == "pass"
    with pytest.raises(UncoveredError, match="Packed has no float64"), wide(Subject(model)):
        pass
    with pytest.raises(InputError, match=r"redraw: head\.weight is quantised \(Packed\)"):
        lb.audit(model, redraw=True, **FAST)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"select": ["LB999"]}, "rules: there is no 'LB999'"),
        ({"ignore": ["LB"]}, "rules: none is left to run; select more or ignore fewer"),
        ({"length": 10**23}, "length: a whole number of at most 2147483647 is needed; got 1"),
        ({"length": 1}, "length: at least 2 tokens are needed for one to be ahead of another; got 1"),
        ({"batch": 0}, "batch: a whole number of at least 1 is needed; got 0"),
        ({"batch": None}, "batch: a whole number is needed; got None"),
        ({"select": 5}, "rules: codes are needed, as ['LB101', 'LB2']; got 5"),
        ({"ignore": [1]}, "rules: codes are needed, as ['LB101', 'LB2']; got [1]"),
        ({"seeds": ()}, "seeds: at least one is needed"),
        (
            {"expect": 4},
            "expect: a pattern is needed, as lb.Causal() | lb.First(4) or 'causal | first(4)'; got",
        ),
        ({"expect": "casual"}, "pattern: column 1: 'casual' is no pattern"),
        ({"length": "8"}, "length: a whole number is needed; got '8'"),
        ({"batch": 1.5}, "batch: a whole number is needed; got 1.5"),
        ({"vocab": 31.0}, "vocab: a whole number is needed; got 31.0"),
        ({"seeds": 3}, "seeds: whole numbers are needed, as (0, 1, 2); got 3"),
        ({"seeds": "ab"}, "seeds: whole numbers are needed, as (0, 1, 2); got 'ab'"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(InputError) as caught:
        lb.audit(honest(), **options)
    assert words in str(caught.value)


def test_a_window_one_too_wide_is_found_in_its_layer():
    class Wider(type(honest().blocks[0].mixer)):
        def reach(self, i, j):
            return (j <= i) & (j >= i - self.config.sliding_window)

    found = lb.audit(honest(mixer={1: Wider}, sliding_window=4), select=["LB104"])["LB104"]
    assert found.verdict == "fail"
    assert "layer blocks.1 reads further back than causal & window(4): 4 and 0, one of 20" in found.reason
    passed = lb.audit(honest(sliding_window=4), select=["LB104"])["LB104"]
    assert passed.reason == "2 layers read exactly what causal & window(4) allows at n = 24"
    assert lb.audit(honest(), select=["LB104"])["LB104"].verdict == "not applicable"


def test_recorded_masks_are_held_against_the_pattern():
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=31, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    report = lb.audit(transformers.LlamaForCausalLM(config), select=["LB103"])
    assert report["LB103"].reason == "2 recorded calls lie within causal at n = 24"
    narrow = lb.audit(
        transformers.LlamaForCausalLM(config), select=["LB103"], expect=lb.Causal() & lb.Window(3)
    )
    assert narrow["LB103"].culprit.path == "model.layers.0.self_attn"
    assert narrow["LB103"].pair == (3, 0)


def test_a_model_whose_source_is_no_python_is_judged_all_the_same(tmp_path, monkeypatch):
    """Code run by exec under the name of another file: its lines cannot be read, its leak can."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text('not \'Python """ at (all\n' * 9, encoding="utf-8")
    code = """
import torch
class Ahead(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(11, 11)
    def forward(self, ids):
        return self.table(ids) + self.table(ids.roll(-1, dims=1))
"""
    namespace = {}
    exec(compile(code, "page.md", "exec"), namespace)
    report = lb.audit(namespace["Ahead"](), select=["LB101"])
    assert (report.verdict, report["LB101"].pair) == ("fail", (0, 1))
    assert report["LB101"].culprit is not None


def test_leaks_are_seen_of_a_model_that_writes_every_output_into_one_tensor():
    class Centred(OneOutput):
        def judged(self, logits):
            return logits - 0.1 * logits.mean(1, keepdim=True)

    class ByLength(OneOutput):
        def judged(self, logits):
            return logits * (1 + 0.1 * logits.shape[1])

    report = lb.audit(decoder(model=Centred)(0), length=8, batch=1)
    assert report["LB101"].verdict == "fail" and report["LB101"].pair == (0, 1)
    report = lb.audit(decoder(model=ByLength)(0), length=8)
    assert {o.rule for o in report.findings} == {"LB102"}


def test_a_model_without_weights_is_told_so():
    report = lb.audit(honest().to("meta"))
    assert report.verdict == "not covered"
    told = "Plain has no weights (they are on the meta device); load them first, and do not offload them"
    assert report["LB101"].reason == told


def test_a_callable_without_a_name_is_named_after_its_class():
    report = lb.audit(functools.partial(honest()), length=6, select=["LB101", "LB201"])
    assert (report.model, report["LB101"].verdict) == ("partial", "pass")
    assert report["LB201"].reason.startswith("partial.forward names no cache")
