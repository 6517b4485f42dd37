"""`run`, `resume`: execute a graph, go on with a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stagegraph import graph as graphs
from stagegraph import plan as plans
from stagegraph import record, yaml
from stagegraph.cli.execution import Manner, RunFolder, execute, open_store
from stagegraph.cli.graphs import JsonOption, ManifestArgument, MemoryOption, SetOption
from stagegraph.cli.options import (
    CacheOption,
    FromOption,
    GivenOption,
    InputOption,
    NoMetadataOption,
    OutputOption,
    ParallelOption,
    QuietOption,
    RunsOption,
    TargetOption,
)
from stagegraph.cli.ranks import NprocOption, spread
from stagegraph.cli.workspace import Workspace, assignments, sweeps
from stagegraph.errors import Fault, UsageError
from stagegraph.executors.checks import read_values
from stagegraph.graph import Graph
from stagegraph.memory import fitted
from stagegraph.rerun import Recorded, given_of, manifest_of
from stagegraph.serde import Text
from stagegraph.sweeps import sweep
from stagegraph.writers import PATH, the_writer, with_params, without_records


def run(
    ctx: typer.Context,
    manifest: ManifestArgument,
    inputs: InputOption = None,
    set_: SetOption = None,
    target: TargetOption = None,
    from_: FromOption = None,
    given: GivenOption = None,
    memory: MemoryOption = None,
    nproc: NprocOption = None,
    output: OutputOption = None,
    no_metadata: NoMetadataOption = False,
    runs_dir: RunsOption = Path("runs"),
    parallel: ParallelOption = False,
    cache: CacheOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Run a graph. Progress goes to stderr; the outputs are printed to stdout."""
    workspace: Workspace = ctx.obj
    graph = spread(workspace.to_run(manifest, set_, target), nproc)
    graph, values = swept(graph, assignments(inputs, "-i", "NAME"))
    brought = assignments(given, "--given", "NODE.PORT")
    if output is not None:
        writer = the_writer(plans.make(graph, target, brought), "-o").name
        graph = writing_to(graph, writer, output, assignments(set_, "--set", "NODE.PARAM"))
    graph = without_records(graph) if no_metadata else graph
    plan = fitted(plans.make(graph, target, brought, from_ or ()), memory)
    with open_store(cache) as store:
        caching = workspace.caching(store, optional=not cache) if store is not None else None
        folder = RunFolder(runs_dir, graph.name)
        execute(plan, values, brought, caching, folder, Manner("run", parallel, quiet, json))


def resume(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help='The id of a run, how it begins, or "last".')] = "last",
    inputs: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="NAME=VALUE", help="Give an input that the run could not keep."),
    ] = None,
    nproc: NprocOption = None,
    parallel: ParallelOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Go on with a run that did not come to its end. What it completed does not run again."""
    from stagegraph.store.runs import load

    workspace: Workspace = ctx.obj
    with open_store(True) as store:
        assert store is not None  # it was asked for
        stored = load(store, workspace.codecs, run)
        name = f"run {stored.row.id}"
        recorded = Recorded(record.from_data(stored.row.record, name), name)
        graph = spread(graphs.build(manifest_of(recorded), workspace.registry), nproc)
        values = stored.inputs({name: input.type for name, input in graph.inputs.items()})
        brought = given_of(recorded, graph)
        plan = plans.make(graph, stored.outputs, brought)
        given = {**values, **assignments(inputs, "-i", "NAME")}
        caching = workspace.caching(store, resumed=stored)
        execute(plan, given, brought, caching, RunFolder.of(stored.row), Manner("resume", parallel, quiet, json))


def swept(graph: Graph, words: Mapping[str, Text]) -> tuple[Graph, dict[str, Any]]:
    """The graph, copied for inputs that are given several values, and the values of the others."""
    several, rest = swept_values(graph, words)
    return (sweep(graph, several) if several else graph), rest


def swept_values(graph: Graph, words: Mapping[str, Text]) -> tuple[dict[str, list[Any]], dict[str, Text]]:
    """The values of inputs that are given several, and the texts of the others."""
    several = sweeps(words, graph.inputs)
    read = {name: read_values(graph.inputs[name], each) for name, each in several.items()}
    rest = {name: text for name, text in words.items() if name not in several}
    return read, {name: yaml.typed(text[1:]) if text.startswith("@@") else text for name, text in rest.items()}


def writing_to(graph: Graph, node: str, path: Path, settings: Mapping[str, Text]) -> Graph:
    """The graph with the path that one node writes to, as -o says.

    Raises:
        UsageError: --set says so as well, or the stage does not take the path.
    """
    if f"{node}.{PATH}" in settings:
        what = f"-o and --set {node}.{PATH} both say where {node} writes"
        raise UsageError(Fault("usage", what, fix="keep one of them"))
    return with_params(graph, node, {PATH: str(path)}, "-o")
