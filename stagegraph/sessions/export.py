"""A graph that joins what the segments of a session left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stagegraph import builder
from stagegraph.errors import Fault, SessionError, suggest
from stagegraph.graph import Graph
from stagegraph.registry import Registry
from stagegraph.sessions.folder import SessionFolder
from stagegraph.stages import spec_of


def exporting(
    folder: SessionFolder,
    target: Path,
    registry: Registry,
    output: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Graph:
    """The graph whose one node writes the whole.

    Args:
        folder: of the session.
        target: the file to write; its ending says how.
        registry: what joins files.
        output: which output of the segments; not needed if one alone is a file of this kind.
        params: of the stage that joins, beside its path.

    Raises:
        SessionError: there is no segment, one is missing, it is not clear of which output, or nothing joins such files.
        GraphError: the stage does not take these params.
    """
    joiner = registry.joiners.get(target.suffix.lower())
    if joiner is None:
        what = f"no installed plugin joins segments to {target.name}"
        known = ", ".join(sorted(registry.joiners))
        raise SessionError(Fault("no_joiner", what, fix=f"name a file that ends in {known}" if known else ""))
    files = folder.files()
    if not files:
        what = f"the segments of {folder.path} left no files" if folder.made() else f"{folder.path} has no segments yet"
        raise SessionError(Fault("no_segment", what))
    name = _output(folder, files, joiner.suffixes, output)
    spec = spec_of(joiner.stage)
    graph = builder.Graph("session/export", registry=registry)
    port = next(port for port, told in spec.inputs.items() if told.variadic)
    node = graph.add(spec.id, name="join", params={**(params or {}), "path": str(target)})
    parts: builder.Feed = [builder.constant(str(part)) for part in files[name]]
    node.wire(**{port: parts})
    graph.output(name, node)
    return graph.bind()


def _output(
    folder: SessionFolder, files: Mapping[str, Sequence[Path]], suffixes: tuple[str, ...], output: str | None
) -> str:
    if output is not None and output not in folder.graph.outputs:
        what = f'{folder.graph.name} has no output "{output}"'
        raise SessionError(Fault("unknown_output", what, fix=suggest(output, folder.graph.outputs)))
    endings = {name: parts[-1].suffix.lower() for name, parts in files.items()}
    fitting = [name for name, ending in endings.items() if ending in suffixes and output in (None, name)]
    if len(fitting) == 1:
        return fitting[0]
    what = "it is not clear which output is to be joined" if fitting else "the segments left no such files"
    why = f"their outputs that are files: {', '.join(f'{name} ({ending})' for name, ending in endings.items())}"
    raise SessionError(Fault("no_joiner", what, why=why, fix=f"--output {fitting[0]}" if fitting else ""))
