"""The run record: what made an output, as plain JSON, so that it can be told and made again."""

from __future__ import annotations

import copy
import datetime
import json
import math
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from stagegraph import manifest as manifests
from stagegraph.components import cache_facts_of, component_spec_of, fingerprint_of
from stagegraph.errors import Fault, RecordError
from stagegraph.graph import INPUTS, Constant, Graph, Ref, to_drafts, to_manifest
from stagegraph.manifest import Manifest
from stagegraph.plan import GivenInput, Plan, needed_by
from stagegraph.serde import StructureError, describe, dotted, structure
from stagegraph.tensorfile import parse_json

T = TypeVar("T")

if TYPE_CHECKING:
    from importlib import metadata

SCHEMA: Final = "stagegraph.run/1"
#: Bytes. A longer record is not read.
LONGEST: Final = 16 * 2**20
#: Characters of JSON. A longer input is described in the record, not kept.
LONGEST_INPUT: Final = 2**20

_DEEPEST, _MOST_VALUES, _SHOWN = 80, 2_000_000, 20
#: Bits. JSON readers refuse numbers of some thousand digits.
_LONGEST_INTEGER: Final = 1024


def new_run_id() -> str:
    """Random: 8 hexadecimal digits."""
    return os.urandom(4).hex()


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
        facts: what components say of themselves beside their weights: number format, kind of device.
        given: values that the caller brought for ports, by `node.outputs.port` or `node.inputs.port`; as inputs.
        described: the inputs, and given values, that are only described.
        node: the node that wrote the file which this record is in, and whose part of the run it tells; empty if it
            tells of the whole run.
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
    peak_bytes: dict[str, int] = attrs.field(factory=dict)
    device_peak_bytes: dict[str, int] = attrs.field(factory=dict)
    facts: dict[str, dict[str, str]] = attrs.field(factory=dict)
    given: dict[str, Any] = attrs.field(factory=dict)
    described: tuple[str, ...] = ()
    node: str = ""

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
    given: dict[str, Any]
    described: frozenset[str]
    status: str = "running"
    seconds: dict[str, float] = attrs.field(factory=dict)
    peak_bytes: dict[str, int] = attrs.field(factory=dict)
    device_peak_bytes: dict[str, int] = attrs.field(factory=dict)
    _known_versions: dict[frozenset[str], dict[str, str]] = attrs.field(factory=dict, init=False, repr=False)

    def take(self, name: str, value: Any) -> None:
        """Note the value of an input that has come while the run goes on."""
        if _is_kept(value):
            self.inputs[name] = copy.deepcopy(value)
        else:
            self.inputs[name] = summary(value)
            self.described |= {name}

    def record(self, node: str = "") -> RunRecord:
        """The record so far.

        Args:
            node: a node that writes a file; the record is then of what made this file, and of nothing else.
        """
        graph, outputs = self._part(node) if node else (self.plan.graph, tuple(self.plan.outputs))
        inputs = {name: value for name, value in self.inputs.items() if name in graph.inputs}
        given = {port: value for port, value in self.given.items() if port.partition(".")[0] in graph.nodes}
        return RunRecord(
            id=self.id,
            graph=graph.name,
            created=self.created,
            outputs=outputs,
            inputs=inputs,
            manifest=_manifest(graph) if node else self._manifest,
            versions=self._versions(packages_of(graph)),
            components={name: print for name, print in self._components.items() if name in graph.components},
            status=self.status,
            seconds=_of(graph, {name: round(seconds, 6) for name, seconds in self.seconds.items()}),
            peak_bytes=_of(graph, self.peak_bytes),
            device_peak_bytes=_of(graph, self.device_peak_bytes),
            facts={name: facts for name, facts in self._facts.items() if name in graph.components},
            given=given,
            described=tuple(name for name in (*inputs, *given) if name in self.described),
            node=node,
        )

    def _part(self, node: str) -> tuple[Graph, tuple[str, ...]]:
        """The part of the graph that a node needs, and its outputs that were asked for."""
        graph, sources = self.plan.graph, self._sources
        outputs = {name: ref for name, slot in self.plan.outputs.items() if (ref := sources[slot]).node == node}
        outputs = outputs or {f"{node}.{port}": Ref(node, port) for port in graph.nodes[node].spec.outputs}
        needed = needed_by(graph.nodes, outputs.values())
        nodes = {name: graph.nodes[name] for name in sorted(needed, key=self._places.__getitem__)}
        inputs = {ref.port for part in nodes.values() for ref in part.refs() if ref.node == INPUTS}
        lent = {ref.component for part in nodes.values() for ref in part.lent.values()}
        part = attrs.evolve(
            graph,
            inputs={name: input for name, input in graph.inputs.items() if name in inputs},
            components={name: graph.components[name] for name in graph.components if name in graph.with_held(lent)},
            nodes=nodes,
            outputs={name: ref for name, ref in outputs.items() if name in graph.outputs},
            carry={},
        )
        return part, tuple(outputs)

    @cached_property
    def _manifest(self) -> dict[str, Any] | None:
        return _manifest(self.plan.graph)

    @cached_property
    def _sources(self) -> dict[int, Ref]:
        return {slot: source for source, slot in self.plan.slots.items() if isinstance(source, Ref)}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.plan.graph.nodes)}

    def _versions(self, packages: frozenset[str]) -> dict[str, str]:
        if packages not in self._known_versions:
            self._known_versions[packages] = versions_of(packages)
        return self._known_versions[packages]

    @cached_property
    def _used(self) -> dict[str, Any]:
        used = {part.component for step in self.plan.steps for part in step.node.lent.values()}
        used = self.plan.graph.with_held(used)
        return {name: component for name, component in self.plan.graph.components.items() if name in used}

    @cached_property
    def _components(self) -> dict[str, str]:
        return {name: fingerprint_of(c) or component_spec_of(c).kind for name, c in self._used.items()}

    @cached_property
    def _facts(self) -> dict[str, dict[str, str]]:
        return {name: facts for name, component in self._used.items() if (facts := cache_facts_of(component))}


def start(id: str, plan: Plan, inputs: Mapping[str, Any], given: Mapping[int, Any] | None = None) -> Recorder:
    """The recorder of a run that begins now; `given` are the values of slots that the caller filled."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    sources = {slot: source for source, slot in plan.slots.items()} if given else {}
    brought = {_port_name(sources[slot]): value for slot, value in (given or {}).items()}
    described = frozenset(name for name, value in (*inputs.items(), *brought.items()) if not _is_kept(value))
    told, told_given = (
        {name: summary(value) if name in described else copy.deepcopy(value) for name, value in values.items()}
        for values in (inputs, brought)
    )
    return Recorder(id, plan, created, told, told_given, described)


def _port_name(port: Ref | Constant) -> str:
    """What `plan.make` reads as this port, whatever else is called like it."""
    if isinstance(port, GivenInput):
        return f"{port.node}.inputs.{port.port}"
    assert isinstance(port, Ref)  # nothing else can be given
    return f"{port.node}.outputs.{port.port}"


def _of(graph: Graph, told: Mapping[str, T]) -> dict[str, T]:
    """What is told of the nodes of a graph."""
    return {name: value for name, value in told.items() if name in graph.nodes}


def loads(data: bytes, where: str) -> RunRecord:
    """A record from its JSON text, which is taken for untrusted: bounded, strict, and nothing in it is believed yet.

    Args:
        data: the text.
        where: the file that it comes from, for messages.

    Raises:
        RecordError: it is too large, no record, or of another version; with every fault.
    """
    if len(data) > LONGEST:
        why = f"the limit is {LONGEST} bytes"
        raise RecordError(Fault("too_large", f"the run record has {len(data)} bytes", where, why))
    try:
        content = parse_json(data)
        _check_size(content)
    except ValueError as error:
        raise RecordError(Fault("bad_record", f"the run record cannot be read: {error}", where)) from None
    return from_data(content, where)


def from_data(content: Any, where: str) -> RunRecord:
    """A record from plain JSON data.

    Raises:
        RecordError: it is none, or of another version; with every fault.
    """
    if not isinstance(content, dict) or not isinstance(content.get("schema"), str):
        raise RecordError(Fault("bad_record", "it holds no run record", where, f'its "schema" would be "{SCHEMA}"'))
    if content["schema"] != SCHEMA:
        what = f"the run record is of the form {describe(content['schema'])}"
        newer = re.fullmatch(r"stagegraph\.run/[0-9]{1,9}", content["schema"])
        fix = "upgrade stagegraph" if newer else ""
        raise RecordError(Fault("unsupported_version", what, where, f"this release reads {SCHEMA}", fix))
    try:
        record: RunRecord = structure({name: content[name] for name in content if name != "schema"}, RunRecord)
    except StructureError as error:
        raise RecordError(*_faults(error, where)) from None
    return record


def _faults(error: StructureError, where: str) -> list[Fault]:
    """What is wrong with the structure, the first of it: a record may be wrong in a million places."""
    shown = [Fault(p.code, f"{dotted(p.path)}: {p.what}", where, p.why) for p in error.problems[:_SHOWN]]
    more = len(error.problems) - len(shown)
    return [*shown, *([Fault("bad_record", f"{more} more values are wrong", where)] if more else [])]


def _check_size(content: Any) -> None:
    """Refuse what would keep those busy who walk over it."""
    waiting, seen = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a number is not finite")
        if isinstance(value, (dict, list)):
            if depth == _DEEPEST:
                raise ValueError(f"it is nested more than {_DEEPEST} deep")
            waiting += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
        if seen + len(waiting) > _MOST_VALUES:
            raise ValueError(f"it holds more than {_MOST_VALUES} values")


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Python, the engine, the plugins that hold these top-level packages, and the libraries that those require.

    Looked up once for the same packages, as their code is read once.
    """
    return dict(_versions_of(frozenset(packages), tuple(sys.path)))


@lru_cache(maxsize=64)
def _versions_of(packages: frozenset[str], path: tuple[str, ...]) -> Mapping[str, str]:
    known = _plugin_distributions()
    plugins = [known[package] for package in packages if package in known]
    names = {"stagegraph", *(plugin.metadata["Name"] for plugin in plugins)}
    for plugin in plugins:
        names |= {re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in plugin.requires or () if "extra ==" not in need}
    versions = {name: version for name in sorted(names) if (version := installed_version(name))}
    return {"python": platform.python_version(), **versions}


def packages_of(graph: Graph) -> frozenset[str]:
    """The top-level packages that hold the stages and components of a graph."""
    things = [*graph.components.values(), *(node.stage for node in graph.nodes.values())]
    return frozenset(type(thing).__module__.partition(".")[0] for thing in things)


def installed_version(distribution: str) -> str | None:
    """The version of a distribution; None if it is not installed, or this is no name of one."""
    from importlib import metadata  # with the e-mail parser: as long to import as attrs; few runs ask for versions

    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _plugin_distributions() -> Mapping[str, metadata.Distribution]:
    from importlib import metadata

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
    return value if _is_scalar(value) else summary(value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, bool)) or (isinstance(value, float) and math.isfinite(value))


def _is_kept(value: Any) -> bool:
    """Whether an input can be kept as it is: plain data, not too deep and not too long."""
    return _is_plain(value, 16) and len(json.dumps(value)) <= LONGEST_INPUT


def _is_plain(value: Any, depth: int) -> bool:
    if type(value) is list and depth:
        return all(_is_plain(item, depth - 1) for item in value)
    if type(value) is dict and depth:
        return all(type(key) is str and _is_plain(item, depth - 1) for key, item in value.items())
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
        return False
    return _is_scalar(value)


def summary(value: Any) -> str:
    """A value in a few words, for messages and records: its type and size, never its content at length."""
    if isinstance(value, (bool, int, float, type(None))):
        return describe(value) if isinstance(value, int) and value.bit_length() > 256 else repr(value)
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
