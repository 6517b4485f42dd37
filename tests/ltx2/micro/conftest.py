"""What all tests of what `micro` has learned share."""

from __future__ import annotations

import pytest

import stagegraph as sg


@pytest.fixture(scope="session")
def pool() -> sg.Pool:
    """Where the checkpoint is loaded, once."""
    return sg.Pool()
