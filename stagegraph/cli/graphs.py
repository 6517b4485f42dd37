"""`validate`, `graph`, `plan`: look at a graph without running it. None of them reads weights."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stagegraph import graph as graphs
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.cli import output
from stagegraph.cli.files import read_document, write_text
from stagegraph.cli.workspace import Workspace
from stagegraph.errors import Fault, UsageError
from stagegraph.graph import Graph
from stagegraph.manifest import Manifest
from stagegraph.memory import Estimate, fitted, size_text
from stagegraph.record import SCHEMA
from stagegraph.serde import describe
from stagegraph.views.diagram import dot, mermaid
from stagegraph.views.text import tree

ManifestArgument = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="A YAML or JSON file, or the name of a shipped manifest.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NODE.PARAM=VALUE", help="Set a param of a node or component; may be repeated."),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help='Memory of the device, as in "24GiB", or "auto" for what is free: parts are moved out of the way so that '
        "it suffices, and what takes more all the same is refused before anything is loaded.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class Format(enum.StrEnum):
    """How a graph is drawn."""

    text = "text"
    mermaid = "mermaid"
    dot = "dot"
    html = "html"
    svg = "svg"
    yaml = "yaml"
    json = "json"


def validate(ctx: typer.Context, manifest: ManifestArgument, set_: SetOption = None, json: JsonOption = False) -> None:
    """Check a graph and what it needs: names, types, params, sizes, files. Reads no weights, imports no torch."""
    report = _workspace(ctx).report(manifest, set_)
    if not json:
        for fault in report.warnings:
            output.warn(fault)
    if report.faults:
        error = report.kind(*report.faults)
        output.fail("validate", error, json, report.warnings)
        raise typer.Exit(error.exit_code)
    graph = report.graph
    wires = sum(len(list(node.feeds())) for node in graph.nodes.values()) + len(graph.outputs)
    if json:
        data = {"graph": graph.name, "nodes": len(graph.nodes), "wires": wires, "components": len(graph.components)}
        output.succeed("validate", {**data, "warnings": [fault.as_dict() for fault in report.warnings]})
    else:
        output.say(f"ok: {graph.name}, {len(graph.nodes)} nodes, {wires} wires checked, no weights read")


def graph(
    ctx: typer.Context,
    manifest: ManifestArgument,
    set_: SetOption = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="What to draw.")] = Format.text,
    file: Annotated[
        Path | None, typer.Option("-o", "--file", metavar="FILE", help="Write a file instead of to the screen.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A run.json, or its folder: show the run in the HTML page and the SVG."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Draw a graph: as a tree, Mermaid, DOT, SVG, a page for browsers, or as the manifest that it is."""
    workspace = _workspace(ctx)
    drawn = workspace.graph(manifest, set_)
    if run is not None and format not in (Format.html, Format.svg):
        raise UsageError(Fault("usage", f"--run cannot be shown as {format}", fix="add -f html or -f svg"))
    if json and file is None:
        output.succeed("graph", _as_dict(drawn))
        return
    if format is Format.yaml and manifest in workspace.registry.manifests and not set_:
        text = _as_written(workspace.written(manifest), drawn)
    else:
        text = _DRAW[format](drawn) if format in _DRAW else _picture(drawn, format, run)
    if file is None:
        output.say(text)
        return
    write_text(file, f"{text}\n")
    if json:
        output.succeed("graph", {"file": str(file)})


def plan(
    ctx: typer.Context,
    manifest: ManifestArgument,
    set_: SetOption = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Plan for this output or node only; may be repeated."),
    ] = None,
    memory: MemoryOption = None,
    json: JsonOption = False,
) -> None:
    """Print what a run would do: the steps in order, what each loads, when values and components go, and how much
    memory of the device each step takes as far as its component and its stage tell."""
    made = fitted(plans.make(_workspace(ctx).graph(manifest, set_), target), memory)
    estimate = Estimate(made)
    if json:
        output.succeed("plan", {**made.as_dict(), "memory": estimate.as_dict()})
    else:
        output.say(str(made))
        if estimate.peak:
            output.say(f"memory: {size_text(estimate.peak)} at most")
            output.say("\n".join(f"     {line}" for line in str(estimate).splitlines()))


def _picture(graph: Graph, format: Format, path: Path | None) -> str:
    from stagegraph.views.html import page
    from stagegraph.views.runs import view_of
    from stagegraph.views.svg import svg

    run = None
    if path is not None:
        file = path / "run.json" if path.is_dir() else path
        names = {*graph.nodes, *graph.outputs}
        previews = {png.stem: png.read_bytes() for png in sorted(file.parent.glob("*.png")) if png.stem in names}
        run = view_of(_record(file, graph), graph.nodes, previews=previews)
    return page(graph, run) if format is Format.html else svg(graph, run)


def _record(path: Path, graph: Graph) -> Mapping[str, Any]:
    document = read_document(path)
    data = document.data if isinstance(document.data, dict) else {}
    if data.get("schema") != SCHEMA:
        fault = Fault("unsupported_version", f"{path} is no run record", why=f'its "schema" would be "{SCHEMA}"')
        raise UsageError(fault)
    if data.get("graph") != graph.name:
        what = f"{path} is a run of {describe(data.get('graph'))}, not of {graph.name}"
        raise UsageError(Fault("usage", what, fix="name the graph that ran"))
    return data


def _as_dict(graph: Graph) -> Mapping[str, Any]:
    return manifests.as_dict(graphs.to_manifest(graphs.to_drafts(graph)))


def _as_written(manifest: Manifest, graph: Graph) -> str:
    """A shipped graph with the comments of its author, but for one that embeds files: these are elsewhere."""
    embeds = any(node.graph for node in manifest.nodes.values())
    return _as_yaml(graph) if embeds else manifests.dumps(manifest).rstrip("\n")


def _as_yaml(graph: Graph) -> str:
    return manifests.dumps(graphs.to_manifest(graphs.to_drafts(graph))).rstrip("\n")


def _as_json(graph: Graph) -> str:
    import json

    return json.dumps(_as_dict(graph), indent=2, ensure_ascii=False)


_DRAW: Mapping[Format, Callable[[Graph], str]] = {
    Format.text: tree,
    Format.mermaid: mermaid,
    Format.dot: dot,
    Format.yaml: _as_yaml,
    Format.json: _as_json,
}


def _workspace(ctx: typer.Context) -> Workspace:
    workspace: Workspace = ctx.obj
    return workspace
