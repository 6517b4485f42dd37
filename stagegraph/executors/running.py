"""One run of a plan: the values so far, what is lent, what is told. Executors decide what is called when."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import attrs

from stagegraph import events
from stagegraph.context import Cancellation, StageContext
from stagegraph.errors import Cancelled, Fault, StageError, StagegraphError, StoreError
from stagegraph.events import Event, Listener
from stagegraph.executors import calls
from stagegraph.executors.calls import Arguments
from stagegraph.executors.checks import checked
from stagegraph.executors.lending import Lending
from stagegraph.executors.meter import meter
from stagegraph.executors.result import Outputs, Run
from stagegraph.graph import PartRef, Ref
from stagegraph.plan import Plan, Step
from stagegraph.pool import Pool
from stagegraph.record import new_run_id, start

if TYPE_CHECKING:  # runs that keep nothing do without the store
    from stagegraph.caching import Caching, Checkpoints, RunCache
    from stagegraph.executors.foresight import Foresight
    from stagegraph.keys import Identities, Keyless, NodeKey

_ABSENT: Final = object()
"""The value of a slot that nobody has filled."""
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
"""What most stages are lent."""

_RESTARTS: Final = 3
"""How often a run begins again because the store has lost what it had when the run began."""


class _Skipped:
    """The value of an output whose node did not run; knows the condition that did not hold."""

    def __init__(self, why: str) -> None:
        self.why = why


class StaleError(Exception):
    """The store does not have what it promised: the run begins again, and finds in the store what it has made."""


@attrs.define(eq=False)  # as `Arguments`
class Done:
    """What a step produced: a value for each output port, and what it is known by, if anything is kept.

    `seconds` is the time of the stage, None if its outputs were kept from an earlier run.
    """

    values: tuple[Any, ...]
    identities: tuple[str | None, ...]
    seconds: float | None


class Running:
    """A run while it runs.

    `call` and `load_ahead` may be used from any thread; everything else belongs to the thread of the executor.

    Args:
        plan: what runs.
        inputs: the values of the graph's inputs, by name.
        given: the values of slots that the caller filled, by number.
        on_event: receives every event, one at a time.
        pool: where components are kept; with one, they outlive the run.
        directory: the run's own folder, or what makes it from the run's id.
        cancellation: a flag that stops the run.
        caching: where outputs are kept and used again.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Any],
        given: Mapping[int, Any],
        on_event: Listener | None,
        pool: Pool | None,
        directory: Path | Callable[[str], Path] | None,
        cancellation: Cancellation,
        caching: Caching | None = None,
    ) -> None:
        self.plan = plan
        self.id = caching.resumed.row.id if caching is not None and caching.resumed is not None else new_run_id()
        self.cancellation = cancellation
        self.recorder = start(self.id, plan, inputs, given)
        self._on_event = on_event
        self._telling = threading.Lock()
        self._warned: set[Fault] = set()
        self._restarts = 0
        self._pool = pool
        self._directory = directory
        self._inputs = dict(inputs)
        self._given = given
        self._meter = meter()
        self._begin = time.perf_counter()
        self._cache: RunCache | None = None
        self._cache = caching.begin(self.recorder, inputs, self._own_folder(), self._warn) if caching else None
        self._is_heard = on_event is not None or (self._cache is not None and self._cache.recorded)
        self._set_up()

    def _set_up(self) -> None:
        """Fill the slots that no step fills."""
        plan = self.plan
        self._values: list[Any] = [_ABSENT] * len(plan.slots)
        for name, slot in plan.inputs.items():
            self._values[slot] = self._inputs.get(name, _ABSENT)
        for slot, value in (*plan.constants.items(), *self._given.items()):
            self._values[slot] = value
        self._readers = list(plan.readers)
        self._lending = Lending(self.id, plan, self._pool, self._emit)
        self._identities: list[str | None] = []
        self.foresight: Foresight | None = None

    def _look_ahead(self) -> None:
        """Look at what the store has."""
        if self._cache is not None:
            from stagegraph.executors.foresight import Foresight, foresee

            cache = self._cache
            self._identities = [cache.input_key(v) if v is not _ABSENT else None for v in self._values]
            # A store that loses things as fast as they are looked for is not looked ahead in
            far = self._restarts < _RESTARTS
            self.foresight = foresee(self.plan, cache, self._identities) if far else Foresight()

    # From beginning to end

    def begin(self) -> None:
        """Tell that the run begins."""
        self._begin = time.perf_counter()
        if self._on_event is not None or self._cache is not None:
            self._emit(events.RunStarted(self.id, self.plan.graph.name, len(self.plan.steps)))
        self._look_ahead()

    def restart(self) -> None:
        """Begin again, because of a `StaleError`."""
        self._restarts += 1
        self._lending.close()
        self._set_up()
        self._look_ahead()

    def finish(self) -> Run:
        """The result, when every step is done."""
        self.recorder.status = "finished"
        self._end(events.RunFinished(self.id, time.perf_counter() - self._begin))
        return self._result()

    def fail(self, error: BaseException) -> BaseException:
        """Tell that the run ends without a result; gives what to raise."""
        cancelled = isinstance(error, (Cancelled, KeyboardInterrupt))
        self.recorder.status = "cancelled" if cancelled else "failed"
        if cancelled:
            self._end(events.RunCancelled(self.id))
        else:
            self._end(events.RunFailed(self.id, error.faults) if isinstance(error, StagegraphError) else None)
        if isinstance(error, KeyboardInterrupt):
            error = Cancelled(Fault("cancelled", "the run was interrupted"))
        if isinstance(error, StagegraphError):
            error.run = self._result()
        return error

    def _end(self, event: Event | None) -> None:
        """Let go of everything and keep how the run ended, which may end in a warning; then tell the last event."""
        self._lending.close()
        if self._cache is not None:
            self._cache.finish(self.recorder)
        try:
            if event is not None:
                self._emit(event)
        finally:
            if self._cache is not None:
                self._cache.close()

    def _result(self) -> Run:
        """The outputs as far as they were made."""
        values = {name: self._values[slot] for name, slot in self.plan.outputs.items()}
        skipped = {name: value.why for name, value in values.items() if isinstance(value, _Skipped)}
        made = {name: value for name, value in values.items() if name not in skipped and value is not _ABSENT}
        return Run(self.id, Outputs(made, skipped), self.recorder)

    # Inputs that come while it runs

    def awaited(self, names: Iterable[str]) -> dict[str, int]:
        """Which of these inputs have not come although a step reads them, and the slots of their values."""
        slots = self.plan.inputs
        return {name: slots[name] for name in names if name in slots and name not in self._inputs}

    def fill(self, name: str, value: Any) -> None:
        """Take the value of an input.

        Raises:
            InputError: it is of the wrong type.
        """
        value = self._inputs[name] = checked(self.plan.graph.inputs[name], value)
        self.recorder.take(name, value)
        slot = self.plan.inputs.get(name)
        if slot is not None:
            self._values[slot] = value
            if self._cache is not None:
                self._identities[slot] = self._cache.input_key(value)

    # One step

    def prepare(self, step: Step, position: int) -> Arguments | None:
        """The values that the step's stage takes; None if it is not called and the step is done.

        Args:
            step: of the plan.
            position: of the step in the plan, from 0.
        """
        if self.cancellation.requested:
            self.cancellation.check(step.node.name)
        if self.foresight is not None and position in self.foresight.unneeded:
            self._leave_out(step, position)
            return None
        if self.plan.conditional and (why := self._reason_to_skip(step)):
            self._commit(step, tuple(_Skipped(why) for _ in step.writes))
            self._emit(events.NodeSkipped(self.id, step.node.name, why))
            return None
        values = self._values
        # An optional input of which the node was skipped takes its default; one that was left out is not read.
        inputs = {name: value for name, slot in step.reads if type(value := values[slot]) is not _Skipped}
        rest = tuple([value for slot in step.rest if type(value := values[slot]) is not _Skipped]) if step.rest else ()
        return Arguments(inputs, rest, _NOTHING, self._known_by(step, inputs) if self._cache is not None else None)

    def call(self, step: Step, position: int, given: Arguments) -> Done:
        """Take the outputs that were kept, or lend the components and call the stage; from any thread.

        Args:
            step: of the plan.
            position: of the step in the plan, from 0.
            given: what `prepare` gave.

        Raises:
            StaleError: the outputs were kept when the run began, and are not any more.
        """
        cache = self._cache
        if cache is None or given.identities is None or self.foresight is None:
            values, seconds, _ = self._run(step, position, given, None)
            return Done(values, (), seconds)
        key = self.foresight.keys.get(position) or cache.node_key(step, given.identities)
        fresh = step.node.name in self.plan.fresh
        kept = cache.fetch(step, key) if not fresh else None
        if kept is not None:
            produced, took = kept, None
        elif position in self.foresight.reused:
            raise StaleError
        else:
            produced, took, peak = self._run(step, position, given, key)
            try:
                cache.save(step, key, produced, seconds=took, peak_bytes=peak, fresh=fresh)
            except StoreError as error:  # the run goes on: what it made is in memory
                self._warn(error.faults[0])
        ports = step.node.spec.outputs
        identities = (cache.output_key(step, key, port, v) for port, v in zip(ports, produced, strict=True))
        return Done(produced, tuple(identities), took)

    def load_ahead(self, part: PartRef) -> None:
        """Load a part that a later step will be lent; what keeps it from loading is told when that step needs it."""
        try:
            self._lending.load(part)
        except (StagegraphError, MemoryError):
            return

    def commit(self, step: Step, done: Done) -> None:
        """Keep what a step produced as far as somebody reads it, and let go of what nobody needs any more."""
        if self._cache is not None:
            for slot, identity in zip(step.writes, done.identities, strict=True):
                if slot is not None:
                    self._identities[slot] = identity
        self._commit(step, done.values)
        if done.seconds is None:
            self._emit(events.NodeReused(self.id, step.node.name))
            return
        self.recorder.seconds[step.node.name] = done.seconds
        if self._is_heard:
            self._emit(events.NodeFinished(self.id, step.node.name, done.seconds))

    def reject(self, step: Step, error: BaseException) -> None:
        """Tell that a step failed."""
        if isinstance(error, StageError):
            self._emit(events.NodeFailed(self.id, step.node.name, error.faults))

    def _run(
        self, step: Step, position: int, given: Arguments, key: NodeKey | Keyless | None
    ) -> tuple[tuple[Any, ...], float, int]:
        """Call the stage as often as it is to be tried; gives values, seconds and the peak of memory in bytes."""
        retry = step.node.retry
        call = self._lent if step.node.lent else self._timed
        if retry is None:
            return call(step, position, given, key)
        for attempt in itertools.count(1):
            try:
                return call(step, position, given, key)
            except StagegraphError as error:
                delay = retry.delay_after(attempt) if error.retryable else None
                if delay is None:
                    raise
                self._emit(events.NodeRetried(self.id, step.node.name, attempt, retry.attempts, delay, error.faults))
            self.cancellation.wait(delay)
            self.cancellation.check(step.node.name)
        raise AssertionError  # the loop has no end of its own

    def _lent(
        self, step: Step, position: int, given: Arguments, key: NodeKey | Keyless | None
    ) -> tuple[tuple[Any, ...], float, int]:
        with self._lending.lent(step) as lent:
            return self._timed(step, position, attrs.evolve(given, lent=lent), key)

    def _timed(
        self, step: Step, position: int, given: Arguments, key: NodeKey | Keyless | None
    ) -> tuple[tuple[Any, ...], float, int]:
        node = step.node.name
        if self._is_heard:
            self._emit(events.NodeStarted(self.id, node, step.node.spec.reference, position + 1))
        meters = self._device_meters(step) if step.node.lent else []
        context = functools.partial(self._context, step, key) if step.node.spec.context is not None else None
        self._meter.start(given)
        begin = time.perf_counter()
        try:
            produced = calls.call(step, given, self.cancellation, context)
        finally:
            seconds, peak = time.perf_counter() - begin, self._meter.stop(given)
        if peak:
            self.recorder.peak_bytes[node] = peak
        if meters:
            self.recorder.device_peak_bytes[node] = max(told() for told in meters)
        return produced, seconds, peak

    def _device_meters(self, step: Step) -> list[Callable[[], int]]:
        """What tells the peak of the device's memory, set back to now."""
        components = dict.fromkeys(ref.component for ref in step.node.lent.values())
        found = (getattr(self.plan.graph.components[name], "peak_memory", None) for name in components)
        meters = [told for told in found if told is not None]
        for told in meters:
            told()
        return meters

    def _known_by(self, step: Step, arguments: Mapping[str, Any]) -> Identities:
        from stagegraph.executors.foresight import known_by

        inputs = {name: self._identities[slot] for name, slot in step.reads if name in arguments}
        rest = [self._identities[s] for s in step.rest if type(self._values[s]) is not _Skipped]
        return known_by(step, inputs, rest)

    def _leave_out(self, step: Step, position: int) -> None:
        """A step of which nothing is read: what would read it takes its own outputs from the store."""
        if self._cache is not None and self.foresight is not None:
            self._cache.left_out(step, self.foresight.keys.get(position))
        self._commit(step, (_ABSENT,) * len(step.writes))
        self._emit(events.NodeReused(self.id, step.node.name))

    def _reason_to_skip(self, step: Step) -> str:
        if step.when is not None:
            condition = self._values[step.when]
            if isinstance(condition, _Skipped):
                return condition.why
            if condition is None or condition is False:
                told = "None" if condition is None else "false"
                return f"{step.node.when} is {told}" if isinstance(step.node.when, Ref) else "its condition is false"
        for argument, slot in step.reads:
            value = self._values[slot]
            if type(value) is _Skipped and step.node.spec.inputs[argument].required:
                return value.why
        return ""

    def _commit(self, step: Step, produced: tuple[Any, ...]) -> None:
        values, readers = self._values, self._readers
        for i, written in enumerate(step.writes):
            if written is not None:
                values[written] = produced[i]
        for slot in step.waits:
            readers[slot] -= 1
            if not readers[slot]:
                values[slot] = _ABSENT
        if step.node.lent:
            self._lending.used(step)

    def _context(self, step: Step, key: NodeKey | Keyless | None, flag: Cancellation) -> StageContext:
        node = step.node.name

        def progress(done: int, total: int, message: str) -> None:
            self._emit(events.NodeProgress(self.id, node, done, total, message))

        # The calls of a mapped node share one key, so that a checkpoint would not tell whose it is.
        keep: Checkpoints | None = None
        if self._cache is not None and key is not None and not step.node.map:
            keep = self._cache.checkpoints(step, key)
        return StageContext(
            node,
            directory=self._make_directory,
            record=lambda: self.recorder.record(node).as_dict(),
            on_progress=progress if self._on_event is not None else None,
            on_checkpoint=(lambda number, value: keep.put(number, value, self._warn)) if keep is not None else None,
            restored=keep.latest if keep is not None and node not in self.plan.fresh else None,
            cancellation=flag,
        )

    def _own_folder(self) -> Path:
        """The run's own folder, whether it is there or not."""
        if callable(self._directory):
            self._directory = self._directory(self.id)
        return self._directory or Path("runs") / f"{self.plan.graph.name.replace('/', '-')}-{self.id}"

    def _make_directory(self) -> Path:
        with self._telling:
            directory = self._own_folder()
            directory.mkdir(parents=True, exist_ok=True)
            return directory

    def _warn(self, fault: Fault) -> None:
        with self._telling:
            told_before = fault in self._warned
            self._warned.add(fault)
        if not told_before:  # a full disk is told once, not once a node
            self._emit(events.CacheWarning(self.id, (fault,)))

    def _emit(self, event: Event) -> None:
        if self._cache is not None:
            self._cache.told(event)
        if self._on_event is not None:
            with self._telling:
                self._on_event(event)
