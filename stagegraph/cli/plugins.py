"""`plugins`: what is installed, what is wrong with it, and a new one to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import attrs
import typer

from stagegraph.cli import output
from stagegraph.cli.graphs import JsonOption
from stagegraph.errors import Fault, PluginError, UsageError, suggest
from stagegraph.plugins import entries
from stagegraph.registry import Origin, Registry

plugins = typer.Typer(
    invoke_without_command=True, help="List the installed plugins; look one over, or start a new one."
)


@plugins.callback()
def listing(ctx: typer.Context, json: JsonOption = False) -> None:
    """List the installed plugins, what each registers, and what is wrong with those that cannot be used."""
    if ctx.invoked_subcommand is not None:
        if json:
            fix = f"write stagegraph plugins {ctx.invoked_subcommand} ... --json"
            raise UsageError(Fault("usage", f"--json stands before {ctx.invoked_subcommand}", fix=fix))
        return
    registry: Registry = ctx.obj.registry
    if json:
        listed = [{**attrs.asdict(origin), "registers": _registered(registry, origin)} for origin in registry.plugins]
        problems = [{**attrs.asdict(p.origin), **p.fault.as_dict()} for p in registry.problems]
        output.succeed("plugins", {"plugins": listed, "problems": problems})
        return
    for origin in registry.plugins:
        output.say(f"{origin.plugin}  {origin.distribution} {origin.version}")
        for section, names in _registered(registry, origin).items():
            output.say(f"    {section}: {', '.join(names)}")
    for problem in registry.problems:
        output.say(str(problem.fault))
    if not registry.plugins and not registry.problems:
        output.say("no plugins are installed")


@plugins.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The distribution's name, such as stagegraph-sepia.")],
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to make; by default NAME in the current folder.")
    ] = None,
    media: Annotated[bool, typer.Option("--media", help="Stages over video frames instead of texts.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a plugin to start from: two stages, a manifest, and tests that pass."""
    from stagegraph import scaffold  # imported by this command alone, as no other needs it

    project = scaffold.Project.named(name, media=media)
    folder = directory if directory is not None else Path(name)
    files = scaffold.write(project, folder)
    if json:
        written = [str(path.relative_to(folder)) for path in files]
        output.succeed("plugins new", {"directory": str(folder), "plugin": project.plugin, "files": written})
        return
    for path in files:
        output.say(str(path))
    output.tell(f'next: cd {shlex.quote(str(folder))} && pip install -e ".[test]" && pytest')


@plugins.command()
def doctor(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Look at this plugin only.")] = None,
    json: JsonOption = False,
) -> None:
    """Look plugins over: versions, import time, hooks, documentation; exit code 3 if something must be mended."""
    from stagegraph.testing.report import reports  # imported by this command alone, as no other needs it

    made = list(reports(ctx.obj.plugins, ctx.obj.registry, name))
    if name is not None and not made:
        known = [origin.plugin for _, origin in entries()]
        raise PluginError(Fault("unknown_plugin", f'there is no plugin "{name}"', fix=suggest(name, known)))
    healthy = all(report.healthy for report in made)
    if json:
        output.succeed("plugins doctor", {"healthy": healthy, "plugins": [report.as_dict() for report in made]})
    else:
        for report in made:
            output.say(f"{report.origin.plugin}  {report.origin.distribution} {report.origin.version}")
            rows = [("  ok" if check.ok else "  !!", check.name, check.detail) for check in report.checks()]
            output.say("\n".join(output.table(rows)))
    if not healthy:
        raise typer.Exit(3)


def _registered(registry: Registry, origin: Origin) -> dict[str, list[str]]:
    found = {
        table: sorted(name for name in getattr(registry, table) if registry.origins.get(name) == origin)
        for table in ("stages", "components", "types", "manifests", "codecs", "readers")
    }
    return {table: names for table, names in found.items() if names}
