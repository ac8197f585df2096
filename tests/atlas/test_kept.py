from lookbehind.atlas.kept import Kept


def test_the_least_recently_used_go_first():
    kept = Kept[str](10)
    kept.put("a", "A", 4)
    kept.put("b", "B", 4)
    assert kept.get("a") == "A"
    kept.put("c", "C", 4)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == ("A", None, "C")


def test_what_is_there_stays_and_the_last_one_always_fits():
    kept = Kept[str](10)
    assert kept.put("a", "A", 50) == "A"
    assert kept.put("a", "other", 1) == "A"
    kept.put("b", "B", 60)
    assert (kept.get("a"), kept.get("b")) == (None, "B")
