"""Runs that are killed at any moment go on where they were: nothing that was recorded is done again or lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from .forks import Job, Server
from .places import Place, go_on

KILLED = -signal.SIGKILL
#: How many runs are killed; STAGEGRAPH_KILLS=2000 seeks longer.
KILLS = int(os.environ.get("STAGEGRAPH_KILLS", "200"))
#: Every so many lines of the store's code a run is killed.
STRIDE = int(os.environ.get("STAGEGRAPH_KILL_STRIDE", "150"))


def written(place: Place) -> int:
    """Bytes of the side log: how far the stages have come."""
    return place.log.stat().st_size if place.log.exists() else 0


def kill(job: Job, place: Place, chance: random.Random, whole: int) -> int:
    """Kill a run soon after a random part of the whole side log is written; every fourth as soon as it has begun."""
    if chance.randrange(4):
        far = written(place) + chance.randrange(whole)
        return job.kill(chance.random() * 0.004, once=lambda: written(place) >= far)
    return job.kill(chance.random() * 0.03)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on(server: Server, folder: Path) -> None:
    """From its first moment to its last, in both executors, and every third again while it goes on.

    No node that was recorded as complete is called again, the outputs are those of a run that was not killed, and
    every row and file of the store fits together: after the kill, and with nothing left over after a collection.
    """
    chance, one = random.Random(1), Place(folder / "whole")
    whole = server.start("run", **one.job).result()
    seen: list[int] = []
    number = 0
    while len(seen) < KILLS:
        number += 1
        place, threads = Place(folder / str(number)), number % 2 == 1
        code = kill(server.start("run", **place.job, threads=threads), place, chance, written(one))
        status, done, calls = place.look()
        if code == KILLED:
            seen.append(len(done))
        if number % 3 == 0 and status == "running":
            kill(server.start("run", **place.job, resume="last", threads=threads), place, chance, written(one))
            assert place.called_since(calls) & done == set()
            assert place.look()[1] >= done
        go_on(server, place, whole["outputs"], threads=threads)
        shutil.rmtree(place.folder)
    assert len(set(seen)) >= min(KILLS / 10, 20)


@pytest.mark.slow
def test_a_run_killed_at_any_line_of_the_store_goes_on(server: Server, folder: Path) -> None:
    """The same, at moments that no clock finds: between any two statements of the store and the cache."""
    whole = server.start("run", **Place(folder / "whole").job).result()
    line, seen, code = 1, set(), -1
    while code != 0:
        place = Place(folder / str(line))
        code = server.start("run", **place.job, dies_at_line=line).wait()
        seen.add(len(go_on(server, place, whole["outputs"])))
        shutil.rmtree(place.folder)
        line += STRIDE
    assert len(seen) >= 10
