"""Steps in threads: what does not wait for each other runs at the same time, within lanes.

A lane bounds what runs at once. Stages that are lent components run in the lane of the device, one at a time, unless
they say otherwise with `@stage(..., lane=...)`; the others in the lane of the CPU; readers and writers in that of I/O.
"""

from __future__ import annotations

import os
import queue
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph.context import Cancellation
from stagegraph.errors import Cancelled
from stagegraph.events import Listener
from stagegraph.executors.ahead import Ahead
from stagegraph.executors.calls import Arguments
from stagegraph.executors.checks import check
from stagegraph.executors.result import Run
from stagegraph.executors.running import Running, StaleError
from stagegraph.plan import Plan
from stagegraph.pool import Pool

if TYPE_CHECKING:
    from stagegraph.caching import Caching


@attrs.frozen
class Lanes:
    """How many steps run at once in each lane."""

    device: int = 1
    cpu: int = attrs.field(factory=lambda: os.cpu_count() or 1)
    io: int = 4

    @property
    def total(self) -> int:
        """How many steps run at once at most."""
        return self.device + self.cpu + self.io

    def width(self, lane: str) -> int:
        """The width of a lane."""
        return int(getattr(self, lane))


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
) -> Run:
    """Run a plan; the arguments and errors are those of `executors.serial.run`, and `lanes` bounds what runs at once.

    After an error nothing that depends on the failed step starts; what runs, and what does not depend on it, is brought
    to its end. Then the error is raised; of several, that of the first step of the plan, as in `executors.serial.run`.

    While a step runs that is lent components, those of the next one are loaded, if it is known that they fit beside.
    """
    values, brought = check(plan, inputs, given)
    running = Running(plan, values, brought, on_event, pool, directory, cancellation or Cancellation(), caching)
    lanes = lanes or Lanes()
    try:
        running.begin()
        with ThreadPoolExecutor(lanes.total + 1, thread_name_prefix="stagegraph") as threads:  # one loads ahead
            while not _Pass(running, lanes, threads).run():
                running.restart()
    except BaseException as error:
        raise running.fail(error) from error.__cause__
    return running.finish()


class _Pass:
    """Hands steps to threads as their inputs arrive; all bookkeeping is done in the thread of the caller."""

    def __init__(self, running: Running, lanes: Lanes, threads: ThreadPoolExecutor) -> None:
        self._running = running
        self._lanes = lanes
        self._threads = threads
        self._steps = running.plan.steps
        self._ahead = Ahead(running)
        makers = {slot: i for i, step in enumerate(self._steps) for slot in step.writes if slot is not None}
        waits = [{makers[slot] for slot in step.waits if slot in makers} for step in self._steps]
        self._missing = [len(needed) for needed in waits]
        self._readers: dict[int, list[int]] = defaultdict(list)
        for i, needed in enumerate(waits):
            for maker in needed:
                self._readers[maker].append(i)
        self._ready: dict[str, deque[int]] = defaultdict(deque)
        self._busy: Counter[str] = Counter()
        self._done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._errors: dict[int, BaseException] = {}

    def run(self) -> bool:
        """Run every step; False if the store does not have what it promised.

        An error is raised when nothing runs any more: that of the first step that failed.
        """
        for i, missing in enumerate(self._missing):
            if not missing:
                self._enqueue(i)
        try:
            self._start()
            while self._busy.total():
                self._finish(*self._done.get())
                self._start()
        except BaseException:  # the user interrupts, or a listener fails
            self._running.cancellation.cancel()
            raise
        failed = [error for _, error in sorted(self._errors.items()) if not isinstance(error, StaleError)]
        if failed:
            raise failed[0]
        return not self._errors

    def _enqueue(self, i: int) -> None:
        self._ready[self._steps[i].node.lane].append(i)

    def _start(self) -> None:
        """Start what is ready, as far as the lanes are wide."""
        while (lane := self._free_lane()) is not None:  # looked for anew: a step that is skipped makes others ready
            i = self._ready[lane].popleft()
            try:
                given = self._running.prepare(self._steps[i], i)
            except Cancelled as error:
                self._errors[i] = error
                return
            if given is None:
                self._release_readers(i)
                continue
            self._busy[lane] += 1
            self._threads.submit(self._work, i, given)
            for part in self._ahead.of(i):
                self._threads.submit(self._running.load_ahead, part)

    def _free_lane(self) -> str | None:
        """A lane that has a step to start, and room for it."""
        lanes = self._ready.items()
        return next((lane for lane, steps in lanes if steps and self._busy[lane] < self._lanes.width(lane)), None)

    def _work(self, i: int, given: Arguments) -> None:
        try:
            result: Any = self._running.call(self._steps[i], i, given)
        except BaseException as error:
            result = error
        self._done.put((i, result))

    def _finish(self, i: int, result: Any) -> None:
        step = self._steps[i]
        self._busy[step.node.lane] -= 1
        if isinstance(result, BaseException):
            self._running.reject(step, result)
            self._errors[i] = result
            return
        self._running.commit(step, result)
        self._release_readers(i)

    def _release_readers(self, i: int) -> None:
        for reader in self._readers[i]:
            self._missing[reader] -= 1
            if not self._missing[reader]:
                self._enqueue(reader)


__all__ = ["Lanes", "run"]
