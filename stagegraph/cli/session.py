"""`session`: a video, or anything else, that grows segment by segment in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from stagegraph import plan as plans
from stagegraph import yaml
from stagegraph.cli import output
from stagegraph.cli.execution import Manner, RunFolder, execute, open_store, shown
from stagegraph.cli.files import write_text
from stagegraph.cli.graphs import JsonOption, SetOption
from stagegraph.cli.options import CacheOption, QuietOption
from stagegraph.cli.ranks import NprocOption, leading, served, spread
from stagegraph.cli.run import swept_values
from stagegraph.cli.workspace import Workspace, assignments
from stagegraph.errors import Fault, StagegraphError, UsageError
from stagegraph.executors.checks import check_inputs, checked
from stagegraph.graph import Graph
from stagegraph.preflight import preflight
from stagegraph.serde import Text
from stagegraph.sessions.export import exporting
from stagegraph.sessions.folder import Made, SessionFolder

session = typer.Typer(
    no_args_is_help=True,
    help="Grow something segment by segment: each goes on from what the one before left. A folder holds the session; "
    "a crash leaves it as it was after its last finished segment.",
)

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the session.")]
JoinOption = Annotated[
    bool,
    typer.Option("--join/--no-join", help="Have a file of all segments grow, where their files can be joined so."),
]
AheadOption = Annotated[
    int,
    typer.Option(min=0, max=8, metavar="N", help="How many segments are begun before the one before them is done."),
]


@session.command()
def start(
    ctx: typer.Context,
    manifest: Annotated[
        str,
        typer.Argument(metavar="MANIFEST", help='A graph with "carry": a file, or the name of a shipped manifest.'),
    ],
    folder: FolderArgument,
    inputs: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="NAME=VALUE", help="An input of every segment; may be repeated."),
    ] = None,
    set_: SetOption = None,
    snapshot: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Go on with another session, from its snapshot."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Begin a session in a new folder. Nothing is made yet."""
    workspace: Workspace = ctx.obj
    graph = workspace.to_run(manifest, set_)
    given = _given(graph, assignments(inputs, "-i", "NAME"))
    made = SessionFolder.create(folder, graph, workspace.registry, given, _bytes(snapshot) if snapshot else None)
    segments = made.snapshot().segments
    if json:
        output.succeed("session start", {"session": str(folder), "graph": graph.name, "segments": segments})
    else:
        output.say(f"{folder}: a session of {graph.name}" + (f" after {segments} segments" if segments else ""))


@session.command()
def extend(
    ctx: typer.Context,
    folder: FolderArgument,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VALUES",
            help="A segment for each, such as prompts: values of the one input that has none yet.",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="NAME=VALUE",
            help="An input of these segments; NAME=@FILE makes a segment of each line. May be repeated.",
        ),
    ] = None,
    ahead: AheadOption = 1,
    join: JoinOption = True,
    nproc: NprocOption = None,
    cache: CacheOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Make the next segments."""
    workspace: Workspace = ctx.obj
    opened = SessionFolder(folder, workspace.registry)
    items = _items(opened, values or [], assignments(inputs, "-i", "NAME"))
    manner = Manner("session extend", True, quiet, json)
    with opened.locked():
        opened.ask(items)
        _make(workspace, opened, ahead, join, nproc, cache, manner)


@session.command()
def resume(
    ctx: typer.Context,
    folder: FolderArgument,
    forget: Annotated[bool, typer.Option("--forget", help="Give them up instead.")] = False,
    ahead: AheadOption = 1,
    join: JoinOption = True,
    nproc: NprocOption = None,
    cache: CacheOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Make the segments that were asked for and are not done, after a crash or an error."""
    workspace: Workspace = ctx.obj
    opened = SessionFolder(folder, workspace.registry)
    with opened.locked():
        if forget:
            opened.forget()
        if not opened.pending() and not json:
            output.say(f"{folder}: nothing is pending")
        _make(workspace, opened, ahead, join, nproc, cache, Manner("session resume", True, quiet, json))


@session.command()
def show(ctx: typer.Context, folder: FolderArgument, json: JsonOption = False) -> None:
    """What a session holds."""
    workspace: Workspace = ctx.obj
    opened = SessionFolder(folder, workspace.registry)
    made, state, pending = opened.made(), opened.snapshot(), opened.pending()
    if json:
        segments = [{"index": m.index, "inputs": m.inputs, "outputs": m.outputs, "files": m.files} for m in made]
        data = {"graph": state.graph, "inputs": state.inputs, "segments": segments, "pending": pending}
        output.succeed("session show", data)
        return
    output.say(f"{folder}: {state.graph}, {state.segments} segments, since {opened.created}")
    for segment in made:
        told = ", ".join(f"{name} {value!r}" for name, value in segment.inputs.items())
        output.say(f"  {segment.index:>4}  {told}")
    for item in pending:
        output.say(f"  pending  {', '.join(f'{name} {value!r}' for name, value in item.items())}")
    if pending:
        output.say(f"to go on: stagegraph session resume {folder}")


@session.command()
def export(
    ctx: typer.Context,
    folder: FolderArgument,
    file: Annotated[Path, typer.Option("-o", "--file", metavar="FILE", help="What to write, as in film.mp4.")],
    output_: Annotated[
        str | None,
        typer.Option("--output", metavar="NAME", help="Which output of the segments, if several are files."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PARAM=VALUE",
            help="Set a param of the stage that joins: of media.join_videos, for .mp4: sound, fragmented.",
        ),
    ] = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Join the segments to one file; pictures are not encoded again."""
    workspace: Workspace = ctx.obj
    opened = SessionFolder(folder, workspace.registry)
    words = assignments(set_, "--set", "PARAM")
    params = {name: yaml.typed(text) for name, text in words.items()}
    graph = exporting(opened, file, workspace.registry, output_, params)
    plan = plans.make(graph)
    preflight(plan)
    execute(plan, {}, {}, None, RunFolder(Path("runs"), graph.name), Manner("session export", False, quiet, json))


@session.command()
def snapshot(
    folder: FolderArgument,
    file: Annotated[
        Path | None, typer.Option("-o", "--file", metavar="FILE", help="Write a file instead of to the screen.")
    ] = None,
) -> None:
    """Everything that the next segment needs, as JSON, to go on with elsewhere: `session start MANIFEST DIR --from`."""
    text = _bytes(folder / "state.json").decode()
    if file is None:
        output.say(text)
    else:
        write_text(file, text)


def _make(
    workspace: Workspace,
    opened: SessionFolder,
    ahead: int,
    join: bool,
    nproc: int | None,
    cache: bool | None,
    manner: Manner,
) -> None:
    opened.graph = spread(opened.graph, nproc)
    if served(opened.graph):
        return
    finished: list[Made] = []
    with _going_on(opened), open_store(cache) as store, leading(opened.graph), shown(manner) as show_:
        caching = workspace.caching(store, optional=not cache) if store is not None else None
        for made in opened.run(ahead=ahead, caching=caching, on_event=show_, join=join):
            finished.append(made)
            if not manner.json:
                output.say("\n".join(_told(opened, made)))
    joined = [str(file) for file in opened.grown]
    if manner.json:
        segments = [{"index": m.index, "outputs": m.outputs, "files": m.files} for m in finished]
        output.succeed(manner.command, {"session": str(opened.path), "segments": segments, "joined": joined})
    elif joined:
        output.say("\n".join(joined))


@contextmanager
def _going_on(opened: SessionFolder) -> Iterator[None]:
    """Say how to go on after an error; one that passes with other words only is not to be tried again."""
    try:
        yield
    except StagegraphError as error:
        if error.exit_code == UsageError.exit_code:
            opened.forget()
        elif opened.pending():
            error.add_note(f"to go on: stagegraph session resume {opened.path}")
        raise


def _told(opened: SessionFolder, made: Made) -> list[str]:
    """What a segment left: its files that are outputs, or else its plain outputs."""
    home, carried = opened.path / f"segment-{made.index:04d}", set(opened.graph.carry.values())
    files = {str(home / file) for file in made.files}
    told = {name: value for name, value in made.outputs.items() if name not in carried}
    paths = [value for value in told.values() if value in files]
    return paths or [f"segment {made.index}: " + ", ".join(f"{name} {value}" for name, value in told.items())]


def _items(opened: SessionFolder, values: list[str], words: Mapping[str, Text]) -> list[dict[str, Any]]:
    """The inputs of each segment.

    Raises:
        UsageError: values for an input that is not clear, or that is given as well.
        InputError: a value that is not of its input's type.
    """
    graph, known = opened.graph, opened.snapshot().inputs
    several, rest = swept_values(graph, words)
    if values:
        open_ = [n for n, i in graph.inputs.items() if i.required and n not in {*graph.carry, *known, *several, *rest}]
        if len(open_) != 1:
            why = f"inputs without a value: {', '.join(open_) or 'none'}"
            what = "it is not clear which input the values are for"
            raise UsageError(Fault("usage", what, why=why, fix="write -i NAME=VALUE"))
        several[open_[0]] = [checked(graph.inputs[open_[0]], yaml.typed(value)) for value in values]
    counts = {len(each) for each in several.values()}
    if len(counts) > 1:
        told = ", ".join(f"{name} has {len(each)}" for name, each in several.items())
        raise UsageError(Fault("usage", f"inputs have different numbers of values: {told}", fix="give as many of each"))
    each = [dict(zip(several, row, strict=True)) for row in zip(*several.values(), strict=True)] if several else [{}]
    given = _given(graph, rest)
    items = [{**given, **item} for item in each]
    for item in items:
        check_inputs(plans.make(graph), {**known, **item}, late=graph.carry)
    return items


def _given(graph: Graph, words: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs by their types.

    Raises:
        UsageError: an input that the graph does not have.
        InputError: a value that is not of its type.
    """
    unknown = [name for name in words if name not in graph.inputs]
    if unknown:
        what = f'{graph.name} has no input "{unknown[0]}"'
        raise UsageError(Fault("unknown_input", what, fix=f"it has {', '.join(graph.inputs)}"))
    return {name: checked(graph.inputs[name], value) for name, value in words.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}"
        raise UsageError(Fault("usage", what)) from None
