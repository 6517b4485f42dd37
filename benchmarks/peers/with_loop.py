"""graphlib: the sorter of the standard library, and a loop. No checks, no events: the floor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from typing import Any

from cases import Node, X, step, work

REQUIREMENTS = ["numpy"]
IMPORT = "import graphlib"
SETTING = "static_order and a loop over a dict of values; in parallel get_ready and a ThreadPoolExecutor of 8"


def build(nodes: list[Node]) -> list[Node]:
    by_name = {node.name: node for node in nodes}
    sorter = TopologicalSorter({node.name: [name for name in node.inputs if name != X] for node in nodes})
    return [by_name[name] for name in sorter.static_order()]


def grow(order: list[Node], node: Node) -> list[Node]:
    order.append(node)
    return build(order)


def run(order: list[Node], x: int) -> int:
    values = {X: x}
    for node in order:
        values[node.name] = step(*[values[name] for name in node.inputs])
    return values[order[-1].name]


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    by_name = {node.name: node for node in nodes}
    edges = {node.name: [name for name in node.inputs if name != X] for node in nodes}

    def run(x: int) -> int:
        values = {X: x}
        sorter = TopologicalSorter(edges)
        sorter.prepare()
        names: dict[Future[int], str] = {}
        with ThreadPoolExecutor(8) as threads:
            while sorter.is_active():
                for name in sorter.get_ready():
                    node = by_name[name]
                    given = [values[other] for other in node.inputs]
                    names[threads.submit(work(node), *given)] = name
                for future in wait(names, return_when=FIRST_COMPLETED).done:
                    name = names.pop(future)
                    values[name] = future.result()
                    sorter.done(name)
        return values[nodes[-1].name]

    return run


def payload(count: int, array: Any) -> Callable[[], Any]:
    def run() -> Any:
        values = {0: array}
        for i in range(count):
            values[i + 1] = values[i]
        return values[count]

    return run
