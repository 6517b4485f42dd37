"""What all tests of LTX-2 share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    """The same random inputs in every run."""
    torch.manual_seed(0)
