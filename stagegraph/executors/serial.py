"""The simplest executor: one step after another, in the calling thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from stagegraph import events
from stagegraph.components import Pool, faults_of
from stagegraph.context import Cancellation, StageContext
from stagegraph.errors import (
    Cancelled,
    ComponentError,
    Fault,
    InputError,
    PlanError,
    StageError,
    StagegraphError,
    suggest,
)
from stagegraph.events import Event, Listener
from stagegraph.graph import INPUTS
from stagegraph.plan import Plan, Step
from stagegraph.ports import holds, type_name
from stagegraph.record import RunRecord, new_run_id, start, summary
from stagegraph.serde import StructureError, Text, describe, structure


class Outputs(dict[str, Any]):
    """The values asked for, by name; any other name is an error that says so."""

    def __missing__(self, name: str) -> Any:
        raise PlanError(Fault("unknown_output", f'output "{name}" was not asked for', fix=suggest(name, self)))


@attrs.frozen
class Run:
    """A run that has finished."""

    id: str
    outputs: Outputs
    record: RunRecord

    def __getitem__(self, name: str) -> Any:
        return self.outputs[name]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the outputs."""
        from stagegraph.views.notebook import run_bundle

        return run_bundle(self.record, self.outputs)


def run(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    on_event: Listener | None = None,
    pool: Pool | None = None,
    directory: Path | Callable[[str], Path] | None = None,
    cancellation: Cancellation | None = None,
) -> Run:
    """Run a plan.

    Args:
        plan: what to run.
        inputs: a value for each input of the graph that has no default.
        on_event: receives every event.
        pool: where components are kept; with one, they outlive the run. Without, each goes after its last use.
        directory: the run's own folder, or what makes it from the run's id when a stage first asks for it. By default
            `runs/<graph>-<id>` below the current folder.
        cancellation: a flag that stops the run.

    Raises:
        InputError: an input that is missing, unknown or of the wrong type; nothing has run.
        ComponentError: a component lacks what it would load, in which case nothing has run, or could not be loaded.
        StageError: a stage failed; its cause is chained.
        Cancelled: the flag was set, or the user interrupted.
    """
    values = check_inputs(plan, inputs)
    check_components(plan)
    return _Serial(plan, values, on_event, pool, directory, cancellation or Cancellation()).run()


def check_inputs(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every input of the graph: given, read from `Text`, or its default.

    Raises:
        InputError: with every fault.
    """
    declared = plan.graph.inputs
    used = {ref.port for ref in plan.slots if ref.node == INPUTS}
    faults = [
        Fault("unknown_input", f'{plan.graph.name} has no input "{name}"', fix=suggest(name, declared))
        for name in inputs
        if name not in declared
    ]
    values = {}
    for name, input in declared.items():
        if name not in inputs:
            if not input.required:
                values[name] = input.default
            elif name in used:
                what = f"{plan.graph.name} needs a value for its input {name} ({type_name(input.type)})"
                faults.append(Fault("missing_input", what, why=input.help, fix=f"give {name}, as in -i {name}=..."))
            continue
        value = inputs[name]
        if isinstance(value, Text):
            try:
                value = structure(value, input.type)
            except StructureError as error:
                faults += [Fault(p.code, f"input {name}: {p.what}", why=p.why, fix=p.fix) for p in error.problems]
                continue
        if not holds(input.type, value):
            what = f"input {name} is {type_name(input.type)}, but was given {type(value).__name__} {describe(value)}"
            faults.append(Fault("invalid_type", what))
        values[name] = value
    if faults:
        raise InputError(*faults)
    return values


def check_components(plan: Plan) -> None:
    """Let every component look for what the plan will load from it; none loads anything.

    Raises:
        ComponentError: with every fault of every component.
    """
    parts: dict[str, list[str]] = {}
    for step in plan.steps:
        for ref in step.loads:
            parts.setdefault(ref.component, []).append(ref.part)
    faults = [fault for name, wanted in parts.items() for fault in faults_of(plan.graph.components[name], wanted)]
    if faults:
        raise ComponentError(*faults)


class _Serial:
    """One run."""

    def __init__(
        self,
        plan: Plan,
        inputs: dict[str, Any],
        on_event: Listener | None,
        pool: Pool | None,
        directory: Path | Callable[[str], Path] | None,
        cancellation: Cancellation,
    ) -> None:
        self._plan = plan
        self._id = new_run_id()
        self._on_event = on_event
        self._keep_components = pool is not None
        self._pool = pool if pool is not None else Pool()
        self._directory = directory
        self._cancellation = cancellation
        self._record = start(self._id, plan, inputs)
        self._values: list[Any] = [None] * len(plan.slots)
        for ref, slot in plan.slots.items():
            if ref.node == INPUTS:
                self._values[slot] = inputs[ref.port]

    def run(self) -> Run:
        begin = time.perf_counter()
        self._emit(events.RunStarted(self._id, self._plan.graph.name, len(self._plan.steps)))
        try:
            for number, step in enumerate(self._plan.steps, 1):
                self._step(number, step)
        except (Cancelled, KeyboardInterrupt) as error:
            self._record.status = "cancelled"
            self._emit(events.RunCancelled(self._id))
            if isinstance(error, Cancelled):
                raise
            raise Cancelled(Fault("cancelled", "the run was interrupted")) from None
        except StagegraphError as error:
            self._record.status = "failed"
            self._emit(events.RunFailed(self._id, error.faults))
            raise
        except BaseException:  # a listener that raised, a loader without memory, a stage that exits
            self._record.status = "failed"
            raise
        self._record.status = "finished"
        self._emit(events.RunFinished(self._id, time.perf_counter() - begin))
        outputs = {name: self._values[slot] for name, slot in self._plan.outputs.items()}
        return Run(self._id, Outputs(outputs), self._record)

    def _step(self, number: int, step: Step) -> None:
        if self._cancellation.requested:
            raise Cancelled(Fault("cancelled", "the run was cancelled", where=step.node.name))
        arguments = self._lend(step)
        arguments |= {argument: self._values[slot] for argument, slot in step.reads}
        name = step.node.name
        self._emit(events.NodeStarted(self._id, name, str(step.node.spec), number))
        begin = time.perf_counter()
        try:
            produced = _outputs(step, arguments, self._call(step, arguments))
        except StageError as error:
            self._emit(events.NodeFailed(self._id, name, error.faults))
            raise
        seconds = time.perf_counter() - begin
        for slot, value in zip(step.writes, produced, strict=True):
            if slot is not None:
                self._values[slot] = value
        for slot in step.drops:
            self._values[slot] = None
        del arguments, produced
        self._release(step)
        self._record.seconds[name] = round(seconds, 6)
        self._emit(events.NodeFinished(self._id, name, seconds))

    def _lend(self, step: Step) -> dict[str, Any]:
        lent = {}
        for argument, ref in step.node.lent.items():
            component = self._plan.graph.components[ref.component]
            lent[argument] = self._pool.lend(component, ref.part, ref.component, self._loading)
        return lent

    def _loading(self, component: str, part: str, seconds: float | None) -> None:
        if seconds is None:
            self._emit(events.ComponentLoading(self._id, component, part))
        else:
            self._emit(events.ComponentLoaded(self._id, component, part, seconds))

    def _release(self, step: Step) -> None:
        if self._keep_components:
            return
        for ref in step.releases:
            self._pool.release(self._plan.graph.components[ref.component], ref.part)
            self._emit(events.ComponentReleased(self._id, ref.component, ref.part))

    def _call(self, step: Step, arguments: dict[str, Any]) -> Any:
        spec = step.node.spec
        if spec.context is not None:
            arguments[spec.context] = self._context(step.node.name)
        try:
            return step.node.stage.run(**arguments)
        except Cancelled:
            raise
        except StagegraphError as error:
            faults = [attrs.evolve(fault, where=fault.where or step.node.name) for fault in error.faults]
            failure = _failure(step, arguments, *faults)
            failure.exit_code = error.exit_code
            failure.retryable = error.retryable  # type: ignore[misc]
            raise failure from error
        except Exception as error:
            what = f"{step.node.name} ({spec.id}) failed: {type(error).__name__}: {error}"
            raise _failure(step, arguments, Fault("stage_failed", what, where=step.node.name)) from error

    def _context(self, node: str) -> StageContext:
        def progress(done: int, total: int, message: str) -> None:
            self._emit(events.NodeProgress(self._id, node, done, total, message))

        return StageContext(
            node,
            directory=self._make_directory,
            record=self._record.as_dict,
            on_progress=progress if self._on_event is not None else None,
            cancellation=self._cancellation,
        )

    def _make_directory(self) -> Path:
        if callable(self._directory):
            self._directory = self._directory(self._id)
        directory = self._directory or Path("runs") / f"{self._plan.graph.name.replace('/', '-')}-{self._id}"
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _emit(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)


def _failure(step: Step, arguments: Mapping[str, Any], *faults: Fault) -> StageError:
    inputs = {argument: summary(arguments[argument]) for argument, _ in step.reads}
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
