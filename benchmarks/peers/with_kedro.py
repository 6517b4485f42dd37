"""Kedro: nodes between the datasets of a catalog."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ["KEDRO_DISABLE_TELEMETRY"] = "1"

from cases import Node, X, work
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node as kedro_node
from kedro.pipeline import pipeline
from kedro.runner import SequentialRunner, ThreadRunner

REQUIREMENTS = ["kedro", "numpy"]
IMPORT = "from kedro.pipeline import pipeline; from kedro.runner import SequentialRunner; import kedro.io"
SETTING = (
    "SequentialRunner; in parallel ThreadRunner with 8 workers; every dataset is a MemoryDataset with copy_mode "
    '"assign", which copies nothing (by default it copies); logging off'
)

logging.getLogger("kedro").setLevel(logging.ERROR)


class Built(NamedTuple):
    pipeline: Any
    last: str


def build(nodes: list[Node]) -> Built:
    return Built(pipeline([_node(node) for node in nodes]), nodes[-1].name)


def _node(node: Node) -> Any:
    return kedro_node(work(node), list(node.inputs), node.name, name=f"make_{node.name}")


def grow(built: Built, node: Node) -> Built:
    return Built(built.pipeline + pipeline([_node(node)]), node.name)


def run(built: Built, x: int) -> int:
    return int(_run(SequentialRunner(), built, x))


def _run(runner: Any, built: Built, x: Any) -> Any:
    catalog = DataCatalog.from_config({"{name}": {"type": "MemoryDataset", "copy_mode": "assign"}})
    catalog[X] = MemoryDataset(x, copy_mode="assign")
    return runner.run(built.pipeline, catalog)[built.last].load()


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    built = build(nodes)
    return lambda x: int(_run(ThreadRunner(max_workers=8), built, x))


def payload(count: int, array: Any) -> Callable[[], Any]:
    nodes = [kedro_node(_same, f"n{i - 1}" if i else X, f"n{i}", name=f"make_n{i}") for i in range(count)]
    built = Built(pipeline(nodes), f"n{count - 1}")
    return lambda: _run(SequentialRunner(), built, array)


def _same(array: Any) -> Any:
    return array
