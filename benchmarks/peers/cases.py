"""The graphs that every engine runs, and the work in them. Needs the standard library alone."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

#: The name of the one input of every graph.
X = "x"


class Node(NamedTuple):
    """A node: what it is called, what it takes (other nodes, or `x`), and how long it sleeps."""

    name: str
    inputs: tuple[str, ...]
    seconds: float = 0.0


class Adapter(Protocol):
    """What the file of an engine has. What is None, the engine does not offer."""

    REQUIREMENTS: list[str]  # what pip installs
    IMPORT: str  # what a program that builds and runs a graph begins with
    SETTING: str  # which of the engine's options are used, and why they are its best
    prepare: Callable[[list[Node]], Any] | None  # nodes as `build` takes them; what a person writes by hand, not timed
    build: Callable[[Any], Any]  # a graph that is ready to run, checked as far as the engine checks
    grow: Callable[[Any, Node], Any] | None  # one more node, and the whole checked again
    run: Callable[[Any, int], int]  # one node after another where the engine can; the value of the last node
    parallel: Callable[[list[Node]], Callable[[int], int]] | None  # what is independent runs at once, 8 at most
    payload: Callable[[int, Any], Callable[[], Any]] | None  # an array through so many nodes that give it back
    cached: Callable[[list[Node], str], Callable[[int], int]] | None  # outputs are kept, in a folder if they outlive it


def step(*values: int) -> int:
    """The work of every node: one more than the largest of what it takes."""
    return max(values) + 1


def slow_step(seconds: float, *values: int) -> int:
    """The same, after a sleep."""
    time.sleep(seconds)
    return max(values) + 1


def work(node: Node) -> Callable[..., int]:
    """What a node does."""
    return functools.partial(slow_step, node.seconds) if node.seconds else step


class Counter:
    """How often nodes were called that should come out of a cache."""

    calls = 0


def counted_step(*values: int) -> int:
    """The work of every node of which outputs are kept."""
    Counter.calls += 1
    return max(values) + 1


def expected(nodes: list[Node], x: int) -> int:
    """The value of the last node."""
    values = {X: x}
    for node in nodes:
        values[node.name] = max(values[name] for name in node.inputs) + 1
    return values[nodes[-1].name]


def chain(count: int) -> list[Node]:
    """Each node takes the one before."""
    return [Node(f"n{i}", (f"n{i - 1}" if i else X,)) for i in range(count)]


def fan(count: int) -> list[Node]:
    """Nodes side by side, and one that takes them all."""
    wide = [Node(f"n{i}", (X,)) for i in range(count)]
    return [*wide, Node("last", tuple(node.name for node in wide))]


def random_dag(count: int, probability: float = 0.01) -> list[Node]:
    """Every pair is joined with the same probability; the last node takes whatever nothing else takes."""
    chance = random.Random(0)
    names = [f"n{i}" for i in range(count)]
    taken = [tuple(other for other in names[:i] if chance.random() < probability) for i in range(count)]
    loose = sorted({*names} - {name for inputs in taken for name in inputs}, key=names.index)
    nodes = [Node(name, inputs or (X,)) for name, inputs in zip(names, taken, strict=True)]
    return [*nodes, Node("last", tuple(loose))]


def sleepers(count: int, seconds: float) -> list[Node]:
    """Nodes side by side that sleep, and one that takes them all."""
    wide = [Node(f"n{i}", (X,), seconds) for i in range(count)]
    return [*wide, Node("last", tuple(node.name for node in wide))]


def barrier(unit: float) -> list[Node]:
    """A (1 unit) then A2 (4 units), beside B (4 units): 5 units if A2 does not wait for B."""
    return [
        Node("a", (X,), unit),
        Node("b", (X,), 4 * unit),
        Node("a2", ("a",), 4 * unit),
        Node("last", ("a2", "b")),
    ]
