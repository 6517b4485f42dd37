"""The run record: what made an output, as plain JSON, so that it can be told and made again."""

from __future__ import annotations

import datetime
import math
import platform
import re
import secrets
from collections.abc import Iterable, Mapping
from functools import cached_property
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
    """What is known of a run; grows while it runs. What it tells of the plan is worked out when somebody asks.

    Attributes:
        inputs: plain values as they are, others described in words.
        status: running, finished, failed or cancelled.
        seconds: the time of each finished node.
    """

    id: str
    plan: Plan = attrs.field(repr=False)
    created: str
    inputs: dict[str, Any]
    status: str = "running"
    seconds: dict[str, float] = attrs.field(factory=dict)

    @property
    def graph(self) -> str:
        """The name of the graph."""
        return self.plan.graph.name

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs that were asked for."""
        return tuple(self.plan.outputs)

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """The graph with every param; None if an input is of a type that has no name."""
        return _manifest(self.plan.graph)

    @cached_property
    def versions(self) -> dict[str, str]:
        """Python, the engine, the plugins and the libraries that they require."""
        graph = self.plan.graph
        things = [*graph.components.values(), *(node.stage for node in graph.nodes.values())]
        return versions_of(type(thing).__module__.partition(".")[0] for thing in things)

    @cached_property
    def components(self) -> dict[str, str]:
        """The fingerprint of each component that the plan is lent, or its kind if it has none."""
        used = {part.component for step in self.plan.steps for part in step.node.lent.values()}
        return {
            name: fingerprint_of(component) or component_spec_of(component).kind
            for name, component in self.plan.graph.components.items()
            if name in used
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "graph": self.graph,
            "created": self.created,
            "outputs": self.outputs,
            "inputs": self.inputs,
            "manifest": self.manifest,
            "versions": self.versions,
            "components": self.components,
            "status": self.status,
            "seconds": dict(self.seconds),
        }


def start(id: str, plan: Plan, inputs: Mapping[str, Any]) -> RunRecord:
    """The record of a run that begins now."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return RunRecord(id, plan, created, {name: plain(value) for name, value in inputs.items()})


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Python, the engine, the plugins that hold these top-level packages, and the libraries that those require."""
    known = _plugin_distributions()
    plugins = [known[package] for package in dict.fromkeys(packages) if package in known]
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
