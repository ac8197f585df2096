"""What is kept of span tables: by identity, by equality, and not for long."""

from types import SimpleNamespace

import torch

from lookbehind.engines.kernels.kept import Kept, place
from lookbehind.pattern import Causal, Full


def test_the_same_and_an_equal_table_are_found_and_no_other():
    kept: Kept[object] = Kept(4)
    spans = Causal().spans(9)
    made = kept.get(spans, ("rows",), object)
    assert kept.get(spans, ("rows",), object) is made
    assert kept.get(Causal().spans(9), ("rows",), object) is made
    assert kept.get(spans, ("columns",), object) is not made
    assert kept.get(Causal().spans(9, 10), ("rows",), object) is not made
    assert kept.get(Full().spans(9), ("rows",), object) is not made


def test_only_the_latest_are_kept_and_keep_their_tables():
    """A table that is gone could leave its identity to another."""
    kept: Kept[int] = Kept(2)
    for n in range(20):
        assert kept.get(Causal().spans(n), (), lambda n=n: n) == n
    assert len(kept._found) == 2
    assert kept.get(Causal().spans(19), (), lambda: -1) == 19
    assert kept.get(Causal().spans(3), (), lambda: -1) == -1


def test_each_stream_of_a_card_has_its_own(monkeypatch):
    card = torch.device("cuda", 0)
    streams = iter([7, 7, 8])
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=next(streams))
    )
    one, again, other = place(card), place(card), place(card)
    assert one == again != other
    assert place(torch.device("cpu")) == (torch.device("cpu"),)
