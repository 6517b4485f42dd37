"""Nodes that write a file whose path is a setting: which there are, and how they are told another path.

A stage that writes a file says so by `writes` (see `facts`); it is a writer here if the path is its param `path`. One
that puts the run record into its file may have a param `embed_record` to leave it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from stagegraph.errors import Fault, GraphError
from stagegraph.graph import Graph, Node
from stagegraph.plan import Plan
from stagegraph.serde import StructureError, structure, unstructure

PATH: Final = "path"
RECORD: Final = "embed_record"


def writers(nodes: Iterable[Node]) -> list[Node]:
    """The nodes that write a file to their param `path`."""
    return [node for node in nodes if hasattr(node.stage, "writes") and PATH in node.spec.params]


def the_writer(plan: Plan, option: str) -> Node:
    """The one node of a plan that writes a file.

    Raises:
        GraphError: there is none, or several; `option` is what asks for it.
    """
    found = writers(step.node for step in plan.steps)
    if len(found) == 1:
        return found[0]
    if not found:
        raise GraphError(Fault("no_writer", f"{option} names a file, but no node of the run writes one"))
    told = ", ".join(node.name for node in found[:10]) + (", ..." if len(found) > 10 else "")
    what = f"{option} names one file, but {len(found)} nodes write one: {told}"
    settings = " ".join(f"--set {node.name}.{PATH}=..." for node in found)
    fix = f"leave it out, and they go to the run's folder; or {settings}" if "/" not in told else ""
    raise GraphError(Fault("no_writer", what, fix=fix or "leave it out, and they go to the run's folder"))


def with_params(graph: Graph, node: str, params: Mapping[str, Any], where: str = "") -> Graph:
    """The graph with some params of a node set to other values.

    Args:
        graph: what to change.
        node: the node.
        params: values as plain data, checked as those of a manifest are; `attrs.NOTHING` for the default.
        where: what sets them, for messages.

    Raises:
        GraphError: the stage does not take them.
    """
    return attrs.evolve(graph, nodes={**graph.nodes, node: _with_params(graph.nodes[node], params, where)})


def without_records(graph: Graph) -> Graph:
    """The graph in which no writer puts the run record into its file."""
    embedding = [node for node in writers(graph.nodes.values()) if RECORD in node.spec.params]
    changed = {node.name: _with_params(node, {RECORD: False}, "--no-metadata") for node in embedding}
    return attrs.evolve(graph, nodes={**graph.nodes, **changed})


def _with_params(node: Node, params: Mapping[str, Any], where: str) -> Node:
    written = {name: unstructure(getattr(node.stage, name)) for name in node.spec.params}
    data = {name: value for name, value in {**written, **params}.items() if value is not attrs.NOTHING}
    try:
        return attrs.evolve(node, stage=structure(data, node.spec.factory))
    except StructureError as error:
        owner = f"{node.name} ({node.spec.id})"
        raise GraphError(*(Fault(p.code, f"{owner}: {p.what}", where, p.why, p.fix) for p in error.problems)) from None
