"""The events of a run, shown on stderr: live bars on a terminal, a line a node elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from stagegraph import events
from stagegraph.cli.output import tell, warn
from stagegraph.events import Event


class Lines:
    """A line for each thing that took time; for logs and pipes."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        match event:
            case events.ComponentLoaded():
                tell(f"load     {event.component}.{event.part}  {event.seconds:.1f} s")
            case events.NodeFinished():
                tell(f"done     {event.node}  {event.seconds:.1f} s")
            case events.NodeFailed():
                tell(f"failed   {event.node}")
            case events.NodeRetried():
                tell(f"retry    {event.node}  {_retry(event)}")
            case events.ComponentOffloaded():
                tell(f"offload  {event.component}.{event.part}")
            case events.NodeReused():
                tell(f"reused   {event.node}")
            case events.NodeSkipped():
                tell(f"skipped  {event.node}: {event.why}")
            case events.CacheWarning():
                warn(*event.faults)


class Bars:
    """A bar for each node, with its own steps where the stage tells them; those of a run go when the next has ended."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}[/]"),
            console=console,
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._ended = ""

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case events.ComponentLoading():
                task = self._progress.add_task(f"load {event.component}.{event.part}", total=1, note="")
                self._tasks[event.run, ""] = task
            case events.ComponentLoaded():
                self._progress.update(self._tasks[event.run, ""], completed=1)
            case events.NodeStarted() if (
                event.run,
                event.node,
            ) not in self._tasks:  # it starts again when it is tried again
                task = self._progress.add_task(f"[bold]{event.node}[/]", total=1, note=event.stage)
                self._tasks[event.run, event.node] = task
            case events.NodeProgress():
                task = self._tasks[event.run, event.node]
                self._progress.update(task, total=event.total, completed=event.done)
                if event.message:
                    self._progress.update(task, note=event.message)
            case events.NodeRetried():
                self._progress.update(self._tasks[event.run, event.node], note=_retry(event))
            case events.NodeReused():
                self._line(event, "reused")
            case events.NodeSkipped():
                self._line(event, f"skipped: {event.why}")
            case events.CacheWarning():
                warn(*event.faults)  # rich shows above its bars what goes to stderr meanwhile
            case events.NodeFinished():
                task = self._tasks[event.run, event.node]
                total = self._progress.tasks[self._progress.task_ids.index(task)].total
                self._progress.update(task, completed=total)
            case events.RunFinished():
                for key in [key for key in self._tasks if key[0] == self._ended]:
                    self._progress.remove_task(self._tasks.pop(key))
                self._ended = event.run

    def _line(self, event: events.NodeReused | events.NodeSkipped, note: str) -> None:
        task = self._progress.add_task(f"[bold]{event.node}[/]", total=1, completed=1, note=note)
        self._tasks[event.run, event.node] = task


def _retry(event: events.NodeRetried) -> str:
    return f"call {event.attempt} of {event.attempts} failed: {event.faults[0].what}; again in {event.delay:g} s"


def on_screen() -> Bars | Lines:
    """Bars on a terminal that can draw them, lines elsewhere; NO_COLOR and TERM=dumb are honoured by rich."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal and sys.stderr.isatty() else Lines()
