"""One run of a plan: the values so far, what is loaded, what is told. Executors decide what is called when."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph import events
from stagegraph.components import Pool
from stagegraph.context import Cancellation, StageContext
from stagegraph.errors import Cancelled, Fault, StageError, StagegraphError, StoreError
from stagegraph.events import Event, Listener
from stagegraph.executors.result import Outputs, Run
from stagegraph.graph import INPUTS, PartRef, Ref
from stagegraph.plan import Plan, Step
from stagegraph.ports import holds, type_name
from stagegraph.record import new_run_id, start, summary

if TYPE_CHECKING:  # runs that keep nothing do without the store
    from stagegraph.caching import Caching, Checkpoints
    from stagegraph.keys import Identities, Keyless, NodeKey


class _Skipped:
    """The value of an output whose node did not run; knows the condition that did not hold."""

    def __init__(self, why: str) -> None:
        self.why = why


@attrs.frozen(eq=False)
class Call:
    """What `run` of a step is given: the values of its inputs, and of its variadic input.

    `identities` tells what each of them is known by; None if nothing is kept.
    """

    arguments: dict[str, Any]
    rest: tuple[Any, ...]
    identities: Identities | None


@attrs.frozen(eq=False)
class Done:
    """What a step produced: a value, and what it is known by, for each output port.

    `seconds` is the time of the stage, None if its outputs were kept from an earlier run.
    """

    values: tuple[Any, ...]
    identities: tuple[str | None, ...]
    seconds: float | None


class Running:
    """A run while it runs.

    `call` may be used from any thread; everything else belongs to the thread of the executor.

    Args:
        plan: what runs.
        values: of the graph's inputs, by name, and of slots that the caller filled, by number.
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
        self.recorder = start(self.id, plan, inputs)
        self._on_event = on_event
        self._telling = threading.Lock()
        self._warned: set[Fault] = set()
        self._keep_components = pool is not None
        self._pool = pool if pool is not None else Pool()
        self._directory = directory
        self._values: list[Any] = [None] * len(plan.slots)
        for source, slot in plan.slots.items():
            if not isinstance(source, Ref):
                self._values[slot] = source.value
            elif source.node == INPUTS:
                self._values[slot] = inputs.get(source.port)
        for slot, value in given.items():
            self._values[slot] = value
        self._identities: list[str | None] = [None] * len(plan.slots)
        self._cache = caching.begin(self.recorder, inputs, self._make_directory, self._warn) if caching else None
        if self._cache is not None:
            made = {slot for step in plan.steps for slot in step.writes}
            for slot in range(len(plan.slots)):
                if slot not in made:
                    self._identities[slot] = self._cache.input_key(self._values[slot])
        self._readers = list(plan.readers)
        self._borrowers = dict(plan.borrowers)
        self._begin = time.perf_counter()

    # From beginning to end

    def begin(self) -> None:
        """Tell that the run begins."""
        self._begin = time.perf_counter()
        if self._on_event is not None:
            self._emit(events.RunStarted(self.id, self.plan.graph.name, len(self.plan.steps)))

    def finish(self) -> Run:
        """The result, when every step is done."""
        self.recorder.status = "finished"
        self._end(events.RunFinished(self.id, time.perf_counter() - self._begin))
        values = {name: self._values[slot] for name, slot in self.plan.outputs.items()}
        skipped = {name: value.why for name, value in values.items() if isinstance(value, _Skipped)}
        made = {name: value for name, value in values.items() if name not in skipped}
        return Run(self.id, Outputs(made, skipped), self.recorder)

    def fail(self, error: BaseException) -> BaseException:
        """Tell that the run ends without a result; gives what to raise."""
        cancelled = isinstance(error, (Cancelled, KeyboardInterrupt))
        self.recorder.status = "cancelled" if cancelled else "failed"
        if cancelled:
            self._end(events.RunCancelled(self.id))
        else:
            self._end(events.RunFailed(self.id, error.faults) if isinstance(error, StagegraphError) else None)
        if isinstance(error, KeyboardInterrupt):
            return Cancelled(Fault("cancelled", "the run was interrupted"))
        return error

    def _end(self, event: Event | None) -> None:
        """Keep how the run ended, which may end in a warning; then tell the last event."""
        if self._cache is not None:
            self._cache.finish(self.recorder.record().as_dict())
        try:
            if event is not None:
                self._emit(event)
        finally:
            if self._cache is not None:
                self._cache.close()

    # One step

    def prepare(self, step: Step) -> Call | None:
        """The values that the step's stage takes; None if the step is to be skipped, which is then done."""
        if self.cancellation.requested:
            self.check_cancelled(step)
        why = self._reason_to_skip(step)
        if why:
            self._commit(step, tuple(_Skipped(why) for _ in step.writes))
            self._emit(events.NodeSkipped(self.id, step.node.name, why))
            return None
        values = self._values
        # An optional input of which the node was skipped takes its default.
        arguments = {name: value for name, slot in step.reads if type(value := values[slot]) is not _Skipped}
        rest = tuple(value for slot in step.rest if type(value := values[slot]) is not _Skipped) if step.rest else ()
        return Call(arguments, rest, self._known_by(step, arguments) if self._cache is not None else None)

    def call(self, step: Step, number: int, call: Call) -> Done:
        """Take the outputs that were kept, or lend the components and call the stage; from any thread.

        Args:
            step: of the plan.
            number: of the step, from 1.
            call: what `prepare` gave.
        """
        cache = self._cache
        if cache is None or call.identities is None:
            values, seconds = self._run(step, number, call, None)
            return Done(values, (None,) * len(values), seconds)
        key = cache.node_key(step, call.identities)
        kept = cache.fetch(step, key)
        if kept is not None:
            produced, took = kept, None
        else:
            produced, took = self._run(step, number, call, key)
            try:
                cache.save(step, key, produced, seconds=took)
            except StoreError as error:  # the run goes on: what it made is in memory
                self._warn(error.faults[0])
        ports = step.node.spec.outputs
        identities = (cache.output_key(step, key, port, v) for port, v in zip(ports, produced, strict=True))
        return Done(produced, tuple(identities), took)

    def _run(self, step: Step, number: int, call: Call, key: NodeKey | Keyless | None) -> tuple[tuple[Any, ...], float]:
        lent = self._lend(step)
        if step.node.spec.context is not None:
            lent[step.node.spec.context] = self._context(step, key)
        if self._on_event is not None:
            self._emit(events.NodeStarted(self.id, step.node.name, str(step.node.spec), number))
        begin = time.perf_counter()
        each = self._call_for_each if step.node.map else self._call_once
        produced = each(step, call.arguments, call.rest, lent)
        return produced, time.perf_counter() - begin

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
        self.recorder.seconds[step.node.name] = round(done.seconds, 6)
        if self._on_event is not None:
            self._emit(events.NodeFinished(self.id, step.node.name, done.seconds))

    def _known_by(self, step: Step, arguments: Mapping[str, Any]) -> Identities:
        """What flows into a step is known by; a list that is mapped over is another thing than a list that is not."""
        known: dict[str, str | tuple[str, ...] | None] = {
            name: self._identities[slot] for name, slot in step.reads if name in arguments
        }
        for port in step.node.spec.inputs.values():
            if port.variadic:
                parts = [self._identities[s] for s in step.rest if type(self._values[s]) is not _Skipped]
                known[port.name] = None if None in parts else tuple(part for part in parts if part is not None)
        if step.node.map:
            known["for each"] = ", ".join(step.node.map)
        return known

    def _warn(self, fault: Fault) -> None:
        with self._telling:
            told_before = fault in self._warned
            self._warned.add(fault)
        if not told_before:  # a full disk is told once, not once a node
            self._emit(events.CacheWarning(self.id, (fault,)))

    def reject(self, step: Step, error: BaseException) -> None:
        """Tell that a step failed."""
        if isinstance(error, StageError):
            self._emit(events.NodeFailed(self.id, step.node.name, error.faults))

    def check_cancelled(self, step: Step) -> None:
        """Raise `Cancelled` if somebody asked the run to stop."""
        if self.cancellation.requested:
            raise Cancelled(Fault("cancelled", "the run was cancelled", where=step.node.name))

    def _reason_to_skip(self, step: Step) -> str:
        if step.when is not None:
            condition = self._values[step.when]
            if isinstance(condition, _Skipped):
                return condition.why
            if not condition:
                return f"{step.node.when} is false" if isinstance(step.node.when, Ref) else "its condition is false"
        for argument, slot in step.reads:
            value = self._values[slot]
            if type(value) is _Skipped and step.node.spec.inputs[argument].required:
                return value.why
        return ""

    def _commit(self, step: Step, produced: tuple[Any, ...]) -> None:
        values, readers = self._values, self._readers
        for slot, value in zip(step.writes, produced, strict=True):
            if slot is not None:
                values[slot] = value
        for slot in step.waits:
            readers[slot] -= 1
            if not readers[slot]:
                values[slot] = None
        for part in step.node.lent.values():
            self._borrowers[part] -= 1
            if not self._borrowers[part] and not self._keep_components:
                self._release(part)

    # Components

    def _lend(self, step: Step) -> dict[str, Any]:
        components = self.plan.graph.components
        return {
            argument: self._pool.lend(components[ref.component], ref.part, ref.component, self._loading)
            for argument, ref in step.node.lent.items()
        }

    def _loading(self, component: str, part: str, seconds: float | None) -> None:
        if seconds is None:
            self._emit(events.ComponentLoading(self.id, component, part))
        else:
            self._emit(events.ComponentLoaded(self.id, component, part, seconds))

    def _release(self, ref: PartRef) -> None:
        self._pool.release(self.plan.graph.components[ref.component], ref.part)
        self._emit(events.ComponentReleased(self.id, ref.component, ref.part))

    # The call of a stage

    def _call_for_each(
        self, step: Step, arguments: dict[str, Any], rest: tuple[Any, ...], lent: dict[str, Any]
    ) -> tuple[Any, ...]:
        """One call for each item of the mapped inputs; every output is a list."""
        lengths = {name: len(arguments[name]) for name in step.node.map}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            what = f"{step.node.name} maps over lists of different lengths: {told}"
            raise _failure(step, arguments, Fault("invalid_value", what, where=step.node.name))
        columns: tuple[list[Any], ...] = tuple([] for _ in step.writes)
        for items in zip(*(arguments[name] for name in step.node.map), strict=True):
            self.check_cancelled(step)
            item = {**arguments, **dict(zip(step.node.map, items, strict=True))}
            for column, value in zip(columns, self._call_once(step, item, rest, lent), strict=True):
                column.append(value)
        return columns

    def _call_once(
        self, step: Step, arguments: dict[str, Any], rest: tuple[Any, ...], lent: dict[str, Any]
    ) -> tuple[Any, ...]:
        spec = step.node.spec
        try:
            result = _invoke(step, arguments, rest, lent)
        except Cancelled:
            raise
        except StagegraphError as error:
            faults = [attrs.evolve(fault, where=fault.where or step.node.name) for fault in error.faults]
            failure = _failure(step, arguments, *faults)
            failure.exit_code = error.exit_code
            failure.retryable = error.retryable
            raise failure from error
        except Exception as error:
            what = f"{step.node.name} ({spec.id}) failed: {type(error).__name__}: {error}"
            raise _failure(step, arguments, Fault("stage_failed", what, where=step.node.name)) from error
        return _outputs(step, arguments, result)

    def _context(self, step: Step, key: NodeKey | Keyless | None) -> StageContext:
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
            record=lambda: self.recorder.record().as_dict(),
            on_progress=progress if self._on_event is not None else None,
            on_checkpoint=(lambda number, value: keep.put(number, value, self._warn)) if keep is not None else None,
            restored=keep.latest if keep is not None else None,
            cancellation=self.cancellation,
        )

    def _make_directory(self) -> Path:
        with self._telling:
            if callable(self._directory):
                self._directory = self._directory(self.id)
            directory = self._directory or Path("runs") / f"{self.plan.graph.name.replace('/', '-')}-{self.id}"
            directory.mkdir(parents=True, exist_ok=True)
            return directory

    def _emit(self, event: Event) -> None:
        if self._cache is not None:
            self._cache.told(events.as_dict(event))
        if self._on_event is not None:
            with self._telling:
                self._on_event(event)


def _invoke(step: Step, arguments: dict[str, Any], rest: tuple[Any, ...], lent: dict[str, Any]) -> Any:
    """Call `run`; what comes before a variadic input has to be given by position."""
    ports = step.node.spec.inputs
    if step.node.spec.is_variadic:
        before = [arguments.get(name, port.default) for name, port in ports.items() if not port.variadic]
        result = step.node.stage.run(*before, *rest, **lent)
    else:
        result = step.node.stage.run(**arguments, **lent)
    return _awaited(result) if inspect.iscoroutine(result) else result


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of an async stage, which has an event loop of its own: it runs in the thread of its step."""
    import asyncio  # as long to import as the rest of the engine

    return asyncio.run(coroutine)


def _failure(step: Step, arguments: Mapping[str, Any], *faults: Fault) -> StageError:
    inputs = {argument: summary(arguments[argument]) for argument, _ in step.reads if argument in arguments}
    return StageError(*faults, node=step.node.name, stage=str(step.node.spec), inputs=inputs)


def _outputs(step: Step, arguments: Mapping[str, Any], result: Any) -> tuple[Any, ...]:
    """The values of the output ports, checked against their types."""
    spec = step.node.spec
    if spec.single:
        values: tuple[Any, ...] = (result,)
    elif spec.outputs and isinstance(result, spec.returns):
        values = tuple(getattr(result, name) for name in spec.outputs)
    elif not spec.outputs and result is None:
        return ()
    else:
        raise _wrong_output(step, arguments, "its result", spec.returns, result)
    for port, value in zip(spec.outputs.values(), values, strict=True):
        if not holds(port.type, value):
            raise _wrong_output(step, arguments, port.name, port.type, value)
    return values


def _wrong_output(step: Step, arguments: Mapping[str, Any], name: str, wanted: Any, value: Any) -> StageError:
    node, spec = step.node.name, step.node.spec
    what = f"{node} ({spec.id}) declares {name} as {type_name(wanted)} but returned {summary(value)}"
    return _failure(step, arguments, Fault("stage_output", what, where=node))
