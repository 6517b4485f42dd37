"""Several processes that run the same graph on one store at once, while others collect it."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import crash_graph
from .consistency import breaches, outcomes, statuses
from .forks import Server


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "collectors"), [(2, 0), (4, 0), (2, 1), (4, 2)])
def test_processes_share_a_store(server: Server, folder: Path, processes: int, collectors: int) -> None:
    """All end with the same outputs and no warning; each is recorded with what it did itself, and nothing else.

    The store does not exist before, so they race for making it too; a collector has a budget of next to nothing.
    """
    for turn in range(4):
        place = folder / str(turn)
        place.mkdir()
        store = place / "store"
        jobs = [
            server.start("run", store=store, folder=place / f"run{i}", log=place / f"log{i}", threads=i % 2 == 1)
            for i in range(processes)
        ]
        collections = [server.start("collect", store=store, budget=10_000, times=25) for _ in range(collectors)]
        found = [job.result() for job in jobs]
        for job in collections:
            job.result()
        assert len({result["outputs"] for result in found}) == 1
        assert [result["warnings"] for result in found] == [[]] * processes
        assert breaches(store) == []
        assert sorted(statuses(store)) == sorted((result["run"], "finished") for result in found)
        for i, result in enumerate(found):
            rows = outcomes(store)[result["run"]]
            called = {node for _, node in crash_graph.calls(place / f"log{i}")}
            assert {node for node, outcome in rows.items() if outcome == "ran"} == called
            assert {node for node, outcome in rows.items() if outcome == "reused"} == rows.keys() - called
            assert len(rows) == 29
