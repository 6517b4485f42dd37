"""`stages`, `doctor`: what is installed, and whether it works."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Annotated, Any

import attrs
import typer

from stagegraph import plugins as plugin_loading
from stagegraph.cli import output
from stagegraph.cli.graphs import JsonOption
from stagegraph.cli.workspace import Workspace
from stagegraph.errors import Fault, UsageError
from stagegraph.hookspecs import Check
from stagegraph.ports import REQUIRED, type_name
from stagegraph.registry import Registry
from stagegraph.rules import help_of, rule_of
from stagegraph.stages import StageSpec, signature


def stages(
    ctx: typer.Context,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show this stage in full.")] = None,
    json: JsonOption = False,
) -> None:
    """List the installed stages, or show one: ports, params, limits, components."""
    registry: Registry = ctx.obj.registry
    if id is not None:
        spec = registry.stage(id)
        if isinstance(spec, Fault):
            raise UsageError(spec)
        _show(spec, registry, json)
    elif json:
        output.succeed("stages", {"stages": [_stage_dict(s, registry) for s in registry.stages.values()]})
    else:
        for _, spec in sorted(registry.stages.items()):
            output.say(signature(spec))
            output.say(f"    {spec.summary}")


def doctor(ctx: typer.Context, json: JsonOption = False) -> None:
    """Look at the machine and at what the plugins need; exit code 3 if something must be mended."""
    workspace: Workspace = ctx.obj
    checks = [("stagegraph", check) for check in _own_checks()]
    checks += [(origin.plugin, check) for origin, check in plugin_loading.checks(workspace.plugins)]
    healthy = all(check.ok for _, check in checks)
    if json:
        output.succeed("doctor", {"healthy": healthy, "checks": [{"of": n, **attrs.asdict(c)} for n, c in checks]})
    else:
        rows = [("ok" if check.ok else "!!", name, check.name, check.detail) for name, check in checks]
        output.say("\n".join(output.table(rows)))
    if not healthy:
        raise typer.Exit(3)


def _own_checks() -> list[Check]:
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    version = metadata.version("stagegraph")
    return [Check("engine", True, version), Check("python", True, python)]


def _show(spec: StageSpec, registry: Registry, json: bool) -> None:
    data = _stage_dict(spec, registry)
    if json:
        output.succeed("stages", data)
        return
    output.say(f"{spec}  {data['plugin']}".rstrip())
    output.say(f"    {spec.summary}")
    for section in ("inputs", "outputs", "lent", "params"):
        rows = [
            (f"    {row['name']}", row["type"], row.get("default", ""), row.get("help", "")) for row in data[section]
        ]
        if rows:
            output.say(f"  {section}")
            output.say("\n".join(output.table(rows)))


def _stage_dict(spec: StageSpec, registry: Registry) -> dict[str, Any]:
    def port(name: str, type_: Any, default: Any = REQUIRED, variadic: bool = False) -> dict[str, str]:
        told = {} if default is REQUIRED else {"default": f"= {default!r}"}
        return {"name": name, "type": f"{type_name(type_)}{'*' if variadic else ''}", **told}

    origin = registry.origins.get(spec.id)
    return {
        "id": spec.id,
        "version": spec.version,
        "plugin": str(origin) if origin is not None else "",
        "summary": spec.summary,
        "inputs": [port(p.name, p.type, p.default, p.variadic) for p in spec.inputs.values()],
        "outputs": [port(p.name, p.type) for p in spec.outputs.values()],
        "lent": [port(lent.name, lent.type) for lent in spec.lent.values()],
        "params": [_param(field) for field in spec.params.values()],
    }


def _param(field: attrs.Attribute[Any]) -> dict[str, str]:
    default: Any = field.default
    if hasattr(default, "factory"):
        default = default.factory()
    rule = rule_of(field).text
    told = {} if default is attrs.NOTHING else {"default": f"= {default!r}"}
    text = " ".join(filter(None, [help_of(field), f"({rule})" if rule else ""]))
    return {"name": field.name, "type": type_name(field.type), **told, "help": text}
