"""A graph before it is bound: what the Python builder grows and what a manifest is read into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from stagegraph import manifest as manifests
from stagegraph.attempts import Retry
from stagegraph.components import Residency, component_spec_of
from stagegraph.errors import Fault, GraphError, Location, suggest
from stagegraph.graph.values import INPUTS, Graph, Input, Ref, Source
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


def embed(
    outer: Drafts, name: str, inner: Drafts, wires: Mapping[str, Wire], components: Mapping[str, str] | None = None
) -> None:
    """Put a graph into another as if it were a node.

    Its nodes are called `name/node` from then on; `name.output` refers to its outputs.

    Args:
        outer: the graph that grows.
        name: what the subgraph is called in it.
        inner: the subgraph; it is not changed.
        wires: what feeds its inputs; an input that nothing feeds takes its default.
        components: inner component -> component of the outer graph to use in its place.

    Raises:
        GraphError: a constant is fed to what must be a wire. What `wrong_wires` finds is for the caller to raise.
    """
    replaced = dict(components or {})
    for component, value in inner.components.items():
        if component not in replaced:
            outer.components[f"{name}/{component}"] = value
            if component in inner.places:
                outer.places[f"{name}/{component}"] = inner.places[component]
            if component in inner.residency:
                outer.residency[f"{name}/{component}"] = inner.residency[component]
            replaced[component] = f"{name}/{component}"

    def outside(wire: Wire) -> Wire:
        if isinstance(wire, list):
            fed = [outside(part) for part in wire]
            return [part for item in fed for part in (item if isinstance(item, list) else [item])]
        if not isinstance(wire, str):
            return wire
        node, _, port = wire.partition(".")
        if node != INPUTS:
            return f"{name}/{wire}"
        if port in wires:
            return wires[port]
        if port not in inner.inputs or inner.inputs[port].required:  # somebody else tells what is wrong
            outer.lost["nodes", f"{name}/{INPUTS}"] = ()
            return f"{name}/{wire}"
        return Value(inner.inputs[port].default)

    def gates(draft: Draft) -> dict[str, Gate]:
        kept = {port: attrs.evolve(gate, graph=f"{name}/{gate.graph}") for port, gate in draft.gates.items()}
        return kept | {port: Gate(name, inner.name, inner.inputs, fed) for port, fed in fed_from_outside(draft)}

    for node, draft in inner.nodes.items():
        outer.nodes[f"{name}/{node}"] = attrs.evolve(
            draft,
            gates=gates(draft),
            name=f"{name}/{node}",
            wires={port: outside(wire) for port, wire in draft.wires.items()},
            components={argument: replaced.get(c, c) for argument, c in _chosen(draft, inner).items()},
            when=_condition(outside(draft.when)) if isinstance(draft.when, str) else draft.when,
        )
    for subgraph, exports in inner.subgraphs.items():
        outer.subgraphs[f"{name}/{subgraph}"] = {output: f"{name}/{ref}" for output, ref in exports.items()}
    outer.subgraphs[name] = {output: _reference(outside(ref)) for output, ref in inner.outputs.items()}
    for (kind, part), fed in inner.lost.items():
        outer.lost[kind, f"{name}/{part}"] = tuple(references(map(outside, fed)))


def fed_from_outside(draft: Draft) -> Iterator[tuple[str, str]]:
    """The ports of a node that an input of its graph feeds, and the name of that input."""
    for port, wire in draft.wires.items():
        if isinstance(wire, str) and wire.startswith(f"{INPUTS}."):
            yield port, wire.removeprefix(f"{INPUTS}.")


def wrong_wires(name: str, inner: Drafts, wires: Mapping[str, Wire]) -> Iterator[tuple[str, Fault]]:
    """What is wrong with how a graph is used in another: the input, and what is wrong with it."""
    known = ", ".join(f"{i.name} {type_name(i.type)}" for i in inner.inputs.values()) or "none"
    for port in wires:
        if port not in inner.inputs:
            what = f'{name} ({inner.name}) has no input "{port}"'
            fix = suggest(port, inner.inputs) if inner.inputs else "it takes no inputs"
            yield port, Fault("unknown_port", what, why=f"its inputs: {known}", fix=fix)
    for i in inner.inputs.values():
        if i.required and i.name not in wires:
            what = f"{name} ({inner.name}): nothing feeds the input {i.name} {type_name(i.type)}"
            yield i.name, Fault("missing_input", what, why="it has no default")


def _chosen(draft: Draft, graph: Drafts) -> dict[str, str]:
    """The components of a node, with the only one that provides what it needs written out.

    Inside another graph there may be more that do, and the node keeps those that it was written for.
    """
    chosen = dict(draft.components)
    for argument in draft.spec.lent.values():
        providers = [
            name
            for name, component in graph.components.items()
            for part in component_spec_of(component).parts.values()
            if part.type is argument.type
        ]
        if argument.name not in chosen and len(providers) == 1:
            chosen[argument.name] = providers[0]
    return chosen


def _condition(wire: Wire) -> str | bool:
    return bool(wire.value) if isinstance(wire, Value) else _reference(wire)


def _reference(wire: Wire) -> str:
    if not isinstance(wire, str):
        raise GraphError(Fault("invalid_type", "a constant cannot be an output", fix="give a wire"))
    return wire


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
    return Manifest(
        stagegraph=manifests.VERSION,
        name=drafts.name,
        description=drafts.description,
        inputs={name: InputDecl(i.type_name, i.default, i.help) for name, i in drafts.inputs.items()},
        components={
            name: ComponentDecl(component_spec_of(component).kind, params(component), _residency(drafts, name))
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


def _residency(drafts: Drafts, component: str) -> Residency | dict[str, Residency] | None:
    said = drafts.residency.get(component)
    return dict(said) if isinstance(said, Mapping) else said


def _all_params(thing: Any) -> dict[str, Any]:
    return {field.name: unstructure(getattr(thing, field.name)) for field in attrs.fields(type(thing)) if field.init}
