"""The run record: what made an output, as plain JSON, so that it can be told and made again."""

from __future__ import annotations

import datetime
import math
import platform
import re
import secrets
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from typing import Any, Final

import attrs

from stagegraph import manifest as manifests
from stagegraph.components import component_spec_of, fingerprint_of
from stagegraph.graph import Graph, to_drafts, to_manifest
from stagegraph.manifest import Manifest
from stagegraph.plan import Plan

SCHEMA: Final = "stagegraph.run/1"


def new_run_id() -> str:
    """Random: 8 hexadecimal digits."""
    return secrets.token_hex(4)


@attrs.define
class RunRecord:
    """What is known of a run; grows while it runs.

    `inputs` holds plain values as they are and others described in words; `components` holds fingerprints, `seconds`
    the time of each finished node. `manifest` is None for graphs with inputs of types that have no name.
    """

    id: str
    graph: str
    created: str
    outputs: tuple[str, ...]
    inputs: dict[str, Any]
    manifest: dict[str, Any] | None
    versions: dict[str, str]
    components: dict[str, str] = attrs.field(factory=dict)
    status: str = "running"
    seconds: dict[str, float] = attrs.field(factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"schema": SCHEMA, **attrs.asdict(self)}


def start(id: str, plan: Plan, inputs: Mapping[str, Any]) -> RunRecord:
    """The record of a run that begins now."""
    graph = plan.graph
    things = [*graph.components.values(), *(node.stage for node in graph.nodes.values())]
    return RunRecord(
        id=id,
        graph=graph.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        outputs=tuple(plan.outputs),
        inputs={name: plain(value) for name, value in inputs.items()},
        manifest=_manifest(graph),
        versions=versions_of(type(thing).__module__.partition(".")[0] for thing in things),
        components={
            name: fingerprint_of(component) or component_spec_of(component).kind
            for name, component in graph.components.items()
        },
    )


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Python, the engine, the plugins that hold these top-level packages, and the libraries that those require."""
    plugins = [distribution for package in packages if (distribution := _plugin_distributions().get(package))]
    names = {"stagegraph", *(plugin.metadata["Name"] for plugin in plugins)}
    for plugin in plugins:
        names |= {re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in plugin.requires or () if "extra ==" not in need}
    versions = {name: version for name in sorted(names) if (version := _version(name))}
    return {"python": platform.python_version(), **versions}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@cache
def _plugin_distributions() -> Mapping[str, metadata.Distribution]:
    entries = metadata.entry_points(group="stagegraph.plugins")
    return {entry.module.partition(".")[0]: entry.dist for entry in entries if entry.dist is not None}


def _manifest(graph: Graph) -> dict[str, Any] | None:
    drafts = to_drafts(graph)
    if not all(i.type_name for i in drafts.inputs.values()):
        return None
    written: Manifest = to_manifest(drafts, with_defaults=True)
    return manifests.as_dict(written)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: scalars as they are, others described."""
    scalar = value is None or isinstance(value, (str, int, bool)) or (isinstance(value, float) and math.isfinite(value))
    return value if scalar else summary(value)


def summary(value: Any) -> str:
    """A value in a few words, for messages and records: its type and size, never its content at length."""
    if isinstance(value, (bool, int, float, type(None))):
        return repr(value)
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:57]!r}... ({len(value)} characters)"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):  # of an array or a tensor
        return f"{type(value).__name__}{tuple(shape)}"
    if isinstance(value, (list, tuple, dict, set)):
        return f"{type(value).__name__} of {len(value)}"
    try:
        text = repr(value)
    except Exception:  # a message about one error must not end in another
        return type(value).__name__
    return text if len(text) <= 80 and "\n" not in text else type(value).__name__
