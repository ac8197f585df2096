"""Pieces, prompts, caches."""

import pytest
import torch

from lookbehind.auditor.decoding import Decoded, cache_name, prompts, static_cache, step, uneven
from lookbehind.auditor.subject import Subject, UncoveredError
from tests.leaks.decoder import Cached, Plain, decoder


def test_cuts_and_prompts():
    assert uneven(12, (5, 1, 7, 2)) == (5, 6, 12)
    assert uneven(7, (2, 3)) == (2, 5, 7)
    assert prompts(24, [8]) == [3, 7, 8, 9, 12, 15, 16, 17]
    assert prompts(3, []) == []


def test_where_the_cache_goes_in():
    assert cache_name(Subject(decoder(model=Cached)(0))) == "past_key_values"
    assert cache_name(Subject(decoder(model=Plain)(0))) is None

    class Stateful(torch.nn.Embedding):
        def forward(self, ids, cache_params=None):
            return super().forward(ids)

    subject = Subject(Stateful(7, 7))
    assert cache_name(subject) == "cache_params"
    with pytest.raises(UncoveredError, match="returns no cache, although one was asked for"):
        step(subject, subject.ids(0, 2), None, 0)


def test_pieces_give_the_outputs_of_the_whole():
    subject = Subject(decoder(model=Cached)(0))
    ids = subject.ids(0, 9, 2)
    decoded = Decoded(ids, (4, 5, 9), row=1, start=2)
    assert decoded.pieces() == [(0, 4), (4, 5), (5, 9)]
    torch.testing.assert_close(decoded.outputs(subject, {}), subject.logits(ids)[1, 2:])
    moment = decoded.moment(subject, 4)
    assert (moment.n, moment.row, moment.positions, decoded.position(4)) == (4, 1, (1,), 6)


def test_static_caches_are_of_transformers_only():
    with pytest.raises(UncoveredError, match="static caches are those of transformers"):
        static_cache(Subject(decoder(model=Cached)(0)), 8)
