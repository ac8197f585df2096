"""Parts of the triton engine: its kernels, which tiles they walk, and the fused attention it calls.

`scores`, `columns`, `rows` and `diagonals` hold what runs on the card, nothing else; `walk` tells them
where to go, `tuning` in what sizes, `passes` launches them, and `reduce` makes an observation of it.
`routes` and `flex` are PyTorch's fused attention. Only what runs on the card, `passes` and `reduce` import
triton.
"""
