"""What every test of recording shares."""

import warnings

import pytest


@pytest.fixture(autouse=True)
def quiet():
    """transformers warns of its own affairs (generation flags, say), which are not tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
