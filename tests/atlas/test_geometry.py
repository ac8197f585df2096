from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookbehind.atlas.geometry import TILE, Geometry, TileName
from lookbehind.errors import InputError


def test_the_top_is_the_least_level_of_one_tile():
    assert [Geometry(n, n).top for n in (1, 256, 257, 512, 513, 131072)] == [0, 0, 1, 1, 2, 9]
    assert Geometry(1, 131073).top == 10
    assert Geometry(1806, 1806).level_of(128) == 4


@given(st.integers(1, 5000), st.integers(1, 5000), st.data())
def test_tiles_of_a_level_cover_the_map_once(n_queries, n_keys, data):
    geometry = Geometry(n_queries, n_keys)
    z = data.draw(st.integers(0, geometry.top))
    rows, columns = geometry.tiles(z)
    places = [geometry.place(z, y, 0)[0] for y in range(rows)]
    assert places[0].start == 0 and places[-1].stop == n_queries
    assert all(a.stop == b.start for a, b in pairwise(places))
    assert all(place.start % (TILE << z) == 0 for place in places)
    assert geometry.place(z, 0, columns - 1)[1].stop == n_keys
    assert geometry.tiles(geometry.top) == (1, 1)
    if z < geometry.top:  # a tile lies within its parent
        outer, inner = geometry.place(z + 1, (rows - 1) // 2, 0)[0], places[-1]
        assert outer.start <= inner.start and inner.stop <= outer.stop


def test_tiles_that_are_not_there_are_refused():
    geometry = Geometry(600, 300)
    for z, y, x in ((0, 3, 0), (0, 0, 2), (3, 0, 0), (2, 1, 0)):
        with pytest.raises(InputError, match=rf"tile {z}\.{y}\.{x}: level {z} has"):
            geometry.place(z, y, x)


def test_names_are_read_with_suspicion():
    assert TileName.parse("0.3.2.1.10") == TileName(0, 3, 2, 1, 10)
    for text in ("", "0.3.2.1", "0.3.2.1.-1", "0.3.2.1.1.1", "a.b.c.d.e", "0.3.2.1.٣", "0.0.0.0." + "9" * 40):
        with pytest.raises(InputError, match=r"a name is layer\.head\.level\.row\.column"):
            TileName.parse(text)
