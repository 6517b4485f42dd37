"""Calling a stage as the engine would, without the engine: what it is lent, and what it says while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from stagegraph.components import component, component_spec_of, part
from stagegraph.context import Cancellation, StageContext
from stagegraph.errors import Fault, GraphError
from stagegraph.events import NodeProgress
from stagegraph.pool import Pool
from stagegraph.ports import accepts, type_name
from stagegraph.stages import StageSpec, spec_of


@attrs.frozen
class Call:
    """A stage that has returned: its result, and the progress that it told."""

    result: Any
    progress: tuple[NodeProgress, ...]


def run_stage(
    stage: Any,
    /,
    *,
    lent: Mapping[str, Any] | None = None,
    components: Iterable[Any] = (),
    directory: Path | None = None,
    cancelled: bool = False,
    **inputs: Any,
) -> Call:
    """Call a stage with what its signature asks for.

    Args:
        stage: an instance, or a function that is a stage.
        lent: argument -> what stands in for the part of a component, such as a fake.
        components: components whose parts are loaded for the arguments that `lent` does not have, found by type.
        directory: the run's folder; the current one by default.
        cancelled: whether somebody has asked the run to stop before the stage is called.
        inputs: port -> value; a list of values for a variadic input.

    Raises:
        GraphError: an argument that nothing is lent for.
        Cancelled: the stage looked whether the run was cancelled.
    """
    return call_stage(stage, inputs, lent_to(stage, lent or {}, components, Pool()), directory, cancelled)


def call_stage(
    stage: Any,
    inputs: Mapping[str, Any],
    lent: Mapping[str, Any],
    directory: Path | None = None,
    cancelled: bool = False,
) -> Call:
    """`run_stage` for a stage whose ports are known as data: whatever their names, and with everything at hand."""
    spec = spec_of(stage)
    progress: list[NodeProgress] = []
    cancellation = Cancellation()
    if cancelled:
        cancellation.cancel()
    context = StageContext(
        node_name(spec),
        directory=directory or Path(),
        on_progress=lambda done, total, message: progress.append(NodeProgress("", context.node, done, total, message)),
        cancellation=cancellation,
    )
    lent = {**lent, **({spec.context: context} if spec.context is not None else {})}
    return Call(_called(stage, spec, inputs, lent), tuple(progress))


def _called(stage: Any, spec: StageSpec, inputs: Mapping[str, Any], lent: Mapping[str, Any]) -> Any:
    """Call `run`; what comes before a variadic input, whose values are a list, has to be given by position."""
    if not spec.is_variadic:
        return stage.run(**inputs, **lent)
    before = [inputs.get(port.name, port.default) for port in spec.inputs.values() if not port.variadic]
    rest = [value for port in spec.inputs.values() if port.variadic for value in inputs.get(port.name, ())]
    return stage.run(*before, *rest, **lent)


def node_name(spec: StageSpec) -> str:
    """What a node of this stage is called where nobody names it."""
    return spec.id.rpartition(".")[2]


def lent_to(stage: Any, given: Mapping[str, Any], components: Iterable[Any], pool: Pool) -> dict[str, Any]:
    """What a stage is lent, by argument: what is given, else the first part of a component that has its type."""
    spec = spec_of(stage)
    parts = parts_for(stage, components)
    lent, faults = dict(given), []
    for wanted in spec.lent.values():
        if wanted.name in lent:
            continue
        found = parts.get(wanted.name)
        if found is None:
            what = f"{spec.id} is lent {wanted.name} ({type_name(wanted.type)}), but nothing provides it"
            fix = f'give lent={{"{wanted.name}": ...}}, or a component that has such a part'
            faults.append(Fault("missing_component", what, fix=fix))
        else:
            lent[wanted.name] = pool.lend(*found)
    if faults:
        raise GraphError(*faults)
    return lent


def parts_for(stage: Any, components: Iterable[Any]) -> dict[str, tuple[Any, str]]:
    """The component and the part of it that a stage can be lent, by argument: the first that has the type."""
    parts = [(one, part) for one in components for part in component_spec_of(one).parts.values()]
    found = {
        wanted.name: next(((one, part.name) for one, part in parts if accepts(wanted.type, part.type)), None)
        for wanted in spec_of(stage).lent.values()
    }
    return {argument: part for argument, part in found.items() if part is not None}


def fake_component(parts: Mapping[Any, Any]) -> Any:
    """A component that lends what it is given, for graphs whose real components are too heavy for a test.

    Args:
        parts: type -> the object that stages asking for this type are lent.
    """

    def loader(type_: Any, thing: Any) -> Any:
        def load(self: Any) -> Any:
            return thing

        load.__annotations__["return"] = type_
        return load

    loaders: dict[str, Any] = {f"part_{number}": loader(*pair) for number, pair in enumerate(parts.items())}
    for name, method in loaders.items():
        method.__name__ = name
        part(method)
    fake: Any = component("testing.fake", version=1)(type("FakeComponent", (), loaders))
    return fake()
