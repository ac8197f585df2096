"""Cache eviction by received mass: the dense window computation, and the three lines that replace it.

SnapKV and its kin rank the keys of a cache by the mass that the last few queries give them. Written
densely, that takes memory for window x keys weights of every query head, several times over, and repeats
keys for each head of a group. `python examples/eviction_window.py` computes both and compares them; on a
GPU, where there is one.
"""

from __future__ import annotations

import math

import torch

import lookbehind as lb


def dense(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """The mass that the last queries give each key, as eviction methods compute it: float32 [B, Hq, Lk].

    Args:
        q: [B, Hq, W, D], the last W queries. k: [B, Hkv, Lk, D], the cache, their own keys at its end.
    """
    window = q.shape[2]
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[3])
    ahead = torch.ones(window, window, dtype=torch.bool, device=q.device).triu(1)
    scores[..., -window:].masked_fill_(ahead, -math.inf)
    return scores.softmax(-1).sum(2)


def received(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """The same in memory for its result: nothing of the size of window x keys is stored."""
    pattern = lb.Causal().spans(q.shape[2], k.shape[2])
    lse = lb.logsumexp(q, k, pattern)
    return lb.observe(q, k, lse, pattern, received=True).received


def kept(mass: torch.Tensor, n_kv_heads: int, window: int, budget: int) -> torch.Tensor:
    """The keys to keep, [B, Hkv, budget], ascending: the window, and those that received most before."""
    group = mass.unflatten(1, (n_kv_heads, -1)).sum(2)
    before = group[..., :-window].topk(budget - window, dim=-1).indices
    own = torch.arange(group.shape[-1] - window, group.shape[-1], device=mass.device)
    return torch.cat([before, own.expand(*before.shape[:2], -1)], -1).sort(-1).values


def main(window: int = 64, n_keys: int = 4096) -> None:
    """Compare both, and say what is kept."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(0)
    q = torch.randn(1, 8, window, 64, device=device, generator=generator)
    k = torch.randn(1, 2, n_keys, 64, device=device, generator=generator)
    usual, ours = dense(q, k), received(q, k)
    budget = n_keys // 8
    same = torch.equal(kept(usual, 2, window, budget), kept(ours, 2, window, budget))
    off = (usual - ours).abs().max()
    print(f"{n_keys:,} keys, the mass of the last {window} queries: off by at most {off:.1e}")
    print(f"{budget} keys kept of each kv head; the same ones: {same}")


if __name__ == "__main__":
    main()
