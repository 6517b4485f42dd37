"""A program that imports the engine once and forks a process for each job: started by `forks.Server`.

Jobs come as JSON lines on stdin, answers go as JSON lines to stdout. The processes are fresh: the program has never
opened the store that they work on.
"""

from __future__ import annotations

import errno
import functools
import os
import resource
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crash_graph
from serving import Work, die_at_line, serve

from stagegraph import caching, events
from stagegraph.artifacts import Codecs
from stagegraph.caching import Caching
from stagegraph.executors import serial, threads
from stagegraph.executors.threads import Lanes
from stagegraph.store import Store, objects, runs


class Failing:
    """Lets the n-th of all calls of some functions fail, and so many after it.

    What is counted is what the store asks of the system to change something: calls of `os`, and the statements that its
    connections execute.
    """

    def __init__(self, first: int, count: int, error: int) -> None:
        self.calls = 0
        self._failing = range(first, first + count)
        self._error = error

    def check(self, statement: bool = False) -> None:
        """Count a call, and raise if it is to fail."""
        self.calls += 1
        if self.calls not in self._failing:
            return
        if not statement:
            raise OSError(self._error, os.strerror(self._error))
        error = sqlite3.OperationalError("injected")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL if self._error == errno.ENOSPC else sqlite3.SQLITE_IOERR_WRITE
        raise error

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that may fail."""

        def call(*arguments: Any, **options: Any) -> Any:
            self.check()
            return function(*arguments, **options)

        return call


def fail_calls(first: int, count: int, error: int) -> Failing:
    """Let the n-th call fail in this process; gives what counts them."""
    failing = Failing(first, count, error)

    class System:
        """`os` as the modules of the store see it: the side log of the stages never fails."""

        write, fsync, open = (staticmethod(failing.counted(f)) for f in (os.write, os.fsync, os.open))

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    class Connection(sqlite3.Connection):
        """A connection whose statements may fail."""

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            """Execute it, unless it is its turn to fail."""
            if not statement.lstrip().startswith(("SELECT", "ROLLBACK")):
                failing.check(statement=True)
            return super().execute(statement, *values)

    system: Any = System()
    objects.os = runs.os = system  # type: ignore[attr-defined]
    for name in ("replace", "unlink", "mkdir"):  # pathlib calls these
        setattr(os, name, failing.counted(getattr(os, name)))
    sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)
    return failing


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run the graph, or go on with a run; gives what became of it."""
    crash_graph.LOG.path = Path(job["log"])
    if "dies_at_line" in job:
        die_at_line(job["dies_at_line"], str(Path(objects.__file__).parent), str(caching.__file__))
    if "fails_at" in job:
        fail_calls(job["fails_at"], job["fails"], job["error"])
    if "largest_file" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], resource.RLIM_INFINITY))
    told: list[events.Event] = []
    with Store(Path(job["store"])) as store:
        resumed = runs.load(store, Codecs(), job["resume"]) if "resume" in job else None
        keeping = Caching(store, Codecs(), resumed=resumed)
        options: dict[str, Any] = {"directory": Path(job["folder"]), "caching": keeping, "on_event": told.append}
        if job.get("threads"):
            done = threads.run(crash_graph.plan(), crash_graph.INPUTS, lanes=Lanes(cpu=3, io=2), **options)
        else:
            done = serial.run(crash_graph.plan(), crash_graph.INPUTS, **options)
        if job.get("collect"):
            for draft in store.folder.glob("objects/*/*.draft"):  # an hour later
                os.utime(draft, (0, 0))
            store.gc()
    warnings = [fault.code for event in told if isinstance(event, events.CacheWarning) for fault in event.faults]
    digest = crash_graph.digest_of(done.outputs.items())
    return {"run": done.id, "outputs": digest, "skipped": sorted(done.outputs.skipped), "warnings": warnings}


def count(job: dict[str, Any]) -> dict[str, Any]:
    """Run the graph, and count the calls that may fail."""
    failing = fail_calls(0, 0, 0)
    return {**run(job), "calls": failing.calls}


def collect(job: dict[str, Any]) -> dict[str, Any]:
    """Collect the store down to a budget so many times."""
    with Store(Path(job["store"])) as store:
        freed = [store.gc(job["budget"]).entries for _ in range(job["times"])]
    return {"entries": sum(freed)}


JOBS: dict[str, Work] = {"run": run, "count": count, "collect": collect}


def main() -> None:
    """Serve until stdin ends."""
    with tempfile.TemporaryDirectory() as folder:  # what a process looks up only once is looked up here
        run({"log": f"{folder}/log", "store": f"{folder}/store", "folder": f"{folder}/run", "threads": True})
    serve(JOBS)


if __name__ == "__main__":
    main()
