"""dask: a graph of tasks, run by its synchronous and its threaded scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cases import Node, X, work
from dask._task_spec import Task, TaskRef
from dask.local import get_sync
from dask.threaded import get as get_threaded

REQUIREMENTS = ["dask", "numpy"]
IMPORT = "import dask.threaded, dask.local"
SETTING = "graphs of Tasks given to a scheduler; get_sync, its cheapest, one after another; in parallel threaded.get, 8"


class Tasks(NamedTuple):
    tasks: dict[str, Any]
    last: str


def build(nodes: list[Node]) -> Tasks:
    return Tasks({node.name: _task(node) for node in nodes}, nodes[-1].name)


def _task(node: Node) -> Task:
    return Task(node.name, work(node), *(TaskRef(name) for name in node.inputs))


def run(graph: Tasks, x: int) -> int:
    value: int = get_sync({X: x, **graph.tasks}, graph.last)
    return value


def parallel(nodes: list[Node]) -> Callable[[int], int]:
    graph = build(nodes)
    return lambda x: get_threaded({X: x, **graph.tasks}, graph.last, num_workers=8)


def payload(count: int, array: Any) -> Callable[[], Any]:
    tasks = {f"n{i}": Task(f"n{i}", _same, TaskRef(f"n{i - 1}" if i else X)) for i in range(count)}
    return lambda: get_sync({X: array, **tasks}, f"n{count - 1}")


def _same(array: Any) -> Any:
    return array
