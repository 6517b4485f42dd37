"""Runs that are killed at any moment go on where they were: nothing that was recorded is done again or lost."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import crash_graph
from .consistency import breaches, complete, statuses
from .forks import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("results")) as server:
        yield server


KILLS = 200


def test_a_run_killed_at_any_moment_goes_on(server: Server, tmp_path: Path) -> None:
    moments = random.Random(20260301)
    whole = {}
    for threads in (False, True):
        durations = []
        for turn in range(5):
            folder = tmp_path / f"whole-{threads}-{turn}"
            begin = time.perf_counter()
            whole[threads] = server.start(
                "run", store=folder / "store", folder=folder / "run", log=folder.with_suffix(".log"), threads=threads
            ).result()
            durations.append(time.perf_counter() - begin)
        whole[threads]["seconds"] = sorted(durations)[2]
    assert whole[False]["outputs"] == whole[True]["outputs"]
    seen: Counter[str] = Counter()
    stats = []
    for number in range(KILLS):
        threads = number % 2 == 1
        folder = tmp_path / str(number)
        folder.mkdir()
        job = {"store": folder / "store", "folder": folder / "run", "log": folder / "log", "threads": threads}
        after = moments.uniform(0, 1.1) * whole[threads]["seconds"]
        code = server.start("run", **job).kill(after)
        begun = statuses(job["store"])
        before = crash_graph.calls(job["log"])
        done = complete(job["store"], begun[0][0]) if begun else set()
        assert not (breaches(job["store"]) if begun else [])
        what = begun[0][1] if begun else "absent"
        seen[what] += 1
        stats.append(len(done))
        resumed = server.start("run", **job, **({"resume": "last"} if begun else {})).result()
        after_calls = crash_graph.calls(job["log"])[len(before) :]
        again = {node for _, node in after_calls} & done
        assert not again
        assert resumed["outputs"] == whole[threads]["outputs"]
        assert resumed["warnings"] == []
        for draft in (job["store"] / "objects").glob("*/*.draft"):
            os.utime(draft, (0, 0))
        server.start("collect", store=job["store"], budget=10**9, times=1).result()
        assert breaches(job["store"], collected=True) == []
        assert [s for _, s in statuses(job["store"])] == ["finished"]
        shutil.rmtree(folder)
    print(seen, sorted(stats), whole)
