"""What the tests of kills, full disks and shared stores share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .forks import Server

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Forks the processes of a module."""
    with Server(tmp_path_factory.mktemp("results")) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory if there is one: what a killed process has written is there either way."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=MEMORY, prefix="stagegraph-test-"))
    yield folder
    shutil.rmtree(folder)
