"""Every kernel of the triton engine once, on a small problem, beside the definition: asked of a card first.

For compute-sanitizer too, which is slow. The exit status is 1 where a kernel failed or gave something else.
"""

import sys
import traceback

import torch

import lookbehind as lb

ONCE = {"received": True, "entropy": True, "max_score": True, "distance": True, "top": 1}


def asked(n: int) -> dict[str, dict]:
    """What is observed of 3 n queries and 4 n keys, by the kernel that does it; nothing for the lse."""
    return {
        "lse": {},
        "queries pass": ONCE,
        "queries pass, with a map": ONCE | {"map": (3 * n // 4, n)},
        "queries pass, received alone": {"received": True},
        "keys pass, several largest": {"top": 5},
        "keys pass, a mass": {"mass": {"sink": lb.First(1)}},
        "keys pass, a map across tiles": {"map": (7 * n // 10, 7 * n // 10)},
        "diagonals": {"by_distance": True},
    }


def named(seen: lb.Observation) -> dict[str, torch.Tensor]:
    """What was observed but the keys of the largest weights, which differ where these are equal."""
    parts = vars(seen) | (seen.mass or {}) | (seen.maps or {})
    return {name: x for name, x in parts.items() if isinstance(x, torch.Tensor) and name != "top_keys"}


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference over the largest number; infinite where other numbers are NaN."""
    found = found.cpu().double()
    if not torch.equal(found.isnan(), expected.isnan()):
        return float("inf")
    return float((found - expected).nan_to_num(0).abs().max() / expected.nan_to_num(0).abs().max())


def main(device: str = "cuda", n: int = 100) -> int:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(1, 4, 3 * n, 64, generator=generator).bfloat16()
    k = torch.randn(1, 2, 4 * n, 64, generator=generator).bfloat16()
    pattern = lb.Causal() & (lb.Window(90) | lb.First(3))
    exact, here = (q.double(), k.double()), (q.to(device), k.to(device))
    lse = lb.logsumexp(*exact, pattern, engine="reference")
    failed = False
    for what, wants in asked(n).items():
        try:
            if wants:
                expected = named(lb.observe(*exact, lse, pattern, **wants, engine="reference"))
                found = named(lb.observe(*here, lse.to(device), pattern, **wants, engine="triton"))
            else:
                expected, found = {"lse": lse}, {"lse": lb.logsumexp(*here, pattern, engine="triton")}
            worst = {name: off(x, expected[name]) for name, x in found.items()}
            right = all(one < 1e-4 for one in worst.values())
            said = ", ".join(f"{name} off by {one:.1e}" for name, one in worst.items())
        except Exception:
            right, said = False, traceback.format_exc()
        failed |= not right
        print(f"{'right' if right else 'WRONG':6}{what}: {said}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
