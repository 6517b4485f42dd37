"""Haystack: components with typed sockets in a pipeline."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"

import numpy
from cases import Node, X, step, work
from haystack import Pipeline, component
from haystack.core.component.types import Variadic

REQUIREMENTS = ["haystack-ai", "numpy"]
IMPORT = "from haystack import Pipeline, component"
SETTING = "Pipeline.run; in parallel run_async with concurrency_limit=8; max_runs_per_component as by default"


@component
class Step:
    """Takes one value."""

    def __init__(self, work: Callable[..., int]) -> None:
        self.work = work

    @component.output_types(value=int)  # type: ignore[untyped-decorator]
    def run(self, value: int) -> dict[str, int]:
        return {"value": self.work(value)}


@component
class Join:
    """Takes any number of values."""

    @component.output_types(value=int)  # type: ignore[untyped-decorator]
    def run(self, value: Variadic[int]) -> dict[str, int]:
        return {"value": step(*value)}


@component
class Same:
    """Gives an array back."""

    @component.output_types(value=numpy.ndarray)  # type: ignore[untyped-decorator]
    def run(self, value: numpy.ndarray) -> dict[str, Any]:
        return {"value": value}


class Built(NamedTuple):
    pipeline: Any
    sources: list[str]
    last: str

    def data(self, x: int) -> dict[str, Any]:
        return {name: {"value": x} for name in self.sources}


def build(nodes: list[Node]) -> Built:
    pipeline = Pipeline()
    for node in nodes:
        _add(pipeline, node)
    return Built(pipeline, [node.name for node in nodes if node.inputs == (X,)], nodes[-1].name)


def _add(pipeline: Any, node: Node) -> None:
    pipeline.add_component(node.name, Step(work(node)) if len(node.inputs) == 1 else Join())
    for name in node.inputs:
        if name != X:
            pipeline.connect(f"{name}.value", f"{node.name}.value")


def grow(built: Built, node: Node) -> Built:
    _add(built.pipeline, node)
    return built


def run(built: Built, x: int) -> int:
    value: int = built.pipeline.run(built.data(x))[built.last]["value"]
    return value


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    built = build(nodes)

    def run(x: int) -> int:
        outputs = asyncio.run(built.pipeline.run_async(built.data(x), concurrency_limit=8))
        value: int = outputs[built.last]["value"]
        return value

    return run


def payload(count: int, array: Any) -> Callable[[], Any]:
    pipeline = Pipeline()
    for i in range(count):
        pipeline.add_component(f"n{i}", Same())
        if i:
            pipeline.connect(f"n{i - 1}.value", f"n{i}.value")
    return lambda: pipeline.run({"n0": {"value": array}})[f"n{count - 1}"]["value"]
