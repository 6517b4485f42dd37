"""Steps in threads: what does not wait for each other runs at the same time, within lanes.

A lane bounds what runs at once. Stages that are lent components run in the lane of the device, one at a time, unless
they say otherwise with `@stage(..., lane=...)`; the others in the lane of the CPU; readers and writers in that of I/O.
"""

from __future__ import annotations

import contextlib
import queue
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagegraph.context import Cancellation
from stagegraph.errors import Cancelled
from stagegraph.events import Listener
from stagegraph.executors.ahead import Ahead
from stagegraph.executors.calls import Arguments
from stagegraph.executors.checks import check
from stagegraph.executors.result import Run
from stagegraph.executors.running import Running, StaleError
from stagegraph.executors.traffic import Entrance, Lanes, Late, Traffic
from stagegraph.plan import Plan
from stagegraph.pool import Pool

if TYPE_CHECKING:
    from stagegraph.caching import Caching


def run(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    lanes: Lanes | None = None,
    given: Mapping[str, Any] | None = None,
    on_event: Listener | None = None,
    pool: Pool | None = None,
    directory: Path | Callable[[str], Path] | None = None,
    cancellation: Cancellation | None = None,
    caching: Caching | None = None,
    traffic: Traffic | None = None,
    late: Late | None = None,
    on_output: Callable[[str, Any], None] | None = None,
) -> Run:
    """Run a plan, steps that do not wait for each other at the same time.

    After an error nothing that depends on the failed step starts; what runs, and what does not depend on it, is brought
    to its end. Then the error is raised; of several, that of the first step of the plan, as in `executors.serial.run`.

    While a step runs that is lent components, those of the next one are loaded, if it is known that they fit beside.

    Args:
        plan: what to run.
        inputs: a value for each input of the graph that has no default and does not come late.
        lanes: how many steps run at once; those of `traffic`, if it is given.
        given, on_event, pool, directory, cancellation, caching: as for `executors.serial.run`, as are the errors.
        traffic: lanes that are shared with other runs.
        late: inputs whose values come while the run goes on.
        on_output: is told the name and the value of an output of the plan as soon as it is there.
    """
    values, brought = check(plan, inputs, given, late=late.names if late is not None else frozenset())
    running = Running(plan, values, brought, on_event, pool, directory, cancellation or Cancellation(), caching)
    traffic = traffic or Traffic(lanes or Lanes())
    try:
        running.begin()
        with ThreadPoolExecutor(traffic.lanes.total + 1, thread_name_prefix="stagegraph") as threads:  # one loads ahead
            while not _Pass(running, traffic, threads, late, on_output).run():
                running.restart()
    except BaseException as error:
        raise running.fail(error) from error.__cause__
    return running.finish()


class _Pass:
    """Hands steps to threads as their inputs arrive; all bookkeeping is done in the thread of the caller."""

    def __init__(
        self,
        running: Running,
        traffic: Traffic,
        threads: ThreadPoolExecutor,
        late: Late | None,
        on_output: Callable[[str, Any], None] | None,
    ) -> None:
        self._running = running
        self._traffic = traffic
        self._threads = threads
        self._late = late
        self._on_output = on_output
        self._names = _names_of(running.plan.outputs) if on_output is not None else {}
        self._steps = running.plan.steps
        self._ahead = Ahead(running)
        # What makes a value is a step, by its position; an input that has not come counts below, from -1 on.
        makers = {slot: i for i, step in enumerate(self._steps) for slot in step.writes if slot is not None}
        self._awaited = running.awaited(late.names) if late is not None else {}
        makers |= {slot: -1 - slot for slot in self._awaited.values()}
        waits = [{makers[slot] for slot in step.waits if slot in makers} for step in self._steps]
        self._missing = [len(needed) for needed in waits]
        self._readers: dict[int, list[int]] = defaultdict(list)
        for i, needed in enumerate(waits):
            for maker in needed:
                self._readers[maker].append(i)
        self._ready: dict[str, deque[int]] = defaultdict(deque)
        self._busy = 0
        #: A step that is done and its result; None says that a lane may be free, or a value has come.
        self._news: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self._errors: dict[int, BaseException] = {}

    def run(self) -> bool:
        """Run every step; False if the store does not have what it promised.

        An error is raised when nothing runs any more: that of the first step that failed.
        """
        for i, missing in enumerate(self._missing):
            if not missing:
                self._enqueue(i)
        told = self._late.told(self._wake) if self._late is not None else contextlib.nullcontext()
        try:
            with self._traffic.joined(self._wake) as entrance, told:
                self._start(entrance)
                while self._goes_on():
                    news = self._news.get()
                    if news is None:
                        self._take_late()
                        self._start(entrance)
                    else:
                        self._finish(*news)
                        self._start(entrance, self._steps[news[0]].node.lane)
        except BaseException:  # the user interrupts, a listener fails, or a value that was to come does not
            self._running.cancellation.cancel()
            raise
        failed = [error for _, error in sorted(self._errors.items()) if not isinstance(error, StaleError)]
        if failed:
            raise failed[0]
        return not self._errors

    def _wake(self) -> None:
        self._news.put(None)

    def _goes_on(self) -> bool:
        """Whether anything runs or will; after an error nothing waits for values that are to come."""
        return bool(self._busy or any(self._ready.values()) or (self._awaited and not self._errors))

    def _take_late(self) -> None:
        """Fill in what has come."""
        for name, value in self._late.taken() if self._late is not None else ():
            self._running.fill(name, value)
            slot = self._awaited.pop(name, None)
            if slot is not None:
                self._release_readers(-1 - slot)

    def _enqueue(self, i: int) -> None:
        self._ready[self._steps[i].node.lane].append(i)

    def _start(self, entrance: Entrance, left: str | None = None) -> None:
        """Start what is ready, as far as the lanes are wide; `left` is the lane of a step that has ended."""
        with entrance.turn(left):
            while (lane := self._entered(entrance)) is not None:  # anew: a step that is skipped makes others ready
                i = self._ready[lane].popleft()
                given = self._prepare(i)
                if given is None:
                    entrance.go_back(lane)
                    continue
                self._busy += 1
                self._threads.submit(self._work, i, given)
                for part in self._ahead.of(i):
                    self._threads.submit(self._running.load_ahead, part)

    def _prepare(self, i: int) -> Arguments | None:
        """What a step is given; None if it does not run."""
        try:
            given = self._running.prepare(self._steps[i], i)
        except Cancelled as error:
            self._errors[i] = error
            self._ready.clear()
            return None
        if given is None:
            self._release_readers(i)
        return given

    def _entered(self, entrance: Entrance) -> str | None:
        """A lane that has a step to start, and a place for it, which is taken."""
        return next((lane for lane, steps in self._ready.items() if steps and entrance.enter(lane)), None)

    def _work(self, i: int, given: Arguments) -> None:
        try:
            result: Any = self._running.call(self._steps[i], i, given)
        except BaseException as error:
            result = error
        self._news.put((i, result))

    def _finish(self, i: int, result: Any) -> None:
        step = self._steps[i]
        self._busy -= 1
        if isinstance(result, BaseException):
            self._running.reject(step, result)
            self._errors[i] = result
            return
        if self._on_output is not None:
            for slot, value in zip(step.writes, result.values, strict=True):
                for name in self._names.get(slot, ()):
                    self._on_output(name, value)
        self._running.commit(step, result)
        self._release_readers(i)

    def _release_readers(self, maker: int) -> None:
        for reader in self._readers[maker]:
            self._missing[reader] -= 1
            if not self._missing[reader]:
                self._enqueue(reader)


def _names_of(outputs: Mapping[str, int]) -> Mapping[int | None, list[str]]:
    """Slot -> the outputs that it holds."""
    names: dict[int | None, list[str]] = defaultdict(list)
    for name, slot in outputs.items():
        names[slot].append(name)
    return dict(names)


__all__ = ["Lanes", "run"]
