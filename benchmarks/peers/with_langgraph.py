"""LangGraph: nodes that read and write a state, in supersteps."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from cases import Node, X, counted_step, work
from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy

REQUIREMENTS = ["langgraph", "numpy"]
IMPORT = "from langgraph.graph import StateGraph"
SETTING = (
    "one channel for chains, a dict with a merging reducer for others; no checkpointer; max_concurrency 8 in parallel; "
    "the cache is in memory"
)


class Value(TypedDict):
    """The state of a chain."""

    value: Any


class Values(TypedDict):
    """The state of any other graph: the value of each node."""

    values: Annotated[dict[str, int], operator.or_]


class Built:
    """A builder that can grow, and what was compiled of it."""

    def __init__(self, nodes: list[Node]) -> None:
        pairs = itertools.pairwise(nodes)
        self.is_chain = nodes[0].inputs == (X,) and all(after.inputs == (node.name,) for node, after in pairs)
        self.builder: Any = StateGraph(Value if self.is_chain else Values)
        self.compiled: Any = None
        self.count = len(nodes)
        self.last = nodes[-1].name

    def add(self, node: Node, do: Callable[..., int], **options: Any) -> None:
        self.builder.add_node(node.name, (_in_chain if self.is_chain else _in_graph)(node, do), **options)
        inputs = [START if name == X else name for name in node.inputs]
        self.builder.add_edge(inputs if len(inputs) > 1 else inputs[0], node.name)

    def run(self, x: int) -> int:
        config = {"recursion_limit": self.count + 10, "max_concurrency": 8}
        if self.is_chain:
            return int(self.compiled.invoke({"value": x}, config)["value"])
        return int(self.compiled.invoke({"values": {X: x}}, config)["values"][self.last])


def _in_chain(node: Node, do: Callable[..., int]) -> Callable[[Value], Value]:
    return lambda state: {"value": do(state["value"])}


def _in_graph(node: Node, do: Callable[..., int]) -> Callable[[Values], Values]:
    def call(state: Values) -> Values:
        values = state["values"]
        return {"values": {node.name: do(*[values[name] for name in node.inputs])}}

    return call


def build(nodes: list[Node]) -> Built:
    built = Built(nodes)
    for node in nodes:
        built.add(node, work(node))
    built.compiled = built.builder.compile()
    return built


def grow(built: Built, node: Node) -> Built:
    built.add(node, work(node))
    built.compiled = built.builder.compile()
    return built


def run(built: Built, x: int) -> int:
    return built.run(x)


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    return build(nodes).run


def payload(count: int, array: Any) -> Callable[[], Any]:
    builder: Any = StateGraph(Value)
    for i in range(count):
        builder.add_node(f"n{i}", _same)
        builder.add_edge(f"n{i - 1}" if i else START, f"n{i}")
    compiled = builder.compile()
    return lambda: compiled.invoke({"value": array}, {"recursion_limit": count + 10})["value"]


def _same(state: Value) -> Value:
    return {"value": state["value"]}


def cached(nodes: list[Node], folder: str) -> Callable[[int], int]:
    built = Built(nodes)
    for node in nodes:
        built.add(node, counted_step, cache_policy=CachePolicy())
    built.compiled = built.builder.compile(cache=InMemoryCache())
    return built.run
