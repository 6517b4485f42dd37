"""Runs that are killed at any moment go on where they were: nothing that was recorded is done again or lost."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import attrs
import pytest

from . import crash_graph
from .consistency import breaches, complete, statuses
from .forks import Server

#: How many runs are killed; STAGEGRAPH_KILLS=2000 seeks longer.
KILLS = int(os.environ.get("STAGEGRAPH_KILLS", "200"))
#: Every so many lines of the store's code a run is killed.
STRIDE = int(os.environ.get("STAGEGRAPH_KILL_STRIDE", "150"))


@attrs.frozen
class Place:
    """Where a run is: its store, its folder and its side log."""

    folder: Path

    @property
    def job(self) -> dict[str, Path]:
        """As a job takes them."""
        return {"store": self.folder / "store", "folder": self.folder / "run", "log": self.folder / "log"}

    def look(self) -> tuple[str | None, set[str], int]:
        """After a kill: the status of the run, what it has completed, the calls so far. The store must fit together."""
        runs = statuses(self.folder / "store")
        calls = len(crash_graph.calls(self.folder / "log"))
        if not runs:
            return None, set(), calls
        assert breaches(self.folder / "store") == []
        ((id, status),) = runs
        return status, complete(self.folder / "store", id), calls

    def called_since(self, calls: int) -> set[str]:
        """The nodes that were called after so many calls."""
        return {node for _, node in crash_graph.calls(self.folder / "log")[calls:]}


def duration(server: Server, place: Place, threads: bool) -> float:
    """Seconds that a run takes which nobody kills."""
    begin = time.perf_counter()
    server.start("run", **place.job, threads=threads).result()
    return time.perf_counter() - begin


def go_on(server: Server, place: Place, wanted: str, threads: bool) -> set[str]:
    """Take the killed run up (or start it) and look at everything; gives what it had completed before."""
    status, done, calls = place.look()
    resume = {"resume": "last"} if status is not None else {}
    found = server.start("run", **place.job, **resume, threads=threads, collect=True).result()
    assert place.called_since(calls) & done == set()
    assert (found["outputs"], found["warnings"]) == (wanted, [])
    assert breaches(place.folder / "store", collected=True) == []
    assert statuses(place.folder / "store") == [(found["run"], "finished")]
    return done


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
        go_on(server, place, whole["outputs"], threads)
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
        seen.add(len(go_on(server, place, whole["outputs"], threads=False)))
        shutil.rmtree(place.folder)
        line += STRIDE
    assert len(seen) >= 10
