"""stagegraph as it is shipped: types checked, a listener that is told every event, what its record needs kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from cases import Node, X, counted_step, slow_step, step

import stagegraph as sg
from stagegraph.artifacts import Codecs
from stagegraph.caching import Caching
from stagegraph.events import Event
from stagegraph.store import Store

REQUIREMENTS = ["stagegraph", "numpy"]
IMPORT = "from stagegraph import Graph, stage"
SETTING = "Graph.run with a listener of events; in parallel Lanes(io=8); the cache is a Store on disk and records runs"


@sg.stage("bench.step", version=1)
def one(value: int) -> int:
    """Take one value."""
    return step(value)


@sg.stage("bench.join", version=1)
def join(*values: int) -> int:
    """Take any number of values."""
    return step(*values)


@sg.stage("bench.slow_step", version=1, lane="io")
class SlowStep:
    """Sleep first."""

    seconds: float = sg.param()

    def run(self, value: int) -> int:
        return slow_step(self.seconds, value)


@sg.stage("bench.counted_step", version=1)
def counted(value: int) -> int:
    """Take one value, and count the calls."""
    return counted_step(value)


@sg.stage("bench.same", version=1)
def same(value: numpy.ndarray) -> numpy.ndarray:
    """Give an array back."""
    return value


REGISTRY = sg.Registry.of(one, join, SlowStep, counted, same)


def build(nodes: list[Node]) -> sg.Graph:
    graph = _graph(nodes, one)
    graph.plan()
    return graph


def _graph(nodes: list[Node], stage: Any) -> sg.Graph:
    graph = sg.Graph("bench", registry=REGISTRY)
    wires: dict[str, Any] = {X: graph.input(X, int)}
    for node in nodes:
        if len(node.inputs) == 1:
            made = SlowStep(seconds=node.seconds) if node.seconds else stage
            wires[node.name] = graph.add(made, name=node.name, value=wires[node.inputs[0]])
        else:
            wires[node.name] = graph.add(join, name=node.name, values=[wires[name] for name in node.inputs])
    graph.output("last", wires[nodes[-1].name])
    return graph


def grow(graph: sg.Graph, node: Node) -> sg.Graph:
    graph.add(one, name=node.name, value=graph.node(node.inputs[0]))
    graph.plan()
    return graph


def run(graph: sg.Graph, x: int) -> int:
    value: int = graph.run(x=x, on_event=_listen)["last"]
    return value


def _listen(event: Event) -> None:
    """Somebody watches."""


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    graph = build(nodes)
    return lambda x: graph.run(x=x, on_event=_listen, lanes=sg.Lanes(io=8))["last"]


def payload(count: int, array: Any) -> Callable[[], Any]:
    graph = sg.Graph("payload", registry=REGISTRY)
    wire: Any = graph.input(X, numpy.ndarray)
    for _ in range(count):
        wire = graph.add(same, value=wire)
    graph.output("last", wire)
    return lambda: graph.run(x=array, on_event=_listen)["last"]


def cached(nodes: list[Node], folder: str) -> Callable[[int], int]:
    graph = _graph(nodes, counted)
    store = Store(Path(folder) / "store")
    caching = Caching(store, Codecs())
    return lambda x: graph.run(x=x, on_event=_listen, caching=caching, directory=Path(folder) / "run")["last"]
