"""The registry: which names stand for which stages, components, types and manifests. A value; it never changes.

Look-ups that fail say what is near, and whether a plugin that could not be loaded is the reason.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import GenericAlias, MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph.components import ComponentSpec, component_spec_of
from stagegraph.continuation import ContinuationCodec
from stagegraph.errors import Fault, nearest, suggest
from stagegraph.joiners import Joiner
from stagegraph.recordreaders import RecordReader
from stagegraph.serde import describe
from stagegraph.stages import StageSpec, spec_of

if TYPE_CHECKING:
    from stagegraph.artifacts import Codec

#: Types that every registry knows by name.
BASIC_TYPES: Mapping[str, Any] = MappingProxyType({"str": str, "int": int, "float": float, "bool": bool})


@attrs.frozen
class Origin:
    """Where a registered name comes from."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution} {self.version})"


@attrs.frozen
class PluginProblem:
    """Why a plugin, or one name that it registers, cannot be used.

    `names` are the stage ids, kinds and types that are lost; empty when that is not known because the plugin as a
    whole did not load.
    """

    origin: Origin
    fault: Fault
    names: frozenset[str] = frozenset()

    def concerns(self, name: str) -> bool:
        """Whether this may be the reason why a name is unknown."""
        return name in self.names if self.names else name.partition(".")[0].partition("/")[0] == self.origin.plugin


def _table(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


@attrs.frozen
class Registry:
    """Names and what they stand for.

    `readers` and `joiners` are by the ending of files, as in ".mp4". `origins` tells which plugin registered a name;
    `problems` are the plugins that could not.
    """

    stages: Mapping[str, StageSpec] = attrs.field(factory=dict, converter=_table)
    components: Mapping[str, ComponentSpec] = attrs.field(factory=dict, converter=_table)
    types: Mapping[str, Any] = attrs.field(factory=dict, converter=_table)
    codecs: Mapping[str, Codec] = attrs.field(factory=dict, converter=_table)
    continuations: Mapping[str, ContinuationCodec] = attrs.field(factory=dict, converter=_table)
    manifests: Mapping[str, Path] = attrs.field(factory=dict, converter=_table)
    readers: Mapping[str, RecordReader] = attrs.field(factory=dict, converter=_table)
    joiners: Mapping[str, Joiner] = attrs.field(factory=dict, converter=_table)
    origins: Mapping[str, Origin] = attrs.field(factory=dict, converter=_table)
    plugins: tuple[Origin, ...] = ()
    problems: tuple[PluginProblem, ...] = ()

    @classmethod
    def of(cls, *things: Any) -> Registry:
        """A registry of stages and components given as classes, functions or instances; no plugins."""
        stages = [spec_of(t) for t in things if hasattr(t, "__stagegraph_stage__")]
        rest = [component_spec_of(t) for t in things if not hasattr(t, "__stagegraph_stage__")]
        return cls(stages={s.id: s for s in stages}, components={c.kind: c for c in rest}, types=BASIC_TYPES)

    def stage(self, reference: str) -> StageSpec | Fault:
        """The stage that `id` or `id@version` names, or why there is none."""
        id, at, version = reference.partition("@")
        spec = self.stages.get(id)
        if spec is None:
            return self._unknown("unknown_stage", "stage", id, self.stages)
        if at and not spec.migrations.reads(version):
            why = f"installed is version {spec.version}"
            what = f'stage {id} of version "{version}" is not installed'
            return Fault(
                "unsupported_version", what, why=why, fix=f"write {id}@{spec.version} after checking its changes"
            )
        return spec

    def component(self, kind: str) -> ComponentSpec | Fault:
        """The component of a kind, or why there is none."""
        spec = self.components.get(kind)
        return spec if spec is not None else self._unknown("unknown_component", "component kind", kind, self.components)

    def continuation(self, kind: str) -> ContinuationCodec | Fault:
        """The codec of the continuation states of a kind, or why there is none."""
        codec = self.continuations.get(kind)
        return codec if codec is not None else self._unknown("unknown_kind", "continuation", kind, self.continuations)

    def type(self, name: str) -> Any:
        """The type that `name`, `list[name]` or `name | None` stands for, or a Fault."""
        name = name.strip()
        if name in self.types:
            return self.types[name]
        if len(name) > 200:
            return Fault("unknown_type", f"the type {describe(name)} is too long to be one")
        optional = name.removesuffix("None").rstrip()
        if optional != name and optional.endswith("|"):
            inner = self.type(optional[:-1])
            return inner if isinstance(inner, Fault) else inner | None
        if name.startswith("list[") and name.endswith("]"):
            inner = self.type(name[5:-1])
            return inner if isinstance(inner, Fault) else GenericAlias(list, (inner,))
        return self._unknown("unknown_type", "type", name, self.types)

    def type_name(self, type_: Any) -> str | None:
        """What `type` reads as a type, None if nothing does."""
        origin, args = typing.get_origin(type_), typing.get_args(type_)
        if origin is list:
            inner = self.type_name(args[0])
            return inner and f"list[{inner}]"
        if origin in (typing.Union, UnionType) and len(args) == 2 and args[1] is NoneType:
            inner = self.type_name(args[0])
            return inner and f"{inner} | None"
        return next((name for name, known in self.types.items() if known is type_ or known == type_), None)

    def manifest(self, name: str) -> Path | Fault:
        """The shipped manifest of a name, or why there is none."""
        path = self.manifests.get(name)
        return path if path is not None else self._unknown("unknown_manifest", "manifest", name, self.manifests)

    def _unknown(self, code: str, what: str, name: str, known: Iterable[str]) -> Fault:
        for problem in self.problems:
            if problem.concerns(name):
                why = f"plugin {problem.origin} registers it, but: {problem.fault.what}"
                return Fault(code, f'{what} "{name}" is not available', why=why, fix=problem.fault.fix)
        known = list(known)
        plugin = name.partition(".")[0].partition("/")[0]
        absent = plugin != name and self.plugins and all(origin.plugin != plugin for origin in self.plugins)
        if not known or (absent and nearest(name, known, cutoff=0.75) is None):
            why = f'no installed plugin is called "{plugin}"' if absent else ""
            return Fault(code, f'there is no {what} "{name}"', why=why, fix="install the plugin that registers it")
        return Fault(code, f'there is no {what} "{name}"', fix=suggest(name, known))
