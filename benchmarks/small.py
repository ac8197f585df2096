"""Every kernel of the triton engine once, on a small problem: for compute-sanitizer, which is slow."""

import torch

import lookbehind as lb


def main() -> None:
    q = torch.randn(1, 4, 300, 64, device="cuda").bfloat16()
    k = torch.randn(1, 2, 400, 64, device="cuda").bfloat16()
    pattern = lb.Causal() & (lb.Window(90) | lb.First(3))
    lse = lb.logsumexp(q, k, pattern, engine="triton")
    once = {"received": True, "entropy": True, "max_score": True, "distance": True}
    lb.observe(q, k, lse, pattern, **once, top=1, map=(75, 100), engine="triton")
    mass = {"sink": lb.First(1)}
    lb.observe(q, k, lse, pattern, top=5, by_distance=True, mass=mass, map=(70, 70), engine="triton")
    lb.observe(q, k, lse, pattern, received=True, engine="triton")
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
