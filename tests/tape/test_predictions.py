"""Next-token distributions of a tape: put together from stretches, asked row by row."""

import math

import pytest
import torch

import lookbehind as lb
from lookbehind.tape import load
from lookbehind.tape.predictions import Candidate, Next, Predictions, joined
from tests.tapes import tape as random_tape


def piece(first, rows, before=None):
    ids = torch.arange(first, first + rows, dtype=torch.int32)[:, None].repeat(1, 2)
    loss = torch.arange(first, first + rows, dtype=torch.float32)
    loss[-1] = torch.nan
    return Predictions(
        ids, torch.full((rows, 2), 0.5), loss, torch.tensor(math.nan if before is None else before)
    )


def test_stretches_tell_the_loss_of_the_row_before_them():
    whole = joined([(3, piece(0, 3)), (1, piece(3, 1, before=2.0)), (2, None), (2, piece(6, 2, before=5.0))])
    assert whole.ids[:, 0].tolist() == [0, 1, 2, 3, -1, -1, 6, 7]
    assert whole.loss.nan_to_num(-1).tolist() == [0, 1, 2, -1, -1, 5, 6, -1]
    assert whole.known.tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert whole.before.isnan() and len(whole) == 8
    assert joined([(3, None), (1, None)]) is None and joined([]) is None


def test_joining_by_parts_is_joining_at_once():
    parts = [(3, piece(0, 3)), (1, piece(3, 1, before=2.0)), (2, piece(4, 2, before=3.0))]
    for cut in range(4):
        two = [(sum(n for n, _ in some), joined(some)) for some in (parts[:cut], parts[cut:]) if some]
        for mine, other in zip(joined(two).tensors().values(), joined(parts).tensors().values(), strict=True):
            torch.testing.assert_close(mine, other, equal_nan=True)


@pytest.fixture
def tape():
    made = random_tape(4, tokens=list("abcd"), ids=[10, 11, 12, 13])
    made.predictions = Predictions(
        ids=torch.tensor([[-1, -1], [12, 3], [3, -1], [5, 6]], dtype=torch.int32),
        probabilities=torch.tensor([[0, 0], [0.75, 0.25], [1, 0], [0.5, 0.25]]),
        loss=torch.tensor([math.nan, -math.log(0.75), 9.0, math.nan]),
        before=torch.tensor(math.nan),
    )
    made.vocabulary = {3: "x", 5: "</script>", 12: " c"}
    return made


def test_a_row_s_distribution_and_the_token_that_came(tape, tmp_path):
    tape.save(tmp_path / "a")
    for one in (tape, load(tmp_path / "a")):
        found = one.next(1)
        assert found.top == (Candidate(" c", 12, 0.75), Candidate("x", 3, 0.25))
        assert (found.query, found.came.token, found.came.id) == (1, "c", 12)
        assert found.came.probability == pytest.approx(0.75)
        assert one.next(-1) == Next(3, (Candidate("</script>", 5, 0.5), Candidate(None, 6, 0.25)), None)
        assert len(one.next(2).top) == 1
        torch.testing.assert_close(one.loss(), tape.predictions.loss, equal_nan=True)
        assert one.vocabulary == tape.vocabulary


def test_one_clear_line_where_nothing_was_recorded(tape):
    with pytest.raises(lb.InputError, match=r"^next: what the model said after query 0 was not recorded, "):
        tape.next(0)
    with pytest.raises(lb.InputError, match="query 4: there are 4, 0 to 3"):
        tape.next(4)
    for call, verb in ((lambda: random_tape(4).next(0), "next"), (lambda: random_tape(4).loss(), "loss")):
        with pytest.raises(
            lb.InputError, match=f"^{verb}: this tape holds no next-token distributions; record"
        ):
            call()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": None}, "lacks the tensor 'ids'"),
        ({"extra": torch.zeros(1)}, "has a tensor 'extra' too many"),
        ({"ids": torch.zeros(4, 2)}, r"ids is float32 \[4, 2\], but must be int32 \[4, 2\]"),
        ({"ids": torch.tensor(1, dtype=torch.int32)}, r"ids is int32 \[\], but must be int32 \[4, 1\]"),
        ({"ids": torch.zeros(4, dtype=torch.int32)}, r"ids is int32 \[4\], but must be int32 \[4, 4\]"),
        ({"loss": torch.zeros(3)}, r"loss is float32 \[3\], but must be float32 \[4\]"),
        ({"probabilities": torch.full((4, 2), math.nan)}, "probabilities has numbers that are none"),
        ({"probabilities": torch.full((4, 2), 2.0)}, "probabilities has numbers that are none"),
    ],
)
def test_damaged_predictions_are_named(tape, tmp_path, change, said):
    from safetensors.torch import save_file

    tape.save(tmp_path / "a")
    tensors = {**tape.predictions.tensors(), **change}
    save_file(
        {name: one for name, one in tensors.items() if one is not None}, tmp_path / "a/next.safetensors"
    )
    with pytest.raises(lb.TapeError, match=r"next\.safetensors: " + said):
        load(tmp_path / "a")
