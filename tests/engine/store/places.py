"""Where a run of `crash_graph` is, what is to be seen of it from outside, and how it is taken up."""

from __future__ import annotations

from pathlib import Path

import attrs

from . import crash_graph
from .consistency import breaches, complete, statuses
from .forks import Server


@attrs.frozen
class Place:
    """A store, the folder of a run, and the side log of its stages."""

    folder: Path
    log: Path = attrs.field()

    @log.default
    def _beside(self) -> Path:
        return self.folder / "log"

    @property
    def store(self) -> Path:
        """The folder of the store."""
        return self.folder / "store"

    @property
    def job(self) -> dict[str, Path]:
        """As a job takes them."""
        return {"store": self.store, "folder": self.folder / "run", "log": self.log}

    def look(self) -> tuple[str | None, set[str], int]:
        """When its process is gone: the status of the run, what it has completed, the calls of stages so far.

        The store must fit together.
        """
        runs, calls = statuses(self.store), len(crash_graph.calls(self.log))
        if not runs:
            return None, set(), calls
        assert breaches(self.store) == []
        ((id, status),) = runs
        return status, complete(self.store, id), calls

    def called_since(self, calls: int) -> set[str]:
        """The nodes that were called after so many calls."""
        return {node for _, node in crash_graph.calls(self.log)[calls:]}


def go_on(server: Server, place: Place, wanted: str, *, threads: bool = False) -> set[str]:
    """Take up the run that did not come to its end (or start it), and look at everything.

    Nothing that it had completed is called again, the outputs have the wanted digest, and after a collection every row
    and every file is accounted for.

    Returns:
        What it had completed.
    """
    status, done, calls = place.look()
    resume = {"resume": "last"} if status is not None else {}
    found = server.start("run", **place.job, **resume, threads=threads, collect=True).result()
    assert place.called_since(calls) & done == set()
    assert (found["outputs"], found["warnings"]) == (wanted, [])
    assert breaches(place.store, collected=True) == []
    assert statuses(place.store) == [(found["run"], "finished")]
    return done
