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


@attrs.frozen
class RunRecord:
    """What is known of a run, as plain values.

    Attributes:
        outputs: the names of the outputs that were asked for.
        inputs: plain values as they are, others described in words.
        manifest: the graph with every param; None if an input is of a type that has no name.
        versions: Python, the engine, the plugins and the libraries that they require.
        components: the fingerprint of each component that was lent, or its kind if it has none.
        status: running, finished, failed or cancelled.
        seconds: the time of each finished node.
        peak_bytes: the most memory that the process was seen to take while a node ran; not of nodes that were too
            short to look.
        device_peak_bytes: the same of the device that a node's components are on, where they tell.
    """

    id: str
    graph: str
    created: str
    outputs: tuple[str, ...]
    inputs: dict[str, Any]
    manifest: dict[str, Any] | None
    versions: dict[str, str]
    components: dict[str, str]
    status: str
    seconds: dict[str, float]
    peak_bytes: dict[str, int]
    device_peak_bytes: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"schema": SCHEMA, **attrs.asdict(self, recurse=False)}


@attrs.define
class Recorder:
    """Keeps what a run does; what a record tells of its plan is worked out when somebody asks for one."""

    id: str
    plan: Plan = attrs.field(repr=False)
    created: str
    inputs: dict[str, Any]
    status: str = "running"
    seconds: dict[str, float] = attrs.field(factory=dict)
    peak_bytes: dict[str, int] = attrs.field(factory=dict)
    device_peak_bytes: dict[str, int] = attrs.field(factory=dict)

    def record(self) -> RunRecord:
        """The record so far."""
        return RunRecord(
            id=self.id,
            graph=self.plan.graph.name,
            created=self.created,
            outputs=tuple(self.plan.outputs),
            inputs=self.inputs,
            manifest=self._manifest,
            versions=self._versions,
            components=self._components,
            status=self.status,
            seconds=dict(self.seconds),
            peak_bytes=dict(self.peak_bytes),
            device_peak_bytes=dict(self.device_peak_bytes),
        )

    @cached_property
    def _manifest(self) -> dict[str, Any] | None:
        return _manifest(self.plan.graph)

    @cached_property
    def _versions(self) -> dict[str, str]:
        graph = self.plan.graph
        things = [*graph.components.values(), *(node.stage for node in graph.nodes.values())]
        return versions_of(type(thing).__module__.partition(".")[0] for thing in things)

    @cached_property
    def _components(self) -> dict[str, str]:
        used = {part.component for step in self.plan.steps for part in step.node.lent.values()}
        return {
            name: fingerprint_of(component) or component_spec_of(component).kind
            for name, component in self.plan.graph.components.items()
            if name in used
        }


def start(id: str, plan: Plan, inputs: Mapping[str, Any]) -> Recorder:
    """The recorder of a run that begins now."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Recorder(id, plan, created, {name: plain(value) for name, value in inputs.items()})


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
