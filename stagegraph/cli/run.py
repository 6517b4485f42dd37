"""`run`: execute a graph."""

from __future__ import annotations

import datetime
import json as jsonlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from stagegraph import events, yaml
from stagegraph import graph as graphs
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.cli import output
from stagegraph.cli.graphs import JsonOption, ManifestArgument, MemoryOption, SetOption
from stagegraph.cli.workspace import Workspace, assignments, sweeps
from stagegraph.errors import Fault, UsageError
from stagegraph.events import Event
from stagegraph.executors import serial, threads
from stagegraph.executors.checks import read_values
from stagegraph.executors.result import Run
from stagegraph.memory import fitted
from stagegraph.record import plain
from stagegraph.sweeps import sweep


class RunDirectory:
    """Makes `RUNS/<date>-<graph>-<id>` when a stage first asks for it; `path` is None until then."""

    def __init__(self, runs: Path, graph: str) -> None:
        self._runs = runs
        self._graph = graph
        self.path: Path | None = None

    def __call__(self, run: str) -> Path:
        if self.path is None:
            day = datetime.datetime.now(datetime.UTC).date().isoformat()
            self.path = self._runs / f"{day}-{self._graph.replace('/', '-')}-{run}"
            self.path.mkdir(parents=True, exist_ok=True)
        return self.path


def run(
    ctx: typer.Context,
    manifest: ManifestArgument,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="NAME=VALUE",
            help="Give an input of the graph; may be repeated. Sweep over several values with seed=1..4 or "
            "prompt=@prompts.txt (one a line).",
        ),
    ] = None,
    set_: SetOption = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Make this output or node only; may be repeated."),
    ] = None,
    from_: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="NODE",
            help="Run this node and all that follow it again, also if their outputs are kept; may be repeated.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="NODE.PORT=VALUE",
            help="Give a port this value in place of what makes it; may be repeated.",
        ),
    ] = None,
    memory: MemoryOption = None,
    runs_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Where each run gets a folder, if a stage writes files.")
    ] = Path("runs"),
    parallel: Annotated[
        bool, typer.Option("--parallel", help="Run what is independent at the same time, in threads.")
    ] = False,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache",
            help="Keep the outputs of stages, use them again when nothing that they depend on has changed, and record "
            "the run for `stagegraph runs`, `show`, `explain` and `diff`.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a graph. Progress goes to stderr; the outputs are printed to stdout."""
    from stagegraph.artifacts import Codecs  # only runs need the store
    from stagegraph.caching import Caching
    from stagegraph.store import Store

    workspace: Workspace = ctx.obj
    graph = workspace.graph(manifest, set_)
    values = assignments(inputs, "-i", "NAME")
    swept = sweeps(values, graph.inputs)
    if swept:
        graph = sweep(graph, {name: read_values(graph.inputs[name], each) for name, each in swept.items()})
        values = {name: value for name, value in values.items() if name not in swept}
    values = {name: yaml.typed(value[1:]) if value.startswith("@@") else value for name, value in values.items()}
    brought = assignments(given, "--given", "NODE.PORT")
    plan = fitted(plans.make(graph, target, brought, from_ or ()), memory)
    directory = RunDirectory(runs_dir, graph.name)
    execute = threads.run if parallel else serial.run
    with Store() if cache else nullcontext() as store, _listener(quiet, json) as on_event:
        caching = Caching(store, Codecs(workspace.registry.codecs.values())) if store is not None else None
        finished = execute(plan, values, given=brought, on_event=on_event, directory=directory, caching=caching)
    if directory.path is not None:
        text = jsonlib.dumps(finished.record.as_dict(), indent=2, ensure_ascii=False)
        (directory.path / "run.json").write_text(text, encoding="utf-8")
    _tell(finished, directory.path, json, "run")


def resume(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help='The id of a run, how it begins, or "last".')] = "last",
    inputs: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="NAME=VALUE", help="Give an input that the run could not keep."),
    ] = None,
    parallel: Annotated[bool, typer.Option("--parallel", help="Run what is independent at the same time.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")] = False,
    json: JsonOption = False,
) -> None:
    """Go on with a run of `run --cache` that did not come to its end. What it completed does not run again."""
    from stagegraph.artifacts import Codecs
    from stagegraph.caching import Caching
    from stagegraph.store import Store
    from stagegraph.store.runs import load

    workspace: Workspace = ctx.obj
    codecs = Codecs(workspace.registry.codecs.values())
    execute = threads.run if parallel else serial.run
    with Store() as store, _listener(quiet, json) as on_event:
        stored = load(store, codecs, run)
        if stored.manifest is None:
            what = f"run {stored.row.id} has inputs of types without names, so its graph cannot be made again"
            raise UsageError(Fault("unknown_type", what, fix="run it again from Python"))
        graph = graphs.build(manifests.loads(jsonlib.dumps(stored.manifest), "run.json"), workspace.registry)
        values = stored.inputs({name: input.type for name, input in graph.inputs.items()})
        plan = plans.make(graph, stored.outputs)
        caching = Caching(store, codecs, resumed=stored)
        given = {**values, **assignments(inputs, "-i", "NAME")}
        finished = execute(plan, given, on_event=on_event, directory=stored.row.folder, caching=caching)
    _tell(finished, stored.row.folder, json, "resume")


def _tell(finished: Run, folder: Path | None, json: bool, command: str) -> None:
    """Print the outputs of a run."""
    results = {name: plain(value) for name, value in finished.outputs.items()}
    if json:
        output.succeed(command, {"run": finished.id, "outputs": results, "directory": folder})
        return
    for name, value in results.items():
        output.say(str(value) if len(results) == 1 else f"{name}: {value}")


def _listener(quiet: bool, json: bool) -> AbstractContextManager[Any]:
    if json:
        return nullcontext(_print_event)
    if quiet:
        return nullcontext(_ignore)
    from stagegraph.cli.progress import on_screen

    return on_screen()


def _print_event(event: Event) -> None:
    output.say_json(events.as_dict(event))


def _ignore(event: Event) -> None:
    """Nobody watches."""
