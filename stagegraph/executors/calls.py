"""The call of one stage: its arguments, its time limit, and what it returned, checked."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import attrs

from stagegraph.context import Cancellation, Deadline, StageContext
from stagegraph.errors import Cancelled, Fault, StageError, StagegraphError, TimedOut
from stagegraph.plan import Step
from stagegraph.ports import holds, type_name
from stagegraph.record import summary

if TYPE_CHECKING:
    from stagegraph.keys import Identities

#: Seconds that a stage has to stop after its time is over, before it is left behind.
GRACE: Final = 5.0

#: Makes the context of a call that stops by this flag.
MakeContext = Callable[[Cancellation], StageContext]


@attrs.define(eq=False)  # there is one for each call: it takes three times as long to make one that is frozen
class Arguments:
    """What a stage is called with: the values of its inputs and of its variadic input, and what it is lent.

    `identities` tells what the values are known by; None if nothing is kept.
    """

    inputs: Mapping[str, Any]
    rest: tuple[Any, ...]
    lent: Mapping[str, Any]
    identities: Identities | None


def call(step: Step, given: Arguments, cancellation: Cancellation, context: MakeContext | None) -> tuple[Any, ...]:
    """The values of the output ports, after one call, or one for each item of the inputs that are mapped over.

    Args:
        step: of a plan.
        given: the arguments.
        cancellation: of the run.
        context: makes the context; None if the stage wants none.

    Raises:
        StageError: the stage failed, returned something else than it declares, or took too long.
        Cancelled: the run was cancelled, and the stage looked.
    """
    if step.node.timeout is None:
        return _called(step, given, cancellation, context)
    deadline = Deadline(cancellation, step.node.timeout)
    try:
        return _within(deadline, lambda: _called(step, given, deadline, context), step.node.name)
    except TimedOut as error:
        raise _wrapped(step, given, error) from error


def _within(deadline: Deadline, work: Callable[[], tuple[Any, ...]], node: str) -> tuple[Any, ...]:
    """Do work that may not stop when its time is over, in a thread that then can be left behind."""
    done = threading.Event()
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))
        done.set()

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name=f"stagegraph {node}", daemon=True).start()
    try:
        stopped = done.wait(deadline.left) or done.wait(GRACE)
    except BaseException:  # the user interrupted
        deadline.expire()
        raise
    if not stopped:
        fault = deadline.error(node).faults[0]
        why = "it does not look whether it is to stop (context.check_cancelled), so its thread is left behind"
        error = TimedOut(attrs.evolve(fault, why=why))
        error.retryable = False  # two of it would run at once
        raise error
    value, error = outcome.pop()
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]


def _called(step: Step, given: Arguments, cancellation: Cancellation, context: MakeContext | None) -> tuple[Any, ...]:
    name = step.node.spec.context
    if name is not None and context is not None:
        given = attrs.evolve(given, lent={**given.lent, name: context(cancellation)})
    return _for_each(step, given, cancellation) if step.node.map else _once(step, given, cancellation)


def _for_each(step: Step, given: Arguments, cancellation: Cancellation) -> tuple[Any, ...]:
    """One call for each item of the mapped inputs; every output is a list."""
    lengths = {name: len(given.inputs[name]) for name in step.node.map}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        what = f"{step.node.name} maps over lists of different lengths: {told}"
        raise _failure(step, given, Fault("invalid_value", what, where=step.node.name))
    columns: tuple[list[Any], ...] = tuple([] for _ in step.writes)
    for items in zip(*(given.inputs[name] for name in step.node.map), strict=True):
        cancellation.check(step.node.name)
        item = attrs.evolve(given, inputs={**given.inputs, **dict(zip(step.node.map, items, strict=True))})
        for column, value in zip(columns, _once(step, item, cancellation), strict=True):
            column.append(value)
    return columns


def _once(step: Step, given: Arguments, cancellation: Cancellation) -> tuple[Any, ...]:
    try:
        result = _invoke(step, given, cancellation)
    except (Cancelled, TimedOut):
        raise
    except StagegraphError as error:
        raise _wrapped(step, given, error) from error
    except Exception as error:
        what = f"{step.node.name} ({step.node.spec.id}) failed: {type(error).__name__}: {error}"
        failure = _failure(step, given, Fault("stage_failed", what, where=step.node.name))
        failure.retryable = isinstance(error, step.node.spec.retryable)
        raise failure from error
    return _outputs(step, given, result)


def _invoke(step: Step, given: Arguments, cancellation: Cancellation) -> Any:
    """Call `run`; what comes before a variadic input has to be given by position."""
    node = step.node
    if node.spec.is_variadic:
        ports = node.spec.inputs.values()
        before = [given.inputs.get(port.name, port.default) for port in ports if not port.variadic]
        result = node.stage.run(*before, *given.rest, **given.lent)
    elif given.lent:
        result = node.stage.run(**given.inputs, **given.lent)
    else:
        result = node.stage.run(**given.inputs)
    return _awaited(result, cancellation, step.node.name) if isinstance(result, CoroutineType) else result


def _awaited(coroutine: Coroutine[Any, Any, Any], cancellation: Cancellation, node: str) -> Any:
    """The result of an async stage, which has an event loop of its own: it runs in the thread of its step."""
    import asyncio  # as long to import as the rest of the engine

    async def main() -> Any:
        task, loop = asyncio.ensure_future(coroutine), asyncio.get_running_loop()

        def stop() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(task.cancel)

        limit = asyncio.timeout(cancellation.left if isinstance(cancellation, Deadline) else None)
        with cancellation.calling(stop):
            try:
                async with limit:
                    return await task
            except (asyncio.CancelledError, TimeoutError):
                if isinstance(cancellation, Deadline) and limit.expired():
                    raise cancellation.error(node) from None
                if task.cancelled():
                    cancellation.check(node)
                raise

    return asyncio.run(main())


def _wrapped(step: Step, given: Arguments, error: StagegraphError) -> StageError:
    """An error of the engine's kind as that of a stage; it keeps what it says of itself."""
    faults = [attrs.evolve(fault, where=fault.where or step.node.name) for fault in error.faults]
    failure = _failure(step, given, *faults)
    failure.exit_code = error.exit_code
    failure.retryable = error.retryable or isinstance(error, step.node.spec.retryable)
    return failure


def _failure(step: Step, given: Arguments, *faults: Fault) -> StageError:
    inputs = {argument: summary(given.inputs[argument]) for argument, _ in step.reads if argument in given.inputs}
    return StageError(*faults, node=step.node.name, stage=str(step.node.spec), inputs=inputs)


def _outputs(step: Step, given: Arguments, result: Any) -> tuple[Any, ...]:
    """The values of the output ports, checked against their types."""
    spec = step.node.spec
    if spec.single:
        if type(result) is not spec.returns and not holds(spec.returns, result):
            raise _wrong_output(step, given, spec.ports[0].name, spec.returns, result)
        return (result,)
    if spec.outputs and isinstance(result, spec.returns):
        values = [getattr(result, name) for name in spec.outputs]
    elif not spec.outputs and result is None:
        return ()
    else:
        raise _wrong_output(step, given, "its result", spec.returns, result)
    for port, value in zip(spec.ports, values, strict=True):
        if not holds(port.type, value):
            raise _wrong_output(step, given, port.name, port.type, value)
    return tuple(values)


def _wrong_output(step: Step, given: Arguments, name: str, wanted: Any, value: Any) -> StageError:
    node, spec = step.node.name, step.node.spec
    what = f"{node} ({spec.id}) declares {name} as {type_name(wanted)} but returned {summary(value)}"
    return _failure(step, given, Fault("stage_output", what, where=node))
