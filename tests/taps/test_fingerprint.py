import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.taps import fingerprint as module
from lookbehind.taps.fingerprint import fingerprint

G = torch.Generator().manual_seed(0)


@given(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]), st.integers(0, 4), st.integers(0, 6))
def test_a_fingerprint_changes_with_any_bit(dtype, place, dim):
    key = torch.randn(2, 3, 5, 7, generator=G).to(dtype)
    before = fingerprint(key)
    assert before.shape == (2, 5)
    assert torch.equal(before, fingerprint(key.clone()))
    assert torch.equal(before[:, 1:4], fingerprint(key[:, :, 1:4]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", 2 * key[:, :, 0].numel())  # two positions at a time
        assert torch.equal(before, fingerprint(key))
    other = key.clone()
    bits = other.view({8: torch.int64, 4: torch.int32, 2: torch.int16}[key.element_size()])
    bits[1, 2, place, dim] ^= 1
    changed = (before != fingerprint(other)).nonzero().tolist()
    assert changed == [[1, place]]
