"""What every test file shares: how patient hypothesis is on a busy machine, and a fixture of one thread."""

import pytest
from hypothesis import settings

# A shared machine stalls now and then: an example's duration says nothing about the code.
settings.register_profile("lookbehind", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("lookbehind")


@pytest.fixture
def one_thread():
    """For tiny models, whose tensors are not worth waking others; and for modes, which see their own."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
