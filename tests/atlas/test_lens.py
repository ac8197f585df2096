import pytest

from lookbehind.atlas.lens import Lens, check_pool
from lookbehind.errors import InputError


def test_lenses_that_show_the_same_are_equal():
    assert Lens.parse() == Lens()
    assert Lens.parse("weight", "0", "1") == Lens()
    assert Lens.parse("score", "4", "1") == Lens("score", 4)
    assert Lens.parse("relative", "4", "1") == Lens("relative", 4)
    assert Lens.parse("enrichment", "4", "1") == Lens("enrichment", 4, True)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("weights",), "of 'weights': there are weight, enrichment, relative, score"),
        (("weight", "-1"), "skip '-1': a number of first keys is needed, 0 or more"),
        (("weight", "1" * 20), "skip .*: a number of first keys"),
        (("weight", "1", "yes"), "renorm 'yes': 0 or 1 is needed"),
    ],
)
def test_others_are_refused(asked, words):
    with pytest.raises(InputError, match=words):
        Lens.parse(*asked)


def test_pools():
    assert check_pool("sum") == "sum"
    with pytest.raises(InputError, match="pool 'median': there are mean, max, sum"):
        check_pool("median")
