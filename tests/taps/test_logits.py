"""What is kept of logits, against the plain computation; and what is not taken for logits."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lookbehind.recorder import record
from lookbehind.taps import logits
from lookbehind.taps.logits import TOP, returned, summarised
from lookbehind.taps.stack import Frame
from tests.tiny_models import PROMPT, STEPS, Plain, generate, ids, tiny
from tests.tokenizers import Letters


def frame(module=None, **kwargs):
    return Frame(module or nn.Linear(2, 2), "m", (), kwargs)


@given(
    st.integers(1, 2),
    st.integers(1, 9),
    st.integers(1, 30),
    st.integers(0, 8),
    st.integers(1, 60),
    st.booleans(),
)
def test_rows_are_summarised_as_softmax_says(batch, n, width, missing, at_once, half):
    missing = min(missing, n - 1)
    given_logits = torch.randn(batch, n - missing, width).mul(4).to(torch.bfloat16 if half else torch.float32)
    ids, last = torch.randint(0, width, (batch, n)), torch.randn(batch, width).log_softmax(-1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logits, "_AT_ONCE", at_once)  # a row at a time, or several
        said, after = summarised(given_logits, ids, n, last)
    expected = given_logits.float().log_softmax(-1)
    k = min(TOP, width)
    assert said.ids.shape == said.probabilities.shape == (batch, n, TOP)
    assert (said.ids[:, :missing] == -1).all() and (said.ids[:, :, k:] == -1).all()
    assert (said.probabilities[said.ids < 0] == 0).all()
    kept = said.ids[:, missing:, :k].long()
    torch.testing.assert_close(said.probabilities[:, missing:, :k], expected.exp().topk(k).values)
    torch.testing.assert_close(expected.gather(2, kept).exp(), expected.exp().topk(k).values)
    torch.testing.assert_close(after, expected[:, -1])
    came = -expected[:, :-1].gather(2, ids[:, missing + 1 :, None])[..., 0]
    torch.testing.assert_close(said.loss[:, missing:-1], came)
    assert said.loss[:, :missing].isnan().all() and said.loss[:, -1].isnan().all()
    torch.testing.assert_close(said.before, -last.gather(1, ids[:, :1])[:, 0])


def test_what_is_unknown_stays_unknown():
    ids = torch.tensor([[1, 7, 2]])
    assert summarised(None, ids, 3, None) == (None, None)
    assert summarised(torch.zeros(1, 3, 4), None, 3, torch.zeros(1, 4)) == (None, None)
    assert summarised(torch.zeros(2, 3, 4), ids, 3, None) == (None, None)
    said, after = summarised(None, ids, 3, torch.full((1, 4), 0.25).log())
    assert after is None and said.before.item() == pytest.approx(1.3863, abs=1e-4)
    assert (said.ids == -1).all() and said.loss.isnan().all()
    said, _ = summarised(torch.zeros(1, 3, 4), ids, 3, None)
    assert said.loss[0, 0].isnan() and said.loss[0, 1].item() == pytest.approx(1.3863, abs=1e-4)  # id 7 of 4


def test_rows_that_are_no_distribution_are_unknown():
    rows = torch.zeros(1, 4, 3)
    rows[0, 0, 1], rows[0, 1, 1], rows[0, 2, 1] = torch.nan, torch.inf, -torch.inf
    said, _ = summarised(rows, torch.zeros(1, 4, dtype=torch.int64), 4, None)
    assert (said.ids[0, :2] == -1).all() and (said.probabilities[0, :2] == 0).all()
    assert said.ids[0, 2, :3].tolist()[-1] == 1 and said.probabilities[0, 2, :3].tolist() == [0.5, 0.5, 0.0]
    assert said.loss[0].isnan().tolist() == [True, True, False, True]


def test_what_is_taken_for_logits():
    embeds = nn.Sequential(nn.Embedding(5, 3))
    three, hidden = torch.zeros(1, 2, 5), torch.zeros(1, 2, 3)
    assert returned(SimpleNamespace(logits=hidden), frame()) is not None
    assert returned(three, frame(embeds)) is not None
    assert returned((three, "cache"), frame(embeds)) is not None
    assert returned({"logits": hidden}, frame()) is not None
    assert returned({"logits": None}, frame(embeds)) is None
    for output in (
        hidden,
        (hidden, three),
        three[0],
        None,
        (),
        "text",
        SimpleNamespace(logits=None),
        three.long(),
    ):
        assert returned(output, frame(embeds)) is None
    for empty in (torch.zeros(1, 0, 5), torch.zeros(1, 2, 5, device="meta"), torch.zeros(2, 5)):
        assert returned(SimpleNamespace(logits=empty), frame()) is None
    chosen = frame(logits_to_keep=torch.tensor([0, 1]))
    assert returned(SimpleNamespace(logits=three), chosen) is None
    assert not returned(three.clone().requires_grad_(), frame(embeds)).requires_grad


def said_by_hand(tape, logits):
    """Compares a tape's distributions with logits [rows, V] of its last rows."""
    log = logits.float().log_softmax(-1)
    first = tape.n_queries - len(log)
    assert tape.predictions.known.tolist() == [False] * first + [True] * len(log)
    for row, expected in enumerate(log, first):
        found = tape.next(row)
        best = expected.exp().topk(10)
        assert [one.probability for one in found.top] == pytest.approx(best.values.tolist(), rel=1e-5)
        for one in found.top:
            assert one.probability == pytest.approx(float(expected[one.id].exp()), rel=1e-5)
        if row + 1 < tape.n_queries:
            came = tape.token_ids[row + 1]
            assert found.came.id == came
            assert float(tape.loss()[row]) == pytest.approx(-float(expected[came]), rel=1e-5, abs=1e-6)
        else:
            assert found.came is None and tape.loss()[row].isnan()


def test_what_the_model_said_next_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("lookbehind.tape.writing.FLUSH_ROWS", 4)
    model, prompt = tiny("llama"), ids(PROMPT)
    with record(model) as recorder:
        run = generate(model, prompt)
    tape = recorder.tape()
    said_by_hand(tape, torch.cat(run.logits))  # of the prompt, generate asks for the last row's logits only
    assert tape.predictions.known.sum() == STEPS + 1
    with record(model, tokenizer=Letters()) as recorder:
        again = generate(model, prompt, logits_to_keep=0)
    assert torch.equal(run.sequences, again.sequences)
    tape = recorder.tape()
    with torch.no_grad():
        said_by_hand(tape, model(run.sequences[:, :-1]).logits[0])
    assert tape.next(3).top[0].token == Letters().decode([tape.next(3).top[0].id])
    with record(model, to=tmp_path / "a", tokenizer=Letters()) as recorder:
        generate(model, prompt, logits_to_keep=0)
    stored = recorder.tape()
    assert stored.vocabulary == tape.vocabulary
    for name, one in stored.predictions.tensors().items():
        torch.testing.assert_close(one, tape.predictions.tensors()[name], equal_nan=True)


def test_each_sequence_of_a_batch_has_its_own():
    model = Plain()
    cache = {}
    with torch.no_grad(), record(model) as recorder:
        logits = [model(ids(4, batch=2), cache), model(ids(1, batch=2, seed=9), cache)]
    for row, tape in enumerate(recorder.tapes()):
        said_by_hand(tape, torch.cat(logits, 1)[row])


def test_nothing_is_made_up_where_no_logits_came():
    model = tiny("llama")
    with torch.no_grad(), record(model.model) as recorder:
        model(ids(4))  # the decoder alone returns hidden states
    assert recorder.tape().predictions is None
    with torch.no_grad(), record(model) as recorder:
        model(inputs_embeds=torch.randn(1, 4, 32))
    assert recorder.tape().predictions is None
    with torch.inference_mode(), record(model) as recorder:
        plain = model(ids(4), logits_to_keep=2).logits
    said_by_hand(recorder.tape(), plain[0].clone())
