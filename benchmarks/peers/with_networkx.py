"""networkx: a DiGraph, its topological sort, and a loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import networkx as nx
from cases import Node, X, step

REQUIREMENTS = ["networkx", "numpy"]
IMPORT = "import networkx"
SETTING = "topological_sort once, then a loop over a dict of values; it has no executor"


class Sorted(NamedTuple):
    graph: Any
    order: list[tuple[str, tuple[str, ...]]]


def build(nodes: list[Node]) -> Sorted:
    graph = nx.DiGraph()
    for node in nodes:
        graph.add_node(node.name, inputs=node.inputs)
        graph.add_edges_from((name, node.name) for name in node.inputs if name != X)
    return _sorted(graph)


def grow(made: Sorted, node: Node) -> Sorted:
    made.graph.add_node(node.name, inputs=node.inputs)
    made.graph.add_edges_from((name, node.name) for name in node.inputs)
    return _sorted(made.graph)


def _sorted(graph: Any) -> Sorted:
    return Sorted(graph, [(name, graph.nodes[name]["inputs"]) for name in nx.topological_sort(graph)])


def run(made: Sorted, x: int) -> int:
    values = {X: x}
    for name, inputs in made.order:
        values[name] = step(*[values[other] for other in inputs])
    return values[made.order[-1][0]]


def payload(count: int, array: Any) -> Callable[[], Any]:
    order = list(nx.topological_sort(nx.path_graph(count + 1, create_using=nx.DiGraph)))

    def run() -> Any:
        values = {order[0]: array}
        for before, name in itertools.pairwise(order):
            values[name] = values[before]
        return values[order[-1]]

    return run
