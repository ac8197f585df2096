import torch
from torch import nn

from lookbehind.auditor.difference import distance
from lookbehind.auditor.evidence import decide
from lookbehind.auditor.subject import Subject
from tests.auditor.models import OnlyHalf, honest
from tests.leaks.decoder import Attention, decoder


def ids(n=16):
    return torch.randint(0, 31, (1, n), generator=torch.Generator().manual_seed(3))


def test_equal_is_clean():
    subject = Subject(honest())
    found = decide(subject, lambda: (subject.logits(ids())[0],) * 2, same_shape=True)
    assert (found.verdict, found.reason) == ("clean", "bit for bit equal")


def test_rounding_between_shapes_is_clean_in_every_dtype():
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        subject = Subject(honest().to(dtype))
        found = decide(
            subject,
            lambda subject=subject: (subject.logits(ids())[0, :7], subject.logits(ids()[:, :7])[0]),
            same_shape=False,
        )
        assert found.verdict == "clean", found


def test_a_share_of_1e_7_is_a_leak():
    subject = Subject(honest())

    def run():
        base = subject.logits(ids())[0]
        return base, base * (1 + 1e-7)

    found = decide(subject, run, same_shape=True)
    assert (found.verdict, found.dtype) == ("leak", "float64")
    assert 5e-8 < found.difference < 2e-7
    assert found.noise < 1e-10
    assert found.bad is not None and found.bad.any()


def test_a_branch_of_one_dtype_is_taken_in_float64_too():
    model = OnlyHalf().to(torch.bfloat16)
    subject, some = Subject(model), ids(8) % 11
    other = some.clone()
    other[0, -1] = (other[0, -1] + 1) % 11
    run = lambda: (subject.logits(some)[0, :-1], subject.logits(other)[0, :-1])  # noqa: E731
    assert decide(subject, run, same_shape=True).verdict == "leak"
    model.float()
    assert decide(subject, run, same_shape=True).verdict == "clean"


class Refuses(nn.Module):
    """A kernel that has no float64."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(31, 8)
        self.head = nn.Linear(8, 31)

    def forward(self, ids):
        x = self.table(ids)
        if x.untyped_storage().nbytes() == 8 * x.numel():
            raise RuntimeError("expected scalar type Float but found Double")
        return self.head(self.mixed(x))

    def mixed(self, x):
        return x + x.roll(-1, 1)


class HalfPositions(Attention):
    """Positions are compared in the model's dtype, which in bfloat16 takes 259 for 260."""

    def reach(self, i, j):
        return j.to(self.q.weight.dtype) <= i.to(self.q.weight.dtype)


def test_positions_that_a_dtype_cannot_hold_are_no_rounding():
    model = decoder(mixer={1: HalfPositions}, max_position_embeddings=512)(0).to(torch.bfloat16)
    subject, before = Subject(model), ids(266)
    after = before.clone()
    after[0, 260:] = (before[0, 260:] + 1) % 31

    def run():
        return subject.logits(before)[0, :260], subject.logits(after)[0, :260]

    found = decide(subject, run, same_shape=True)
    assert (found.verdict, found.dtype) == ("leak", "float64")
    assert found.bad is not None and found.bad.nonzero().tolist() == [[259]]


def test_where_float64_cannot_run_the_gradient_is_asked():
    subject = Subject(Refuses())
    some = ids(8)
    other = some.clone()
    other[0, -1] = (other[0, -1] + 1) % 31
    run = lambda: (subject.logits(some)[0, :-1], subject.logits(other)[0, :-1])  # noqa: E731
    leak = decide(subject, run, same_shape=True, gradient=lambda: 0.3)
    assert (leak.verdict, leak.reason) == ("leak", "its gradient is not 0")
    assert decide(subject, run, same_shape=True, gradient=lambda: 0.0).verdict == "leak", "far above rounding"

    def nearly():
        base = subject.logits(some)[0]
        return base, base * (1 + 3e-7)

    found = decide(subject, nearly, same_shape=True, gradient=lambda: 0.0)
    assert found.verdict == "undecided"
    assert "float64 cannot run" in found.reason


class Steps(Refuses):
    """Activations quantised, each halfway between two steps: the last bit decides which it becomes."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.table.weight.copy_((self.table.weight.round() + 0.5) / 4)

    def mixed(self, x):
        return (4 * x).round() / 4


def test_quantised_activations_make_steps_of_rounding_and_no_leak():
    subject, some = Subject(Steps()), ids(8)

    def run():
        base = subject.logits(some)[0]
        with torch.no_grad():
            subject.module.table.weight.mul_(1 + 2**-23)
            got = subject.logits(some)[0]
            subject.module.table.weight.div_(1 + 2**-23)
        return base, got

    found = decide(subject, run, same_shape=True, gradient=lambda: 0.0)
    assert found.verdict == "undecided" and "float64 cannot run" in found.reason
    assert found.difference > 1e-2


def test_a_callable_has_no_weights_to_widen():
    model = honest()
    subject = Subject(lambda ids: model(ids), vocab=31)
    run = lambda: (subject.logits(ids())[0, :7], subject.logits(ids()[:, :7])[0])  # noqa: E731
    assert decide(subject, run, same_shape=False).verdict == "clean"


def test_infinities_that_agree_are_no_difference():
    a = torch.tensor([[1.0, -torch.inf], [2.0, torch.inf]])
    assert distance(a, a.clone()).tolist() == [0, 0]
    b = torch.tensor([[1.5, -torch.inf], [2.0, 7.0]])
    assert distance(a, b).tolist() == [0.5, torch.inf]
