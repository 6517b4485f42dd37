"""Runs that are killed at any moment go on where they were: nothing that was recorded is done again or lost."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from .forks import Server
from .places import Place, go_on

#: How many runs are killed; STAGEGRAPH_KILLS=2000 seeks longer.
KILLS = int(os.environ.get("STAGEGRAPH_KILLS", "200"))
#: Every so many lines of the store's code a run is killed.
STRIDE = int(os.environ.get("STAGEGRAPH_KILL_STRIDE", "150"))


def duration(server: Server, place: Place, threads: bool) -> float:
    """Seconds that a run takes which nobody kills."""
    begin = time.perf_counter()
    server.start("run", **place.job, threads=threads).result()
    return time.perf_counter() - begin


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on(server: Server, folder: Path) -> None:
    """From its first moment to its last, in both executors, and every third again while it goes on.

    No node that was recorded as complete is called again, the outputs are those of a run that was not killed, and
    every row and file of the store fits together: after the kill, and with nothing left over after a collection.
    """
    moments = random.Random(1)
    whole = server.start("run", **Place(folder / "whole").job).result()
    took = {threads: duration(server, Place(folder / f"threads={threads}"), threads) for threads in (False, True)}
    seen: list[int] = []
    interrupted = 0
    for number in range(KILLS):
        place, threads = Place(folder / str(number)), number % 2 == 1
        server.start("run", **place.job, threads=threads).kill(moments.random() * took[threads])
        status, done, calls = place.look()
        # half of the kills find the run running, however busy the machine is
        took[threads] *= 0.95 if status == "finished" else 1.02
        interrupted += status == "running"
        seen.append(len(done))
        if number % 3 == 0 and status == "running":
            server.start("run", **place.job, resume="last", threads=threads).kill(moments.random() * took[threads])
            assert place.called_since(calls) & done == set()
            assert place.look()[1] >= done
        go_on(server, place, whole["outputs"], threads=threads)
        shutil.rmtree(place.folder)
    assert interrupted >= KILLS / 4
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
