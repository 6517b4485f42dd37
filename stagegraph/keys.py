"""Cache keys: everything that the outputs of a node depend on, as named texts, and the SHA-256 over them.

A key keeps its ingredients, so that two can be compared and every miss explained: "inputs.seed: 1 -> 2",
"versions.torch: 2.12.0 -> 2.13.0". They are:

- `stage` and `code`: id and version of the stage, and a digest of the sources of the package that it stands in. A
  module of its own would not do: what a stage computes stands mostly in what it imports.
- `params.*`: the params of the stage, resolved.
- `inputs.*`: what flows in: the key of the output that a wire comes from, or the identity of a value.
- `components.*`: for each part that is lent: kind and version, part, fingerprint of the weights, and what the component
  says of itself in `cache_facts()` (number format, kind of device); its params if it has no such method.
- `versions.*`: Python, the engine, the plugins involved and the libraries that they require.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from stagegraph.artifacts import Codecs
from stagegraph.components import cache_facts_of, component_spec_of, fingerprint_of
from stagegraph.errors import ArtifactError
from stagegraph.plan import Step
from stagegraph.record import versions_of

#: Part of every key; raised when keys are made in another way.
FORM: Final = "stagegraph.key/1"

#: What the inputs of a node are known by: input -> an identity, several for a port that gathers, None if it has none.
Identities = Mapping[str, str | tuple[str, ...] | None]


@attrs.frozen
class NodeKey:
    """What the outputs of a node depend on.

    Attributes:
        digest: SHA-256, in hex.
        fixed: the ingredients that are known before the run.
        inputs: the ingredients that flow in.
    """

    digest: str
    fixed: Mapping[str, str] = attrs.field(repr=False, eq=False)
    inputs: Mapping[str, str] = attrs.field(repr=False, eq=False)

    @property
    def ingredients(self) -> dict[str, str]:
        """All of them."""
        return {**self.fixed, **self.inputs}

    def output(self, port: str) -> str:
        """What an output of the node is known by."""
        return f"node:{self.digest}.{port}"


@attrs.frozen
class Keyless:
    """A node that has no key, and why."""

    why: str


@attrs.frozen
class Change:
    """An ingredient in which two keys differ; None where one of them does not have it."""

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        return f"{self.name}: {_told(self.old)} -> {_told(self.new)}"


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    """The ingredients in which two keys differ, in the order of the newer one."""
    names = [*new, *(name for name in old if name not in new)]
    return [Change(n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]


class KeyMaker:
    """Makes the keys of a graph's nodes.

    What does not flow is looked at once for each step: weights are fingerprinted and sources are read when the first
    key of a step is asked for.

    Args:
        codecs: tell the identity of params.
        components: the components of the graph, by name.
    """

    def __init__(self, codecs: Codecs, components: Mapping[str, Any]) -> None:
        self._codecs = codecs
        self._components = components
        self._facts: dict[str, Mapping[str, str]] = {}
        self._versions: dict[frozenset[str], Mapping[str, str]] = {}
        self._fixed: dict[int, tuple[Step, _Fixed | Keyless]] = {}

    def key(self, step: Step, identities: Identities) -> NodeKey | Keyless:
        """The key of a step whose inputs are known by these identities."""
        known = self._fixed.get(id(step))  # steps hold params, which need not be hashable
        if known is None:
            known = self._fixed[id(step)] = (step, self._look(step))
        fixed = known[1]
        if isinstance(fixed, Keyless):
            return fixed
        inputs: dict[str, str] = {}
        for port, identity in identities.items():
            if identity is None:
                return Keyless(f"its input {port} has neither a key nor a codec")
            if isinstance(identity, str):
                inputs[f"inputs.{port}"] = identity
            else:
                inputs |= {f"inputs.{port}[{i}]": one for i, one in enumerate(identity)}
                inputs[f"inputs.{port}"] = str(len(identity))
        digest = fixed.digest.copy()
        digest.update(_canonical(inputs))
        return NodeKey(digest.hexdigest(), fixed.ingredients, inputs)

    def _look(self, step: Step) -> _Fixed | Keyless:
        try:
            ingredients = dict(self._ingredients(step))
        except _NoKeyError as error:
            return Keyless(str(error))
        digest = hashlib.sha256(f"{FORM}\n".encode())
        digest.update(_canonical(ingredients) + b"\n")
        return _Fixed(MappingProxyType(ingredients), digest)

    def _ingredients(self, step: Step) -> Iterator[tuple[str, str]]:
        spec, stage = step.node.spec, step.node.stage
        lent = {argument: self._components[ref.component] for argument, ref in step.node.lent.items()}
        packages = [_package_of(spec.factory), *(_package_of(type(component)) for component in lent.values())]
        yield "stage", str(spec)
        yield "code", _code_of(packages[0], spec.factory.__module__)
        for name in spec.params:
            yield f"params.{name}", self._identity(f"its param {name}", getattr(stage, name))
        for argument, ref in step.node.lent.items():
            facts = self._component(ref.component)
            yield f"components.{argument}.part", ref.part
            yield from ((f"components.{argument}.{name}", fact) for name, fact in facts.items())
        yield from self._versions_of(frozenset(packages)).items()

    def _versions_of(self, packages: frozenset[str]) -> Mapping[str, str]:
        if packages not in self._versions:
            versions = versions_of(packages)
            self._versions[packages] = {f"versions.{name}": version for name, version in versions.items()}
        return self._versions[packages]

    def _component(self, name: str) -> Mapping[str, str]:
        if name not in self._facts:
            self._facts[name] = dict(self._component_facts(name, self._components[name]))
        return self._facts[name]

    def _component_facts(self, name: str, component: Any) -> Iterator[tuple[str, str]]:
        spec = component_spec_of(component)
        fingerprint = fingerprint_of(component)
        if not fingerprint:
            raise _NoKeyError(f"component {name} ({spec.kind}) has no fingerprint")
        yield "kind", f"{spec.kind}@{spec.version}"
        yield "code", _code_of(_package_of(type(component)), type(component).__module__)
        yield "fingerprint", fingerprint
        told = cache_facts_of(component)
        if told is not None:
            yield from told.items()
        else:
            for param in spec.params:
                what = f"param {param} of component {name}"
                yield f"params.{param}", self._identity(what, getattr(component, param))

    def _identity(self, what: str, value: Any) -> str:
        try:
            return self._codecs.identity(value)
        except ArtifactError as error:
            raise _NoKeyError(f"{what} cannot be compared: {error.faults[0].what}") from None


@attrs.frozen(eq=False)
class _Fixed:
    """The ingredients of a step that do not flow, and the hash as far as they go."""

    ingredients: Mapping[str, str]
    digest: Any


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class _NoKeyError(Exception):
    """Why a step has no key."""


def _package_of(cls: type) -> str:
    return cls.__module__.partition(".")[0]


@cache
def _code_of(package: str, module: str) -> str:
    """A digest of the sources that a module stands among: its top-level package, or its own file.

    Read once in a process, as the code itself is.
    """
    root = getattr(sys.modules.get(package), "__path__", None)
    file = getattr(sys.modules.get(module), "__file__", None)
    files = sorted(path for folder in root for path in Path(folder).rglob("*.py")) if root else []
    if not files and file is not None:
        files = [Path(file)]
    digest = hashlib.sha256()
    try:
        for path in files:
            digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise _NoKeyError(f"the source of {module} cannot be read: {error}") from None
    if not files:
        raise _NoKeyError(f"module {module} has no source file")
    return digest.hexdigest()


def _canonical(ingredients: Mapping[str, str]) -> bytes:
    return _CANONICAL.encode(ingredients).encode()


def _told(value: str | None) -> str:
    return "none" if value is None else value if len(value) <= 80 else f"{value[:77]}..."
