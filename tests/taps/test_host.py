"""Copies into host memory: at once on a CPU, on a stream of their own on a card."""

import threading
from contextlib import contextmanager

import pytest
import torch

from lookbehind.taps import host


def test_on_a_cpu_it_is_an_ordinary_copy():
    with torch.inference_mode():
        x = torch.randn(2, 3, 4).transpose(0, 2)
        found = host.copied(x)
        assert torch.equal(found, x)
        x.zero_()
    assert not found.is_inference() and found.is_contiguous() and found.abs().sum() > 0
    host.arrived()  # nothing is on its way


class FakeStream:
    """Notes what is asked of it."""

    def __init__(self, said: list) -> None:
        self.said = said

    def wait_stream(self, other: object) -> None:
        self.said.append("waits for the model")

    def synchronize(self) -> None:
        self.said.append("arrived")


@pytest.fixture
def said(monkeypatch):
    """What happens in order, with a stream that is none, and memory that is not pinned."""
    notes: list[str] = []
    empty = torch.empty

    def pinned(*shape, pin_memory=False, **options):
        if pin_memory:
            notes.append("copied")
        return empty(*shape, **options)

    @contextmanager
    def on(stream):
        yield notes.append("on its stream")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(notes))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: notes.append("kept until then"))
    return notes


def test_on_a_card_the_model_goes_on_until_too_much_is_on_its_way(said, monkeypatch):
    monkeypatch.setattr(host, "MOST", 100)
    lane, x = host.Lane(torch.device("cuda", 0)), torch.randn(4, 4).t()
    found = [torch.zeros(4, 4) for _ in range(2)]
    lane.send(x, found[0])
    once = ["waits for the model", "on its stream", "copied", "kept until then"]
    assert said == once and not found[0].any()
    lane.send(x, found[1])
    assert said == [*once, "arrived", *once]
    assert torch.equal(found[0], x) and not found[1].any()
    said.clear()
    lane.settle()
    lane.settle()
    assert said == ["arrived"] and torch.equal(found[1], x)


class OnACard(torch.Tensor):
    """Says that it lies on a card."""

    device = torch.device("cuda", 0)


def test_a_thread_waits_while_another_takes_down_what_has_arrived(said, monkeypatch):
    """Between the waiting and the taking down, nothing is added that would be taken for arrived."""
    monkeypatch.setattr(host, "_lanes", {})
    x = torch.randn(4, 4).as_subclass(OnACard)
    host.copied(x)
    (lane,) = host._lanes.values()
    other = threading.Thread(target=host.copied, args=(x,))

    def synchronize():
        other.start()
        other.join(0.2)
        assert other.is_alive() and len(lane._waiting) == 1

    lane._stream.synchronize = synchronize
    host.arrived()
    other.join()
    assert len(lane._waiting) == 1  # for whom nobody has waited yet


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no card is here")
def test_what_is_written_over_after_the_call_was_copied_before():
    x = torch.randn(64, 1024, 1024, device="cuda")
    before = x.sum(dtype=torch.float64).item()
    found = host.copied(x)
    x.zero_()
    host.arrived()
    assert not found.is_pinned() and found.sum(dtype=torch.float64).item() == pytest.approx(before)
