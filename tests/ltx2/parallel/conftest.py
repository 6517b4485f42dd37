"""What tests of several processes share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from stagegraph_ltx2.parallel.team import Team


@pytest.fixture(scope="module", params=[2, 3])
def team(request: pytest.FixtureRequest) -> Iterator[Team]:
    """So many processes, this one among them."""
    made = Team(request.param, torch.device("cpu"))
    yield made
    made.close()


def others(parent: int | str = "self") -> dict[int, int]:
    """The processes that this one, or another, started as ranks of teams: process id -> rank."""
    found = {}
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"stagegraph_ltx2.parallel" in words:
                found[pid] = int(words[-2])
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be looked at does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
