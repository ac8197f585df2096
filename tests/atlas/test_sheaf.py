from contextlib import closing

import numpy as np
import pytest

from lookbehind.atlas.frame import Frame
from lookbehind.atlas.geometry import TILE
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.sheaf import DamagedError, Key, Sheaf

KEY = Key(1, 2, Lens("weight", 3, True))


def frame(value: float) -> Frame:
    return Frame.of(np.full((TILE, TILE), value, np.float32))


def written(path, digest: str = "d" * 64) -> Sheaf:
    sheaf = Sheaf(KEY, 5)
    sheaf.begin(path.with_suffix(".tmp"))
    sheaf.put((5, 0, 0, "mean"), frame(0.25))
    sheaf.put((5, 1, 0, "max"), frame(0.75))
    sheaf.arrays = {"lse": np.arange(7, dtype=np.float64), "sink": np.ones(3, np.float32)}
    sheaf.finish(path, digest)
    return sheaf


def opened(path, digest: str = "d" * 64, base: int = 5, key: Key = KEY) -> Sheaf:
    sheaf = Sheaf(key, base)
    sheaf.open(path, digest)
    return sheaf


def test_the_key_is_a_part_of_a_file_name():
    assert KEY.text == "1-2-weight-3-1"


def test_tiles_and_arrays_come_back(tmp_path):
    path = tmp_path / "one.tiles"
    made = written(path)
    assert list(tmp_path.iterdir()) == [path]
    for sheaf in (made, opened(path)):
        assert sheaf.finished
        assert sheaf.get((5, 0, 0, "mean")) == frame(0.25)
        assert sheaf.get((5, 1, 0, "max")) == frame(0.75)
        assert sheaf.get((5, 1, 1, "max")) is None
        assert sheaf.has((5, 1, 0, "max")) and not sheaf.has((5, 1, 1, "max"))
        assert sheaf.arrays["lse"].tolist() == list(range(7))
        assert sheaf.arrays["lse"].dtype == np.float64
        sheaf.close()
    assert path.exists(), "a finished file stays"


def test_it_can_be_read_while_it_grows_and_leaves_nothing_unfinished(tmp_path):
    sheaf = Sheaf(KEY, 5)
    sheaf.begin(tmp_path / "growing.tmp")
    sheaf.put((5, 0, 0, "max"), frame(0.5))
    assert sheaf.get((5, 0, 0, "max")) == frame(0.5) and not sheaf.finished
    sheaf.close()
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "one.tiles"
    written(path).close()
    whole = path.read_bytes()
    for at in (3, 100, len(whole) // 2, len(whole) - 400, len(whole) - 18, len(whole) - 5):
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        path.write_bytes(damaged)
        if at < 8:
            continue  # the first magic is for people who look at files; nothing is read by it
        with pytest.raises(DamagedError), closing(opened(path)) as sheaf:
            for spot in ((5, 0, 0, "mean"), (5, 1, 0, "max")):
                sheaf.get(spot)


@pytest.mark.parametrize("length", [0, 8, 27, 1000, -1, -30])
def test_torn_files_are_not_opened(tmp_path, length):
    path = tmp_path / "one.tiles"
    written(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    with pytest.raises(DamagedError):
        opened(path)


def test_files_of_another_tape_head_or_base_are_not_opened(tmp_path):
    path = tmp_path / "one.tiles"
    written(path).close()
    with pytest.raises(DamagedError, match="of another tape"):
        opened(path, digest="e" * 64)
    with pytest.raises(DamagedError, match="of another tape"):
        opened(path, key=Key(1, 3, Lens()))
    with pytest.raises(DamagedError, match="of other levels"):
        opened(path, base=4)


def test_what_was_written_moves_into_memory_when_the_disk_is_full(tmp_path):
    sheaf = Sheaf(KEY, 5)
    sheaf.begin(tmp_path / "growing.tmp")
    sheaf.put((5, 0, 0, "max"), frame(0.5))
    sheaf.put((6, 0, 0, "max"), frame(0.5))
    sheaf.into_memory()
    assert list(tmp_path.iterdir()) == []
    assert sheaf.get((5, 0, 0, "max")) == frame(0.5)
    assert sheaf.bytes_held == 2 * TILE * TILE * 2
    sheaf.thin()
    assert not sheaf.has((5, 0, 0, "max")) and sheaf.has((6, 0, 0, "max"))
