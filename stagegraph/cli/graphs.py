"""`validate`, `graph`, `plan`: look at a graph without running it. None of them reads weights."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from stagegraph import graph as graphs
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.cli import output
from stagegraph.cli.workspace import Workspace
from stagegraph.graph import Graph
from stagegraph.preflight import preflight, warnings
from stagegraph.views.diagram import dot, mermaid
from stagegraph.views.text import tree

ManifestArgument = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="A YAML or JSON file, or the name of a shipped manifest.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NODE.PARAM=VALUE", help="Set a param of a node or component; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class Format(enum.StrEnum):
    """How a graph is drawn."""

    text = "text"
    mermaid = "mermaid"
    dot = "dot"
    yaml = "yaml"
    json = "json"


def validate(ctx: typer.Context, manifest: ManifestArgument, set_: SetOption = None, json: JsonOption = False) -> None:
    """Check a graph and what it needs: names, types, params, sizes, files. Reads no weights, imports no torch."""
    graph = _workspace(ctx).graph(manifest, set_)
    preflight(plans.make(graph))
    odd = warnings(graph)
    wires = sum(len(list(node.feeds())) for node in graph.nodes.values()) + len(graph.outputs)
    if json:
        data = {"graph": graph.name, "nodes": len(graph.nodes), "wires": wires, "components": len(graph.components)}
        output.succeed("validate", {**data, "warnings": [fault.as_dict() for fault in odd]})
    else:
        for fault in odd:
            output.tell(str(fault).replace("error[", "warning[", 1))
        output.say(f"ok: {graph.name}, {len(graph.nodes)} nodes, {wires} wires checked, no weights read")


def graph(
    ctx: typer.Context,
    manifest: ManifestArgument,
    set_: SetOption = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="What to draw.")] = Format.text,
    json: JsonOption = False,
) -> None:
    """Draw a graph: as a tree, Mermaid, DOT, or as the manifest that it is."""
    drawn = _workspace(ctx).graph(manifest, set_)
    if json:
        output.succeed("graph", _as_dict(drawn))
    else:
        output.say(_DRAW[format](drawn))


def plan(
    ctx: typer.Context,
    manifest: ManifestArgument,
    set_: SetOption = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Plan for this output or node only; may be repeated."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print what a run would do: the steps in order, what each loads, and when values and components go."""
    made = plans.make(_workspace(ctx).graph(manifest, set_), target)
    if json:
        output.succeed("plan", made.as_dict())
    else:
        output.say(str(made))


def _as_dict(graph: Graph) -> Mapping[str, Any]:
    return manifests.as_dict(graphs.to_manifest(graphs.to_drafts(graph)))


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
