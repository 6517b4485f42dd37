"""Running a plan from a command: the store, what is shown meanwhile, and what is said at the end."""

from __future__ import annotations

import datetime
import json as jsonlib
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph import events
from stagegraph.cli import output
from stagegraph.cli.files import write_text
from stagegraph.cli.ranks import leading, served
from stagegraph.errors import Cancelled, Fault, StagegraphError, StoreError, UsageError
from stagegraph.events import Event, Listener
from stagegraph.executors import serial, threads
from stagegraph.executors.result import Run
from stagegraph.plan import Plan
from stagegraph.record import plain

if TYPE_CHECKING:
    from stagegraph.caching import Caching
    from stagegraph.store import Store
    from stagegraph.store.runs import RunRow


@attrs.frozen
class Manner:
    """How a command, of this name, runs and tells what it was asked for; `data` is what else programs are told."""

    command: str
    parallel: bool
    quiet: bool
    json: bool
    data: Mapping[str, Any] = attrs.field(factory=dict)


class RunFolder:
    """The folder of a run, `RUNS/<date>-<graph>-<id>`; `run` is its id, and `path` is set, once it has one."""

    def __init__(self, runs: Path, graph: str) -> None:
        self._runs = runs
        self._graph = re.sub(r"[^A-Za-z0-9._-]+", "-", graph)[:80]  # a name that may come from anybody
        self.path: Path | None = None
        self.run: str | None = None

    @classmethod
    def of(cls, row: RunRow) -> RunFolder:
        """That of a run that has one already."""
        folder = cls(Path("runs"), row.graph)
        folder.path, folder.run = row.folder, row.id
        return folder

    def __call__(self, run: str) -> Path:
        self.run = run
        if self.path is None:
            day = datetime.datetime.now(datetime.UTC).date().isoformat()
            self.path = self._runs / f"{day}-{self._graph}-{run}"
        return self.path

    @property
    def made(self) -> Path | None:
        """The folder, if a stage has asked for it."""
        return self.path if self.path is not None and self.path.is_dir() else None


@contextmanager
def open_store(wanted: bool | None) -> Iterator[Store | None]:
    """The store of outputs and runs; None if it is not to be used, or cannot be and was not asked for.

    Raises:
        StoreError: it was asked for and cannot be used.
    """
    if wanted is False:
        yield None
        return
    from stagegraph.store import FREE, Store  # only runs need it

    try:
        store = Store(free=FREE)
    except StoreError as error:
        if wanted:
            raise
        output.warn(error.faults[0])
        output.tell("  so nothing is kept of this run; its outputs are the same. --no-cache does without the store")
        yield None
        return
    with store:
        yield store


def execute(
    plan: Plan,
    inputs: Mapping[str, Any],
    given: Mapping[str, Any],
    caching: Caching | None,
    folder: RunFolder,
    manner: Manner,
) -> None:
    """Run a plan and print its outputs. What stops a run that is recorded says how to go on.

    In another process than the first of several that were started together, lend that one a hand instead.

    Args:
        plan: what to run.
        inputs: the values of the graph's inputs.
        given: the values of ports that the plan takes as given.
        caching: where outputs are kept.
        folder: the run's own.
        manner: how to run, and what to show.
    """
    if served(plan.graph):
        return
    call = threads.run if manner.parallel else serial.run
    try:
        with leading(plan.graph), shown(manner) as show:
            finished = call(plan, inputs, given=given, on_event=show, directory=folder, caching=caching)
    except KeyboardInterrupt:  # before the first step, where no executor catches it
        cancelled = Cancelled(Fault("cancelled", "the run was interrupted"))
        _note_how_to_go_on(cancelled, folder.run, caching)
        raise cancelled from None
    except StagegraphError as error:
        _note_how_to_go_on(error, folder.run, caching)
        raise
    if folder.made is not None:
        _write_record(folder.made / "run.json", finished)
    _tell(finished, folder.made, manner)


def _write_record(path: Path, finished: Run) -> None:
    text = jsonlib.dumps(finished.record.as_dict(), indent=2, ensure_ascii=False)
    try:
        write_text(path, text.encode("utf-8", "backslashreplace").decode())
    except UsageError as error:  # what was made is there, and is told
        output.warn(*error.faults)


def _note_how_to_go_on(error: StagegraphError, run: str | None, caching: Caching | None) -> None:
    """Say how a run that is recorded can be taken up.

    Going on does not mend what a person has to write in another way first, such as settings.
    """
    if run is None or caching is None or error.exit_code == UsageError.exit_code:
        return
    from stagegraph.store import runs as stored

    with suppress(StagegraphError):
        stored.find(caching.store, run)
        error.add_note(f"to go on: stagegraph resume {run}")


def _tell(finished: Run, folder: Path | None, manner: Manner) -> None:
    """Print the outputs of a run."""
    results = {name: plain(value) for name, value in finished.outputs.items()}
    if manner.json:
        output.succeed(manner.command, {"run": finished.id, "outputs": results, "directory": folder, **manner.data})
        return
    for name, value in results.items():
        output.say(str(value) if len(results) == 1 else f"{name}: {value}")


def shown(manner: Manner) -> AbstractContextManager[Listener]:
    """What shows the events of runs, as a command was asked to."""
    if manner.json:
        return nullcontext(_print_event)
    if manner.quiet:
        return nullcontext(_warn_only)
    from stagegraph.cli.progress import on_screen

    return on_screen()


def _print_event(event: Event) -> None:
    output.say_json(events.as_dict(event))


def _warn_only(event: Event) -> None:
    if isinstance(event, events.CacheWarning):
        output.warn(*event.faults)
