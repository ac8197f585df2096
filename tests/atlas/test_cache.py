import errno
import os

import numpy as np
import pytest

from lookbehind.atlas import cache as module
from lookbehind.atlas.cache import Cache, digest_of
from lookbehind.atlas.geometry import TILE
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.sheaf import Key, Sheaf
from tests.atlas.test_sheaf import frame
from tests.tapes import tape

KEY = Key(0, 0, Lens())
SPOT = (5, 0, 0, "max")
SIZE = TILE * TILE * 2


def filled(cache: Cache, key: Key = KEY, value: float = 0.5) -> Sheaf:
    sheaf = cache.begin(key, 5)
    cache.put(sheaf, SPOT, frame(value))
    sheaf.arrays = {"lse": np.zeros(2)}
    cache.finish(sheaf)
    return sheaf


def silent(words: str) -> None:
    raise AssertionError(words)


def test_what_is_finished_is_found_again_by_the_next_one(tmp_path):
    place = tmp_path / "run.tape.atlas"
    first = Cache(place, "a" * 64, silent)
    assert first.find(KEY, 5) is None
    sheaf = filled(first)
    assert first.find(KEY, 5) is sheaf
    first.close()
    second = Cache(place, "a" * 64, silent)
    found = second.find(KEY, 5)
    assert found is not None and found.finished and found.get(SPOT) == frame(0.5)
    second.close()


def test_files_used_longest_ago_are_closed_and_opened_again(tmp_path, monkeypatch):
    """A process has a bounded number of them, and its server needs some."""
    monkeypatch.setattr(module, "FILES", 2)
    cache = Cache(tmp_path, "a" * 64, silent)
    keys = [Key(0, head, Lens()) for head in range(5)]
    sheaves = [filled(cache, key, (1 + key.head) / 8) for key in keys]
    assert [sheaf.get(SPOT) is None for sheaf in sheaves] == [True, True, False, False, False]
    for key in keys:
        found = cache.find(key, 5)
        assert found is not None and found.get(SPOT) == frame((1 + key.head) / 8)
    cache.close()
    assert len(list(tmp_path.iterdir())) == 5


def test_what_was_not_finished_is_gone(tmp_path):
    place = tmp_path / "run.tape.atlas"
    cache, other = Cache(place, "a" * 64, silent), Cache(place, "a" * 64, silent)
    cache.put(cache.begin(KEY, 5), SPOT, frame(0.5))
    cache.close()
    assert not place.exists()
    filled(other)  # finds its directory gone
    other.close()
    assert len(list(place.iterdir())) == 1


def test_another_tapes_cache_is_not_used_and_made_again(tmp_path):
    first = Cache(tmp_path, "a" * 64, silent)
    filled(first)
    first.close()
    (old,) = tmp_path.iterdir()
    second = Cache(tmp_path, "b" * 64, silent)
    assert second.find(KEY, 5) is None
    # Even under the name that it would have for this tape.
    old.rename(tmp_path / old.name.replace("a" * 16, "b" * 16))
    assert second.find(KEY, 5) is None
    filled(second, value=0.25)
    second.close()
    third = Cache(tmp_path, "b" * 64, silent)
    assert third.find(KEY, 5).get(SPOT) == frame(0.25)
    third.close()


def test_damaged_files_are_made_again(tmp_path):
    first = Cache(tmp_path, "a" * 64, silent)
    filled(first)
    first.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    second = Cache(tmp_path, "a" * 64, silent)
    assert second.find(KEY, 5) is None
    filled(second)
    second.close()
    third = Cache(tmp_path, "a" * 64, silent)
    sheaf = third.find(KEY, 5)
    assert sheaf is not None
    third.drop(sheaf)
    assert third.find(KEY, 5) is None and not path.exists()
    third.close()


def test_a_full_disk_is_told_once_and_everything_goes_on_in_memory(tmp_path, monkeypatch):
    said: list[str] = []
    cache = Cache(tmp_path, "a" * 64, said.append)
    sheaf = cache.begin(KEY, 5)
    cache.put(sheaf, SPOT, frame(0.5))

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Sheaf, "_written", full)
    cache.put(sheaf, (6, 0, 0, "max"), frame(0.25))
    cache.put(sheaf, (7, 0, 0, "max"), frame(0.125))
    cache.finish(sheaf)
    other = filled(cache, Key(0, 1, Lens()))
    assert said == [
        f"{tmp_path}: nothing can be kept there (No space left on device); "
        "what is computed stays in memory and is lost at the end"
    ]
    assert cache.warning == said[0]
    assert [sheaf.get((z, 0, 0, "max")) for z in (5, 6, 7)] == [frame(0.5), frame(0.25), frame(0.125)]
    assert sheaf.finished and cache.find(KEY, 5) is sheaf and cache.find(Key(0, 1, Lens()), 5) is other
    assert list(tmp_path.iterdir()) == []
    cache.close()


def test_a_disk_that_is_full_only_at_the_end(tmp_path, monkeypatch):
    said: list[str] = []
    cache = Cache(tmp_path, "a" * 64, said.append)

    def full(self, path, digest):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Sheaf, "finish", full)
    sheaf = filled(cache)
    assert len(said) == 1 and sheaf.finished and sheaf.get(SPOT) == frame(0.5)
    assert list(tmp_path.iterdir()) == []
    cache.close()


@pytest.mark.parametrize("why", ["file", "nowhere"])
def test_a_place_that_cannot_hold_a_cache_is_told(tmp_path, why):
    said: list[str] = []
    place = tmp_path / "run.tape.atlas"
    if why == "file":
        place.write_text("not a directory")
    else:
        place = tmp_path / "no" / "such" / "place"
    cache = Cache(place, "a" * 64, said.append)
    sheaf = filled(cache)
    assert len(said) == 1 and "nothing can be kept there" in said[0]
    assert cache.find(KEY, 5) is sheaf
    cache.close()


def test_a_cache_that_may_only_be_read_is_read(tmp_path, monkeypatch):
    first = Cache(tmp_path, "a" * 64, silent)
    filled(first)
    first.close()

    def refused(self, path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Sheaf, "begin", refused)
    said: list[str] = []
    second = Cache(tmp_path, "a" * 64, said.append)
    filled(second, Key(0, 1, Lens()))
    assert len(said) == 1 and "Permission denied" in said[0]
    assert second.find(KEY, 5).get(SPOT) == frame(0.5)
    second.close()


def test_the_least_recently_used_files_go_first(tmp_path):
    cache = Cache(tmp_path, "a" * 64, silent, limit=int(2.5 * SIZE))
    for head in range(4):
        filled(cache, Key(0, head, Lens()))
        for at, path in enumerate(sorted(tmp_path.iterdir())):
            os.utime(path, (at, at))
    kept = sorted(path.name.split("-")[2] for path in tmp_path.iterdir())
    assert kept == ["2", "3"]
    cache.close()


def test_memory_is_bounded_and_the_finest_levels_go_first(monkeypatch):
    monkeypatch.setattr(module, "IN_MEMORY", 3 * SIZE)
    cache = Cache(None, "", silent)
    sheaves = [cache.begin(Key(0, head, Lens()), 5) for head in range(2)]
    for sheaf in sheaves:
        for z in (5, 6, 7):
            cache.put(sheaf, (z, 0, 0, "max"), frame(0.5))
    held = [[z for z in (5, 6, 7) if sheaf.has((z, 0, 0, "max"))] for sheaf in sheaves]
    assert sum(map(len, held)) == 3 and held[1][-1] == 7
    cache.close()


def test_leftovers_of_killed_processes_are_swept_when_they_are_old(tmp_path):
    for name, age in ((".x.tiles.1.1.tmp", 7200), (".x.tiles.2.1.tmp", 0)):
        path = tmp_path / name
        path.write_bytes(b"torn")
        now = path.stat().st_mtime
        os.utime(path, (now - age, now - age))
    (tmp_path / "keep.txt").write_text("not ours")
    Cache(tmp_path, "a" * 64, silent).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x.tiles.2.1.tmp", "keep.txt"]


def test_the_digest_changes_with_the_tape(tmp_path):
    tape(12).save(tmp_path / "a.tape")
    before = digest_of(tmp_path / "a.tape")
    assert before == digest_of(tmp_path / "a.tape")
    path = tmp_path / "a.tape" / "layer-00000.safetensors"
    os.utime(path, (1, 1))
    assert digest_of(tmp_path / "a.tape") != before
