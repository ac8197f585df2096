"""Which program of a launch takes which lines of a walk."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
import torch

from lookbehind.engines.kernels.walk import Walk
from lookbehind.spans import Ints

Shares = tuple[torch.Tensor, torch.Tensor]


def dealt(way: Walk, splits: int) -> Shares:
    """Lines dealt to `splits` programs, forth and back, heaviest first: (pointers, lines), int32."""

    def make() -> Shares:
        order = np.argsort(-way.weights, kind="stable")
        turn, place = np.divmod(np.arange(way.lines), max(splits, 1))
        owner = np.where(turn % 2 == 0, place, splits - 1 - place)
        return _lists(owner, order, splits, way.line_ptr.device)

    return _kept(way, ("lines", splits), make)


def rows_of_pixels(way: Walk, n_queries: int, pixel_rows: int, device: torch.device) -> Shares:
    """Row blocks by program, such that a row of pixels belongs to one: int32 pointers and blocks."""

    def make() -> Shares:
        starts = way.rows_at[:-1].cpu().numpy().astype(np.int64)
        pixel = ((starts + 1) * pixel_rows - 1) // max(n_queries, 1)
        names, owner = np.unique(pixel, return_inverse=True)
        return _lists(owner.astype(np.int64), np.arange(len(starts)), len(names), device)

    return _kept(way, ("pixels", n_queries, pixel_rows, device), make)


def _kept(way: Walk, key: Hashable, make: Callable[[], Shares]) -> Shares:
    if key not in way.shares:
        way.shares[key] = make()
    return way.shares[key]


def _lists(owner: Ints, values: Ints, owners: int, device: torch.device) -> Shares:
    order = np.argsort(owner, kind="stable")
    pointers = np.append(0, np.cumsum(np.bincount(owner, minlength=owners)))
    return (
        torch.from_numpy(pointers.astype(np.int32)).to(device),
        torch.from_numpy(values[order].astype(np.int32)).to(device),
    )
