"""What every test file shares: how patient hypothesis is on a busy machine."""

from hypothesis import settings

# A shared machine stalls now and then: an example's duration says nothing about the code.
settings.register_profile("lookbehind", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("lookbehind")
