"""stagegraph with what can be turned off turned off: nobody listens, and runs that keep outputs are not recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import with_stagegraph as shipped
from cases import Node, X

import stagegraph as sg
from stagegraph.artifacts import Codecs
from stagegraph.caching import Caching
from stagegraph.store import Store

REQUIREMENTS = ["stagegraph", "numpy"]
IMPORT = "import stagegraph"
SETTING = "Graph.run without a listener; types are checked all the same; in parallel Lanes(io=8); runs are not recorded"

build = shipped.build
grow = shipped.grow


def run(graph: sg.Graph, x: int) -> int:
    value: int = graph.run(x=x)["last"]
    return value


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    graph = build(nodes)
    return lambda x: graph.run(x=x, lanes=sg.Lanes(io=8))["last"]


def payload(count: int, array: Any) -> Callable[[], Any]:
    graph = sg.Graph("payload", registry=shipped.REGISTRY)
    wire: Any = graph.input(X, type(array))
    for _ in range(count):
        wire = graph.add(shipped.same, value=wire)
    graph.output("last", wire)
    return lambda: graph.run(x=array)["last"]


def cached(nodes: list[Node], folder: str) -> Callable[[int], int]:
    graph = shipped._graph(nodes, shipped.counted)
    caching = Caching(Store(Path(folder) / "store"), Codecs(), recorded=False)
    return lambda x: graph.run(x=x, caching=caching)["last"]
