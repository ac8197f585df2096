"""Random attention calls, and how results are compared: shared by the engines' tests."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from lookbehind.engines.observation import Observation
from lookbehind.pattern import Causal, Chunk, Diagonal, Documents, First, Full, Pattern, Window
from lookbehind.spans import Spans

# Largest error over the largest magnitude of the reference, for each tensor that comes out.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}
# Every reduction but maps, as arguments of `observe`.
EVERYTHING = {
    "received": True,
    "entropy": True,
    "top": 4,
    "max_score": True,
    "distance": True,
    "by_distance": True,
    "mass": {"sink": First(1), "previous": Diagonal(1), "near": Window(6), "all": Full()},
}

PATTERNS = [
    Causal(),
    Full(),
    Causal() & Window(5),
    Causal() & (Window(9) | First(3)),
    Causal() | First(6),
    ~Causal(),
    Window(7),
    Chunk(8),
    Documents([5, 11, 2000]),
    Diagonal(1) | First(1),
    Causal() & ~First(4),
    Diagonal(300),
]


@dataclass
class Case:
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    pattern: Pattern | Spans
    options: dict

    def double(self) -> "Case":
        """The same numbers, exactly, in float64."""
        options = {
            name: value.double() if isinstance(value, torch.Tensor) else value
            for name, value in self.options.items()
        }
        return Case(self.q.double(), self.k.double(), self.v.double(), self.pattern, options)


@st.composite
def cases(
    draw: st.DrawFn,
    dtypes=tuple(TOLERANCE),
    longest: int = 60,
    widths=(1, 4, 7, 16),
    most_queries: int | None = None,
    largest_group: int = 3,
) -> Case:
    dtype = draw(st.sampled_from(dtypes))
    n_queries, n_keys = draw(st.integers(1, most_queries or longest)), draw(st.integers(1, longest))
    # Long ones with few heads: the reference holds every weight.
    most = 3 if n_queries * n_keys < 10_000 else 1
    batch, n_kv_heads = draw(st.integers(1, min(most, 2))), draw(st.integers(1, most))
    group = draw(st.integers(1, largest_group))
    width, v_width = draw(st.sampled_from(widths)), draw(st.sampled_from(widths))
    if most_queries is None and draw(st.booleans()):
        n_keys = n_queries
    if draw(st.booleans()):
        v_width = width
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)

    def tensor(heads: int, length: int, wide: int) -> torch.Tensor:
        # As models hold them, positions before heads; sometimes every second number of a longer row.
        if apart:
            x = torch.randn(batch, length, heads, 2 * wide, generator=generator).to(dtype)
            return x.transpose(1, 2)[..., ::2]
        return torch.randn(batch, length, heads, wide, generator=generator).to(dtype).transpose(1, 2)

    apart = draw(st.booleans())
    n_heads = n_kv_heads * group
    options: dict = {}
    if draw(st.booleans()):
        # Scores of wide heads stay as small as those of narrow ones: float32 rounds what is large.
        sign = draw(st.sampled_from([1, 1, -1, 0]))
        options["scale"] = sign * draw(st.floats(0.01, 1.5)) * min(1.0, 2 * width**-0.5)
    if draw(st.booleans()):
        options["softcap"] = draw(st.floats(0.5, 30))
    if draw(st.booleans()):
        options["sinks"] = torch.randn(n_heads, generator=generator)
    if draw(st.booleans()):
        slopes = 2 * torch.rand(n_heads, generator=generator) - 1
        options["alibi"] = slopes * min(0.25, 15 / max(n_queries, n_keys))
    if draw(st.booleans()):
        pattern = draw(st.sampled_from(PATTERNS))
        if draw(st.booleans()):
            options["offset"] = draw(st.integers(-20, 90))
    else:
        share = draw(st.sampled_from([0.02, 0.3, 0.9]))
        dense = np.random.default_rng(seed).random((n_queries, n_keys)) < share
        pattern = Spans.from_mask(dense, draw(st.one_of(st.none(), st.integers(-20, 90))))
    q = tensor(n_heads, n_queries, width)
    k, v = tensor(n_kv_heads, n_keys, width), tensor(n_kv_heads, n_keys, v_width)
    return Case(q, k, v, pattern, options)


def error(found: torch.Tensor, expected: torch.Tensor, least: float = 1.0) -> float:
    """The largest error over the largest magnitude expected; NaN and infinities must agree.

    `least` is the magnitude that counts at the least: 1 for logarithms, whose 0 is a value like any other.
    """
    assert found.shape == expected.shape, (found.shape, expected.shape)
    found, expected = found.double(), expected.double()
    finite = expected.isfinite()
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found[expected.isinf()], expected[expected.isinf()])
    if not finite.any():
        return 0.0
    expected_size = expected[finite].abs().max().clamp(min=least)
    return ((found - expected)[finite].abs().max() / expected_size).item()


def tensors(found: Observation) -> dict[str, torch.Tensor]:
    """Every tensor of an observation, the masses by name; keys of the largest weights left out (ties)."""
    named = {name: value for name, value in vars(found).items() if isinstance(value, torch.Tensor)}
    named.pop("top_keys", None)
    named |= {f"mass {name}": value for name, value in (found.mass or {}).items()}
    return named | {f"map {name}": value for name, value in (found.maps or {}).items()}
