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

from stagegraph.components import Pool
from stagegraph.context import Cancellation
from stagegraph.errors import Cancelled
from stagegraph.events import Listener
from stagegraph.executors.checks import check_given, check_inputs
from stagegraph.executors.result import Run
from stagegraph.executors.running import Call, Running
from stagegraph.plan import Plan, Step
from stagegraph.preflight import preflight

if TYPE_CHECKING:
    from stagegraph.caching import Caching


@attrs.frozen
class Lanes:
    """How many steps run at once in each lane."""

    device: int = 1
    cpu: int = attrs.field(factory=lambda: os.cpu_count() or 1)
    io: int = 4

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
    """
    values, brought = check_inputs(plan, inputs), check_given(plan, given or {})
    preflight(plan)
    running = Running(plan, values, brought, on_event, pool, directory, cancellation or Cancellation(), caching)
    return _Threads(running, lanes or Lanes()).run()


class _Threads:
    """Hands steps to threads as their inputs arrive; all bookkeeping is done in the thread of the caller."""

    def __init__(self, running: Running, lanes: Lanes) -> None:
        self._running = running
        self._lanes = lanes
        steps = running.plan.steps
        makers = {slot: i for i, step in enumerate(steps) for slot in step.writes if slot is not None}
        waits = [{makers[slot] for slot in step.waits if slot in makers} for step in steps]
        self._missing = [len(needed) for needed in waits]
        self._readers: dict[int, list[int]] = defaultdict(list)
        for i, needed in enumerate(waits):
            for maker in needed:
                self._readers[maker].append(i)
        self._ready: dict[str, deque[int]] = defaultdict(deque)
        self._busy: Counter[str] = Counter()
        self._done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._errors: list[tuple[int, BaseException]] = []

    def run(self) -> Run:
        """Run every step, and raise the error of the first that failed when nothing runs any more."""
        running = self._running
        width = sum(self._lanes.width(lane) for lane in ("device", "cpu", "io"))
        with ThreadPoolExecutor(width, thread_name_prefix="stagegraph") as threads:
            for i, missing in enumerate(self._missing):
                if not missing:
                    self._enqueue(i)
            try:
                running.begin()
                self._start(threads)
                while self._busy.total():
                    self._finish(*self._done.get())
                    self._start(threads)
            except BaseException as error:  # of the user who interrupts, or of a listener
                running.cancellation.cancel()
                self._errors.append((-1, error))
        if self._errors:
            _, first = min(self._errors, key=lambda failed: failed[0])
            raise running.fail(first) from first.__cause__
        return running.finish()

    def _step(self, i: int) -> Step:
        return self._running.plan.steps[i]

    def _enqueue(self, i: int) -> None:
        self._ready[self._step(i).node.lane].append(i)

    def _start(self, threads: ThreadPoolExecutor) -> None:
        """Start what is ready, as far as the lanes are wide."""
        while (lane := self._free_lane()) is not None:  # looked for anew: a step that is skipped makes others ready
            i = self._ready[lane].popleft()
            try:
                call = self._running.prepare(self._step(i))
            except Cancelled as error:
                self._errors.append((i, error))
                return
            if call is None:
                self._release_readers(i)
                continue
            self._busy[lane] += 1
            threads.submit(self._work, i, call)

    def _free_lane(self) -> str | None:
        """A lane that has a step to start, and room for it."""
        lanes = self._ready.items()
        return next((lane for lane, steps in lanes if steps and self._busy[lane] < self._lanes.width(lane)), None)

    def _work(self, i: int, call: Call) -> None:
        try:
            result: Any = self._running.call(self._step(i), i + 1, call)
        except BaseException as error:
            result = error
        self._done.put((i, result))

    def _finish(self, i: int, result: Any) -> None:
        step = self._step(i)
        self._busy[step.node.lane] -= 1
        if isinstance(result, BaseException):
            self._running.reject(step, result)
            self._errors.append((i, result))
            return
        self._running.commit(step, result)
        self._release_readers(i)

    def _release_readers(self, i: int) -> None:
        for reader in self._readers[i]:
            self._missing[reader] -= 1
            if not self._missing[reader]:
                self._enqueue(reader)


__all__ = ["Lanes", "run"]
