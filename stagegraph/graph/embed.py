"""A graph inside another: its nodes become nodes of the outer graph, and its inputs gates through which wires come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from stagegraph.components import component_spec_of, exchanged, held_by
from stagegraph.errors import Fault, GraphError, suggest
from stagegraph.graph.drafts import Draft, Drafts, Gate, Wire, references
from stagegraph.graph.values import INPUTS, name_of
from stagegraph.manifest import Value
from stagegraph.ports import type_name


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
        GraphError: a constant is fed to what must be a wire; a component that another one holds is to be replaced by
            one of another kind. What `wrong_wires` finds is for the caller to raise.
    """
    replaced = dict(components or {})
    _check_held(name, inner, replaced, outer)
    exchanges = {old: outer.components[new] for old, new in replaced.items() if new in outer.components}
    for component, value in exchanged(inner.components, exchanges).items():
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


def _check_held(name: str, inner: Drafts, replaced: Mapping[str, str], outer: Drafts) -> None:
    """Components that others hold are replaced by those of their kind."""
    faults = []
    for holder, component in inner.components.items():
        for param, held in held_by(component).items():
            old = name_of(held, inner.components)
            new = replaced.get(old or "")
            if new not in outer.components or component_spec_of(outer.components[new]) is component_spec_of(held):
                continue
            what = f"{new} is to be {param} of {holder} in {name}, but is of kind {_kind(outer.components[new])}"
            faults.append(Fault("type_mismatch", what, why=f"{param} is a component of kind {_kind(held)}"))
    if faults:
        raise GraphError(*faults)


def _kind(component: object) -> str:
    return component_spec_of(component).kind


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
            if part.type is argument.type and part.over is None
        ]
        if argument.name not in chosen and len(providers) == 1:
            chosen[argument.name] = providers[0]
    return chosen


def _condition(wire: Wire) -> str | bool:
    return wire.value is not None and wire.value is not False if isinstance(wire, Value) else _reference(wire)


def _reference(wire: Wire) -> str:
    if not isinstance(wire, str):
        raise GraphError(Fault("invalid_type", "a constant cannot be an output", fix="give a wire"))
    return wire
