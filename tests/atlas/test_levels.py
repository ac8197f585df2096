import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.atlas.geometry import TILE, Geometry
from lookbehind.atlas.levels import Levels, Pooled
from tests.atlas.oracle import pooled


@given(st.integers(1, 1100), st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_every_level_is_the_map_pooled(n_queries, n_keys, seed):
    random = np.random.default_rng(seed)
    values = np.where(random.random((n_queries, n_keys)) < 0.6, random.random((n_queries, n_keys)), np.nan)
    geometry = Geometry(n_queries, n_keys)
    found: dict[int, list[Pooled]] = {}
    levels = Levels(geometry, 0, lambda z, y, pixels: keep(found, z, y, pixels))
    for first in range(0, n_queries, TILE):
        part = values[first : first + TILE]
        some = ~np.isnan(part)
        zeros = np.where(some, part, 0.0).astype(np.float32)
        strip = Pooled(zeros, np.where(some, part, -np.inf).astype(np.float32), some.astype(np.int32))
        levels.add(strip, first + TILE >= n_queries)
    assert sorted(found) == list(range(geometry.top + 1))
    for z, rows in found.items():
        assert len(rows) == geometry.tiles(z)[0]
        for pool in ("mean", "max"):
            whole = np.concatenate([row.maps()[pool] for row in rows])
            np.testing.assert_allclose(whole, pooled(values, z, pool), rtol=1e-5)


def keep(found, z, y, pixels):
    rows = found.setdefault(z, [])
    assert y == len(rows), "rows of tiles come in order"
    copy = Pooled.empty(*pixels.total.shape)
    copy.put(slice(None), pixels)
    rows.append(copy)
