"""A graph before it is bound: what the Python builder grows and what a manifest is read into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from stagegraph import manifest as manifests
from stagegraph.attempts import Retry
from stagegraph.components import Residency, component_spec_of, held_by
from stagegraph.errors import Fault, GraphError, Location
from stagegraph.graph.values import OUTPUTS, Graph, Input, Ref, Source, name_of
from stagegraph.manifest import ComponentDecl, InputDecl, Manifest, NodeDecl, Value
from stagegraph.ports import type_name
from stagegraph.serde import Path, unstructure
from stagegraph.stages import StageSpec

#: What feeds an input, as written: references, and constants.
Wire = str | Value | list[str | Value]
#: Where a part of a node was written: (path inside the node, whether its key is meant) -> place.
Place = Callable[[Path, bool], Location | None]


@attrs.frozen
class Gate:
    """An input of an embedded graph, through which something comes from outside: the graph, by its names, and which."""

    graph: str
    title: str
    inputs: Mapping[str, Input] = attrs.field(repr=False)
    port: str


@attrs.define
class Draft:
    """A node before it is bound: its wires are references as written, `components` is argument -> component name.

    `gates` are the inputs of its graph through which its own are fed, where that graph is embedded in another.
    """

    name: str
    spec: StageSpec
    stage: Any
    wires: dict[str, Wire] = attrs.field(factory=dict)
    components: dict[str, str] = attrs.field(factory=dict)
    when: str | bool = True
    map: tuple[str, ...] = ()
    timeout: float | None = None
    retry: Retry | None = None
    gates: dict[str, Gate] = attrs.field(factory=dict, eq=False, repr=False)
    place: Place | None = attrs.field(default=None, eq=False, repr=False)


@attrs.define
class Drafts:
    """A whole graph before it is bound.

    Attributes:
        carry: input -> `outputs.name`, whose value it takes in the next run of a session.
        subgraphs: for each embedded graph, what its outputs refer to.
        places: where parts of the components of embedded graphs were written, by component.
        lost: what could not be made, by its path, and the references that it was fed.
        loose: these references by the path where each was written; of embedded graphs they have been looked at.
    """

    name: str
    description: str = ""
    inputs: dict[str, Input] = attrs.field(factory=dict)
    components: dict[str, Any] = attrs.field(factory=dict)
    nodes: dict[str, Draft] = attrs.field(factory=dict)
    outputs: dict[str, str] = attrs.field(factory=dict)
    carry: dict[str, str] = attrs.field(factory=dict)
    subgraphs: dict[str, dict[str, str]] = attrs.field(factory=dict)
    residency: dict[str, Residency | Mapping[str, Residency]] = attrs.field(factory=dict)
    places: dict[str, Place] = attrs.field(factory=dict, eq=False, repr=False)
    lost: dict[Path, tuple[str, ...]] = attrs.field(factory=dict, eq=False, repr=False)
    loose: dict[Path, str] = attrs.field(factory=dict, eq=False, repr=False)


def references(wires: Iterable[Wire | bool]) -> Iterator[str]:
    """The references among wires as they are written."""
    for wire in wires:
        if isinstance(wire, str):
            yield wire
        elif isinstance(wire, list):
            yield from references(wire)


def to_manifest(drafts: Drafts, *, with_defaults: bool = False) -> Manifest:
    """Write a graph down. Embedded graphs stand in it node by node.

    Args:
        drafts: the graph.
        with_defaults: also write params that are at their default, and the versions of stages, so that later releases
            make the same graph of it.

    Raises:
        GraphError: the type of an input has no registered name.
    """
    faults = [
        Fault(
            "unknown_type",
            f"input {i.name} is of type {type_name(i.type)}, which no plugin names",
            fix="register it with the hook stagegraph_types",
        )
        for i in drafts.inputs.values()
        if not i.type_name
    ]
    if faults:
        raise GraphError(*faults)
    params = _all_params if with_defaults else unstructure
    held = {name: _held(component, drafts.components) for name, component in drafts.components.items()}
    return Manifest(
        stagegraph=manifests.VERSION,
        name=drafts.name,
        description=drafts.description,
        inputs={name: InputDecl(i.type_name, i.default, i.help) for name, i in drafts.inputs.items()},
        components={
            name: ComponentDecl(
                component_spec_of(component).kind, {**params(component), **held[name]}, _residency(drafts, name)
            )
            for name, component in drafts.components.items()
        },
        nodes={
            name: NodeDecl(
                stage=str(draft.spec) if with_defaults else draft.spec.id,
                params=params(draft.stage),
                inputs={port: _written(drafts, wire) for port, wire in draft.wires.items()},
                components=dict(draft.components),
                when=_written(drafts, draft.when),
                map=draft.map,
                timeout=draft.timeout,
                retry=draft.retry,
            )
            for name, draft in drafts.nodes.items()
        },
        outputs={name: _written(drafts, ref) for name, ref in drafts.outputs.items()},
        carry=dict(drafts.carry),
    )


def to_drafts(graph: Graph) -> Drafts:
    """A bound graph as drafts, every reference written out."""
    nodes = {
        node.name: Draft(
            node.name,
            node.spec,
            node.stage,
            {port: _wire(source) for port, source in node.inputs.items()},
            {argument: part.component for argument, part in node.lent.items()},
            str(node.when) if isinstance(node.when, Ref) else node.when is None or bool(node.when.value),
            node.map,
            node.timeout,
            node.retry,
        )
        for node in graph.nodes.values()
    }
    outputs = {name: str(ref) for name, ref in graph.outputs.items()}
    return Drafts(
        graph.name,
        graph.description,
        dict(graph.inputs),
        dict(graph.components),
        nodes,
        outputs,
        carry={name: f"{OUTPUTS}.{output}" for name, output in graph.carry.items()},
        residency=dict(graph.residency),
    )


def _wire(source: Source) -> Wire:
    if isinstance(source, tuple):
        return [str(part) if isinstance(part, Ref) else Value(part.value) for part in source]
    return str(source) if isinstance(source, Ref) else Value(source.value)


def _written(drafts: Drafts, wire: Any) -> Any:
    """A wire without references to subgraphs, which a flat manifest does not have."""
    if isinstance(wire, list):
        return [_written(drafts, part) for part in wire]
    if not isinstance(wire, str):
        return wire
    node, dot, port = wire.partition(".")
    exports = drafts.subgraphs.get(node)
    if exports is None:
        return wire
    return _written(drafts, exports[port] if dot else next(iter(exports.values())))


def _held(component: Any, components: Mapping[str, Any]) -> dict[str, str]:
    """The names of the components that a component holds, by param."""
    return {param: name for param, one in held_by(component).items() if (name := name_of(one, components))}


def _residency(drafts: Drafts, component: str) -> Residency | dict[str, Residency] | None:
    said = drafts.residency.get(component)
    return dict(said) if isinstance(said, Mapping) else said


def _all_params(thing: Any) -> dict[str, Any]:
    return {field.name: unstructure(getattr(thing, field.name)) for field in attrs.fields(type(thing)) if field.init}
