"""Runs in which several processes share what a component lends: `--nproc N`, or started together by torchrun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from stagegraph import manifest as manifests
from stagegraph.errors import Fault, UsageError
from stagegraph.graph import Graph
from stagegraph.manifest import Manifest
from stagegraph.ranks import world
from stagegraph.registry import Registry

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


def spread(manifest: Manifest, nproc: int | None, registry: Registry) -> Manifest:
    """The manifest with `nproc` set for all components that have it, to what is asked for or was started.

    Raises:
        UsageError: no component has it, or another number of processes was started.
    """
    started = world()
    if nproc is not None and started is not None and nproc != started.size:
        what = f"--nproc is {nproc}, but {started.size} processes were started together"
        raise UsageError(Fault("usage", what, fix="leave --nproc to the launcher, or start without one"))
    count = nproc if started is None else started.size
    if count is None:
        return manifest
    kinds = {name: registry.components.get(declaration.kind) for name, declaration in manifest.components.items()}
    shared = [name for name, spec in kinds.items() if spec is not None and "nproc" in spec.params]
    if not shared:
        what = f"no component of {manifest.name} is shared between processes"
        fix = "leave --nproc out" if started is None else "start a single process"
        raise UsageError(Fault("usage", what, why="those with a param nproc are", fix=fix))
    return manifests.override(manifest, {f"{name}.nproc": count for name in shared})


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


def is_first() -> bool:
    """Whether this process is the one that talks to people."""
    started = world()
    return started is None or not started.rank


def _shared(graph: Graph) -> Any:
    """A component that the processes share; `spread` has seen to it that there is one."""
    return next(component for component in graph.components.values() if hasattr(component, "serve"))
