"""`schema` and `migrate`: what documents look like, and how old manifests become new ones."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from stagegraph import formats
from stagegraph.cli import output
from stagegraph.cli.files import read_document, replace_text
from stagegraph.cli.graphs import JsonOption
from stagegraph.cli.workspace import Workspace


class Name(enum.StrEnum):
    """The documents that have a schema."""

    manifest = "manifest"
    run = "run"
    events = "events"
    envelope = "envelope"
    catalogue = "catalogue"
    continuation = "continuation"


def schema(
    ctx: typer.Context,
    name: Annotated[Name, typer.Argument(help="Which document.")] = Name.manifest,
    installed: Annotated[
        bool,
        typer.Option(
            "--installed/--engine", help="Of manifests: with the installed stages and components, or without."
        ),
    ] = True,
    json: JsonOption = False,
) -> None:
    """Print a JSON Schema, for an editor that completes and checks manifests, or for other languages."""
    from stagegraph.schema import SCHEMAS, manifest, render  # not needed by any other command

    workspace: Workspace = ctx.obj
    with_plugins = name is Name.manifest and installed
    made = manifest(workspace.registry) if with_plugins else SCHEMAS[name][1]()
    if json:
        output.succeed("schema", made)
    else:
        output.say(render(made).rstrip("\n"))


def migrate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A manifest, YAML or JSON.")],
    write: Annotated[bool, typer.Option("--write", help="Change the file instead of printing the new text.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring a manifest of an older format to the newest; comments, order and layout stay."""
    migrated = formats.migrate(read_document(file), formats.STEPS)
    changed = migrated.before != migrated.after
    if write and changed:
        replace_text(file, migrated.text)
    if json:
        data = {"file": str(file), "from": migrated.before, "to": migrated.after, "written": write and changed}
        output.succeed("migrate", {**data, "text": migrated.text})
    elif not changed:
        output.say(f"{file}: already at format {migrated.after}")
    elif write:
        output.say(f"{file}: format {migrated.before} became format {migrated.after}")
    else:
        output.say(migrated.text.rstrip("\n"))
