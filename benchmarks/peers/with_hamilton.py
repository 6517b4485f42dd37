"""Hamilton: functions whose names are nodes and whose arguments are wires."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ["HAMILTON_TELEMETRY_ENABLED"] = "false"

import numpy
from cases import Node, X, counted_step, work
from hamilton import ad_hoc_utils, driver
from hamilton.plugins.h_threadpool import FutureAdapter

REQUIREMENTS = ["apache-hamilton", "numpy"]
IMPORT = "from hamilton import driver"
SETTING = (
    "recursion limit raised to 1,000,000, without which chains of 1,000 fail; in parallel FutureAdapter, 8 workers"
)

sys.setrecursionlimit(1_000_000)


class Built(NamedTuple):
    driver: Any
    modules: tuple[Any, ...]
    last: str


def prepare(nodes: list[Node]) -> tuple[Any, str]:
    """The module that a person writes: a function for each node."""
    return _module(nodes), nodes[-1].name


def _module(nodes: list[Node], counted: bool = False) -> Any:
    functions = []
    for node in nodes:
        takes = ", ".join(f"{name}: int" for name in node.inputs)
        namespace: dict[str, Any] = {"work": counted_step if counted else work(node)}
        exec(f"def {node.name}({takes}) -> int:\n    return work({', '.join(node.inputs)})", namespace)
        functions.append(namespace[node.name])
    return ad_hoc_utils.create_temporary_module(*functions)


def build(prepared: tuple[Any, str]) -> Built:
    module, last = prepared
    return Built(driver.Builder().with_modules(module).build(), (module,), last)


def grow(built: Built, node: Node) -> Built:
    modules = (*built.modules, _module([node]))
    return Built(driver.Builder().with_modules(*modules).build(), modules, node.name)


def run(built: Built, x: int) -> int:
    value: int = built.driver.execute([built.last], inputs={X: x})[built.last]
    return value


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    module, last = prepare(nodes)
    made = driver.Builder().with_modules(module).with_adapters(FutureAdapter(max_workers=8)).build()
    return lambda x: made.execute([last], inputs={X: x})[last]


def payload(count: int, array: Any) -> Callable[[], Any]:
    functions = []
    for i in range(count):
        before = f"n{i - 1}" if i else X
        namespace: dict[str, Any] = {"Array": numpy.ndarray}
        exec(f"def n{i}({before}: Array) -> Array:\n    return {before}", namespace)
        functions.append(namespace[f"n{i}"])
    made = driver.Builder().with_modules(ad_hoc_utils.create_temporary_module(*functions)).build()
    return lambda: made.execute([f"n{count - 1}"], inputs={X: array})[f"n{count - 1}"]


def cached(nodes: list[Node], folder: str) -> Callable[[int], int]:
    last = nodes[-1].name
    made = driver.Builder().with_modules(_module(nodes, counted=True)).with_cache(path=folder).build()
    return lambda x: made.execute([last], inputs={X: x})[last]
