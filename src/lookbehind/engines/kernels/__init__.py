"""Parts of the triton engine: its kernels, which tiles they walk, and the fused attention it calls.

`scores`, `columns`, `rows` with `row_tile`, and `diagonals` hold what runs on the card, nothing else; `walk`
and `shares` tell them where to go, `tuning` in what sizes, `passes` launches them with `arguments`, and
`reduce` makes an observation of it. `routes` and `flex` are PyTorch's fused attention. Only what runs on the
card, `passes` and `reduce` import triton.
"""
