"""What a test may use of the machine."""

from contextlib import contextmanager

import pytest


@contextmanager
def largest_file(size: int):
    """Meanwhile the system refuses, as a full disk does, what would make a file larger."""
    resource = pytest.importorskip("resource", reason="other systems limit no file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
