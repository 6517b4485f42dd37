"""Runs in which several processes share what a component lends: `--nproc N`, or started together by torchrun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import attrs
import typer

from stagegraph.components import component_spec_of, exchanged
from stagegraph.errors import Fault, Location, UsageError
from stagegraph.graph import Graph
from stagegraph.ranks import world

NprocOption = Annotated[
    int | None,
    typer.Option(
        "--nproc",
        metavar="N",
        min=1,
        help="Share the heaviest work between N processes, each on a GPU of its own: sets nproc of the components that "
        "have it.",
    ),
]


def spread(graph: Graph, nproc: int | None) -> Graph:
    """The graph with `nproc` set for all components that have it, to what is asked for or was started.

    Raises:
        UsageError: no component has it, or one does not take that many, or another number of processes was started.
    """
    started = world()
    if nproc is not None and started is not None and nproc != started.size:
        what = f"--nproc is {nproc}, but {started.size} processes were started together"
        raise UsageError(Fault("usage", what, fix="leave --nproc to the launcher, or start without one"))
    count = nproc if started is None else started.size
    if count is None:
        return graph
    shared = {name: c for name, c in graph.components.items() if "nproc" in component_spec_of(c).params}
    if not shared:
        what = f"no component of {graph.name} is shared between processes"
        fix = "leave --nproc out" if started is None else "start a single process"
        raise UsageError(Fault("usage", what, why="those with a param nproc are", fix=fix))
    changed = {name: _of_so_many(component, count) for name, component in shared.items()}
    where = dict.fromkeys(shared, Location(f"--nproc {count}" if started is None else f"{count} processes"))
    components, locations = exchanged(graph.components, changed), {**graph.locations, **where}
    return attrs.evolve(graph, components=components, locations=locations)


def served(graph: Graph) -> bool:
    """Lend rank 0 a hand until it is done, if this process is another rank; False if it is to run the graph."""
    started = world()
    if started is None or not started.rank:
        return False
    _shared(graph).serve()
    return True


@contextmanager
def leading(graph: Graph) -> Iterator[None]:
    """Run a graph as the only process, or as rank 0, which lets the others go in the end."""
    try:
        yield
    finally:
        if world() is not None:
            _shared(graph).dismiss()


def _of_so_many(component: Any, count: int) -> Any:
    try:
        return attrs.evolve(component, nproc=count)
    except ValueError as error:
        raise UsageError(Fault("invalid_value", str(error), f"--nproc {count}")) from None


def _shared(graph: Graph) -> Any:
    """A component that the processes share; `spread` has seen to it that there is one."""
    return next(component for component in graph.components.values() if hasattr(component, "serve"))
