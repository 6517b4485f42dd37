"""Manifests: what a person writes. Values only; `stagegraph.graph` gives them meaning.

::

    stagegraph: 1
    name: hello
    inputs:     {prompt: {type: str}}
    components: {model: {kind: ltx2.checkpoint, params: {path: micro}}}
    nodes:      {text: {stage: ltx2.text_encoding, inputs: {prompt: inputs.prompt}}}
    outputs:    {text: text.output}

A graph that runs again and again says what an input takes from the run before: `carry: {past: outputs.future}`.

Wires are written at the consuming end: `node.port`, `node` alone if it has one output, or `inputs.name`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

import attrs

from stagegraph.attempts import Retry
from stagegraph.components import Residency
from stagegraph.document import Document
from stagegraph.errors import Fault, Location, ManifestError, suggest
from stagegraph.ports import REQUIRED
from stagegraph.rules import param
from stagegraph.serde import Path as DataPath
from stagegraph.serde import StructureError, Text, describe, dotted, structure, unstructure

#: The manifest format that this release reads and writes.
VERSION: Final = 1


@attrs.frozen
class InputDecl:
    """A value that the caller of the graph gives. `type` is a registered name, `list[name]` or `name | None`."""

    type: str
    default: Any = REQUIRED
    help: str = ""


@attrs.frozen
class ComponentDecl:
    """A component and its settings.

    Attributes:
        kind: what it is.
        params: settings of the component.
        residency: where its parts stay between uses: "resident", "release-after-last-use" or "offload"; for all of
            them, or by part.
    """

    kind: str
    params: dict[str, Any] = attrs.field(factory=dict)
    residency: Residency | dict[str, Residency] | None = None


@attrs.frozen
class Value:
    """A constant in the place of a wire."""

    value: Any


@attrs.frozen
class NodeDecl:
    """A stage, or another graph, placed in the graph.

    Attributes:
        stage: the id of a stage, `id@version` to insist on a version.
        graph: in place of a stage, a manifest: the name of a shipped one, or a path relative to this file.
        params: settings of the stage.
        inputs: what feeds each input: a wire, a constant, or a list of them for a variadic input.
        components: needed only where several components of the graph provide what the stage is lent: argument -> name.
            Of a graph: component in it -> component of this graph to use in its place.
        when: whether the node runs: true, false, or a wire: a bool, or what may be None, for whether it is there.
        map: inputs that are fed lists; the stage runs for each item, and its outputs are lists.
        timeout: seconds after which a call has failed.
        retry: how often the stage is called when it fails with an error that may pass.
    """

    stage: str = ""
    params: dict[str, Any] = attrs.field(factory=dict)
    inputs: dict[str, str | Value | list[str | Value]] = attrs.field(factory=dict)
    components: dict[str, str] = attrs.field(factory=dict)
    graph: str = ""
    when: str | bool = True
    map: tuple[str, ...] = ()
    timeout: float | None = param(default=None, gt=0)
    retry: Retry | None = None

    def __attrs_post_init__(self) -> None:
        if bool(self.stage) == bool(self.graph):
            raise ValueError("a node names either a stage or a graph")
        for name in ("params", "when", "map", "timeout", "retry"):
            if self.graph and getattr(self, name) not in ({}, True, (), None):
                raise ValueError(f"a node that is a graph has no {name} of its own")


@attrs.frozen(kw_only=True)
class Manifest:
    """A graph as written.

    `carry` says which inputs take the value that an output had in the run before, in a session: {input: outputs.name}.
    `document` is the text that it was read from, `overrides` the settings laid over it; both serve messages and
    faithful rewriting and do not count in comparisons.
    """

    stagegraph: Literal[1]
    name: str
    description: str = ""
    inputs: dict[str, InputDecl] = attrs.field(factory=dict)
    components: dict[str, ComponentDecl] = attrs.field(factory=dict)
    nodes: dict[str, NodeDecl]
    outputs: dict[str, str] = attrs.field(factory=dict)
    carry: dict[str, str] = attrs.field(factory=dict)
    document: Document | None = attrs.field(default=None, init=False, eq=False, repr=False)
    overrides: tuple[DataPath, ...] = attrs.field(default=(), init=False, eq=False, repr=False)

    def locate(self, path: DataPath, at_key: bool = False) -> Location | None:
        """Where a part of the manifest was written; None if it was not read from a text."""
        for override in self.overrides:
            within_params = len(path) == len(override) - 1 and override[: len(path)] == path
            if path[: len(override)] == override or within_params:
                return Location(f"--set {'.'.join(str(part) for part in (*override[1:2], *override[3:]))}")
        return self.document.locate(path, at_key) if self.document is not None else None


def load(path: str | Path) -> Manifest:
    """Read a manifest file, YAML 1.2 or JSON.

    Raises:
        ManifestError: with every fault, each with file:line:column.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ManifestError(Fault("unknown_manifest", f"{path} cannot be read: {reason}")) from None
    return loads(text, str(path))


def loads(text: str, file: str = "manifest") -> Manifest:
    """Read a manifest from a text; `file` is its name in messages."""
    from stagegraph import yaml  # here, and where manifests are written: graphs made in Python do without

    document = yaml.read(text, file)
    manifest = from_data(document.data, document)
    object.__setattr__(manifest, "document", document)
    return manifest


def from_data(data: Any, document: Document | None = None) -> Manifest:
    """Read a manifest from plain data; `document` tells where it stands in a text.

    Raises:
        ManifestError: with every fault.
    """
    version = data.get("stagegraph") if isinstance(data, dict) else None
    if type(version) is int and version != VERSION:
        what = f"the manifest has format version {describe(version)}"
        fix = "upgrade stagegraph" if version > VERSION else f"write stagegraph: {VERSION}"
        location = document.locate(("stagegraph",)) if document is not None else None
        why = f"this release reads version {VERSION}"
        raise ManifestError(Fault("unsupported_version", what, why=why, fix=fix, location=location))
    try:
        manifest: Manifest = structure(data, Manifest)
    except StructureError as error:
        faults = [_fault(problem, document) for problem in error.problems]
        raise ManifestError(*sorted(faults, key=_place)) from None
    return manifest


def dumps(manifest: Manifest) -> str:
    """Write a manifest as YAML. One that was read from a text keeps its comments, order and layout."""
    # compared as texts: 1 equals True
    if manifest.document is not None and repr(as_dict(manifest)) == repr(as_dict(loads(manifest.document.text))):
        return manifest.document.text
    from stagegraph import yaml

    text = manifest.document.text if manifest.document is not None else None
    return yaml.rewrite(text, as_dict(manifest))


def as_dict(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain JSON data."""
    data: dict[str, Any] = _plain(unstructure(manifest))
    return {field.name: data[field.name] for field in attrs.fields(Manifest) if field.name in data}


def override(manifest: Manifest, settings: Mapping[str, Any]) -> Manifest:
    """The manifest with params set: {"node.param": value}, a component's name in place of a node's too.

    A `Text` value is read as what the param wants. The names of params are checked when the graph is built.

    Raises:
        ManifestError: a name that is neither a node nor a component of the manifest.
    """
    faults = []
    for name, value in settings.items():
        target, dot, setting = name.partition(".")
        section = "nodes" if target in manifest.nodes else "components" if target in manifest.components else None
        if section is None or not dot:
            known = [*manifest.nodes, *manifest.components]
            what = f'--set {name}: there is no node or component "{target}"' if dot else f"--set {name} names no param"
            fix = suggest(target, known) if dot else "write --set NODE.PARAM=VALUE"
            faults.append(Fault("unknown_node", what, fix=fix))
            continue
        table = getattr(manifest, section)
        declaration = attrs.evolve(table[target], params={**table[target].params, setting: value})
        manifest = _replaced(manifest, section, {**table, target: declaration}, (section, target, "params", setting))
    if faults:
        raise ManifestError(*faults)
    return manifest


def _replaced(manifest: Manifest, section: str, table: Mapping[str, Any], path: DataPath) -> Manifest:
    changed: Manifest = attrs.evolve(cast(Any, manifest), **{section: dict(table)})
    object.__setattr__(changed, "document", manifest.document)
    object.__setattr__(changed, "overrides", (*manifest.overrides, path))
    return changed


def _place(fault: Fault) -> tuple[int, int]:
    location = fault.location
    return (location.line or 0, location.column or 0) if location else (0, 0)


def _fault(problem: Any, document: Document | None) -> Fault:
    location = document.locate(problem.path, problem.at_key) if document is not None else None
    at = dotted(problem.path[:-1] if problem.at_key else problem.path)
    what = f"{at}: {problem.what}" if at else problem.what
    return Fault(problem.code, what, dotted(problem.path), problem.why, problem.fix, location)


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, Iterable) and not isinstance(data, str):
        return [_plain(item) for item in data]
    return data.value if isinstance(data, Text) else data
