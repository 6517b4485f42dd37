"""What tests of several areas share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny LTX-2 checkpoint, made once for all tests of a process; not to be written to."""
    from stagegraph_ltx2.checkpoint.tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("checkpoint") / "tiny")
