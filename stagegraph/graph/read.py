"""From a manifest to drafts: ids looked up, params structured, subgraphs embedded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

from stagegraph import manifest as manifests
from stagegraph.components import ComponentSpec
from stagegraph.errors import Fault, GraphError, Location, ManifestError, suggest
from stagegraph.graph.bind import Attempt, attempt, bind
from stagegraph.graph.drafts import Draft, Drafts, Place, references
from stagegraph.graph.embed import embed, fed_from_outside, wrong_wires
from stagegraph.graph.faults import Faults
from stagegraph.graph.values import INPUTS, Graph, Input
from stagegraph.manifest import ComponentDecl, InputDecl, Manifest, NodeDecl
from stagegraph.ports import REQUIRED
from stagegraph.registry import Registry
from stagegraph.serde import Path, Problem, StructureError, describe, structure
from stagegraph.stages import StageSpec

#: How deep graphs may be nested in graphs.
MAX_DEPTH = 16
#: A reference that leads nowhere, and of which that has been told.
NOWHERE = f"{INPUTS}./"


def build(manifest: Manifest, registry: Registry) -> Graph:
    """Bind a manifest to the stages and components of a registry.

    Raises:
        GraphError: with every fault, each with the place where it was written.
    """
    drafts, faults = read(manifest, registry)
    return bind(drafts, locate=manifest.locate, faults=faults)


def tried(manifest: Manifest, registry: Registry, outputs: Iterable[str] | None = None) -> Attempt:
    """As `build`, but go on after what is wrong.

    Args:
        manifest: what to bind.
        registry: what it may name.
        outputs: the outputs or nodes that are asked for; the graph's outputs if None.
    """
    drafts, faults = read(manifest, registry)
    return attempt(drafts, locate=manifest.locate, faults=faults, outputs=outputs)


def read(manifest: Manifest, registry: Registry, _within: tuple[str, ...] = ()) -> tuple[Drafts, list[Fault]]:
    """Look up what a manifest names and structure its params.

    Returns:
        The drafts, and why the nodes and components are lost that could not be made.
    """
    reader = _Reader(manifest, registry, _within)
    drafts = Drafts(manifest.name, manifest.description, outputs=dict(manifest.outputs), carry=dict(manifest.carry))
    for name, declaration in manifest.inputs.items():
        drafts.inputs[name] = reader.input(name, declaration)
    for name, component in manifest.components.items():
        made = reader.component(name)
        if made is not None:
            drafts.components[name] = made
            if component.residency is not None:
                drafts.residency[name] = component.residency
    for name, node in manifest.nodes.items():
        if node.graph:
            reader.subgraph(name, node, drafts)
        elif (draft := reader.node(name, node)) is not None:
            drafts.nodes[name] = draft
    for name, node in manifest.nodes.items():
        if name not in drafts.nodes and name not in drafts.subgraphs:
            drafts.lost["nodes", name] = tuple(references([*node.inputs.values(), node.when]))
            drafts.loose |= _references(name, node)
    for name in manifest.components.keys() - drafts.components.keys():
        drafts.lost["components", name] = ()
    return drafts, reader.faults


class _Reader(Faults):
    """From declarations to specs and params."""

    def __init__(self, manifest: Manifest, registry: Registry, within: tuple[str, ...]) -> None:
        super().__init__(manifest.locate, [])
        self._manifest = manifest
        self._registry = registry
        self._within = (*within, _identity(manifest))
        self._components: dict[str, Any] = {}
        self._making: list[str] = []

    def input(self, name: str, declaration: InputDecl) -> Input:
        path = ("inputs", name)
        type_ = self._registry.type(declaration.type)
        if isinstance(type_, Fault):
            self.adopt((*path, "type"), type_)
            type_ = Any
        elif declaration.default is not REQUIRED:
            try:
                return Input(name, type_, structure(declaration.default, type_), declaration.help, declaration.type)
            except StructureError as error:
                for problem in error.problems:
                    what = f"the default of input {name}: {problem.what}"
                    self.add((*path, "default", *problem.path), problem.code, what, problem.why, problem.fix)
        return Input(name, type_, declaration.default, declaration.help, declaration.type)

    def component(self, name: str) -> Any:
        """A component of the manifest, made once; None, and faults, if it cannot be made."""
        if name not in self._components:
            self._making.append(name)
            self._components[name] = self._component(name, self._manifest.components[name])
            self._making.pop()
        return self._components[name]

    def _component(self, name: str, declaration: ComponentDecl) -> Any:
        path = ("components", name)
        spec = self._registry.component(declaration.kind)
        if isinstance(spec, Fault):
            self.adopt((*path, "kind"), spec)
            return None
        owner, params = f"component {name} ({spec.kind})", dict(declaration.params)
        for param, wanted in spec.holds.items():
            if param in params:
                params[param] = self._held((*path, "params", param), owner, params[param], wanted)
        if any(params.get(param, name) is None for param in spec.holds):
            return None  # it was told why
        return self._make(spec, params, (*path, "params"), owner)

    def _held(self, path: Path, owner: str, name: Any, wanted: ComponentSpec) -> Any:
        """The component that a param of another names; None, and a fault, if there is none."""
        name = str(name) if isinstance(name, str) else name
        fitting = [n for n, one in self._manifest.components.items() if one.kind == wanted.kind]
        if not isinstance(name, str):
            self.add(path, "invalid_type", f"{owner}: {path[-1]}: {describe(name)} is not the name of a component")
        elif name not in self._manifest.components:
            fix = suggest(name, fitting) if fitting else f"add a component of kind {wanted.kind}"
            self.add(path, "unknown_component", f'{owner}: {path[-1]}: the graph has no component "{name}"', fix=fix)
        elif name in self._making:
            chain = " -> ".join([*self._making[self._making.index(name) :], name])
            self.add(path, "cycle", f"the components hold each other: {chain}", fix="name another component")
        elif self._manifest.components[name].kind != wanted.kind:
            what = f"{owner}: {path[-1]} is {name}, of kind {self._manifest.components[name].kind}"
            why = f"it takes a component of kind {wanted.kind}"
            self.add(path, "type_mismatch", what, why, suggest(name, fitting) if fitting else "add one")
        else:
            return self.component(name)
        return None

    def node(self, name: str, declaration: NodeDecl) -> Draft | None:
        path = ("nodes", name)
        spec = self._registry.stage(declaration.stage)
        if isinstance(spec, Fault):
            self.adopt((*path, "stage"), spec)
            return None
        params = spec.migrations.migrate(declaration.stage, declaration.params)
        if isinstance(params, Fault):
            self.adopt((*path, "params"), params)
            return None
        stage = self._make(spec, params, (*path, "params"), f"{name} ({spec.id})")
        # Without valid params the wires can still be checked, so that all faults come at once.
        inputs, components = dict(declaration.inputs), dict(declaration.components)
        how = (declaration.when, declaration.map, declaration.timeout, declaration.retry)
        return Draft(name, spec, stage, inputs, components, *how)

    def subgraph(self, name: str, declaration: NodeDecl, outer: Drafts) -> None:
        """Embed the graph that a node names; its own faults keep the places in its own file."""
        path = ("nodes", name)
        found = self._find(declaration.graph)
        if isinstance(found, Fault):
            self.adopt((*path, "graph"), found)
            return
        inner, faults = read(found, self._registry, self._within)
        for draft in inner.nodes.values():
            if draft.place is None:
                draft.place = _place_in(found, "nodes", draft.name)
        for component in inner.components:
            inner.places.setdefault(component, _place_in(found, "components", component))
        # On its own first, so that what is wrong in it is told in its own words, and once
        tried = attempt(inner, locate=found.locate, faults=faults)
        self.faults += (f for f in tried.faults if f.code != "missing_component")  # the outer graph may have it
        inner.outputs = {out: ref if out in tried.graph.outputs else NOWHERE for out, ref in inner.outputs.items()}
        self._inner_components(path, declaration, inner, outer)
        for port, fault in wrong_wires(name, inner, declaration.inputs):
            if fault.code == "missing_input":
                self.adopt(path, fault)
            else:
                self.add((*path, INPUTS, port), fault.code, fault.what, fault.why, fault.fix, at_key=True)
        try:
            embed(outer, name, inner, declaration.inputs, declaration.components)
        except GraphError as error:
            for fault in error.faults:
                self.adopt((*path, "inputs") if declaration.inputs else path, fault)
            return
        for node, draft in inner.nodes.items():
            fed = {port: source for port, source in fed_from_outside(draft) if source in declaration.inputs}
            if fed and draft.place is not None:
                outer.nodes[f"{name}/{node}"].place = _place_outside(self._manifest, name, fed, draft.place)

    def _inner_components(self, path: Path, declaration: NodeDecl, inner: Drafts, outer: Drafts) -> None:
        """Check which components an embedded graph is to use in place of its own."""
        lost = {component for kind, component in inner.lost if kind == "components"}
        for component, chosen in declaration.components.items():
            place = (*path, "components", component)
            if component not in inner.components and component not in lost:
                what = f'{path[1]} ({inner.name}) has no component "{component}"'
                fix = suggest(component, inner.components) if inner.components else "it has no components"
                self.add(place, "unknown_component", what, fix=fix, at_key=True)
            elif chosen not in self._manifest.components:
                fix = suggest(chosen, self._manifest.components)
                self.add(place, "unknown_component", f'the graph has no component "{chosen}"', fix=fix)
                outer.lost["components", chosen] = ()

    def _find(self, name: str) -> Manifest | Fault:
        """The manifest that a node names: a file beside this one, or a shipped one."""
        document = self._manifest.document
        beside = FilePath(document.file).parent / name if document is not None else FilePath(name)
        is_file = beside.suffix in (".yaml", ".yml", ".json")
        path = beside if is_file else self._registry.manifest(name)
        if isinstance(path, Fault):
            return path
        try:
            found = manifests.load(path)
        except ManifestError as error:
            if error.code != "unknown_manifest":
                self.faults += error.faults
                return Fault("unknown_manifest", f'the graph "{name}" cannot be read', fix="see the other errors")
            reason = error.faults[0].what.rpartition(": ")[2]
            return Fault("unknown_manifest", f'the graph "{name}" cannot be read: {reason}', why=f"the path is {path}")
        if _identity(found) in self._within:
            chain = " -> ".join([*self._within, _identity(found)])
            return Fault("cycle", f'the graph "{name}" contains itself', why=chain, fix="graphs cannot be recursive")
        if len(self._within) > MAX_DEPTH:
            return Fault("too_large", f"graphs are nested more than {MAX_DEPTH} deep", fix="nest them less deep")
        return found

    def _make(self, spec: StageSpec | ComponentSpec, params: dict[str, Any], path: Path, owner: str) -> Any:
        try:
            return structure(params, spec.factory, path)
        except StructureError as error:
            for problem in error.problems:
                self._param(problem, spec, path, owner)
            return None

    def _param(self, problem: Problem, spec: StageSpec | ComponentSpec, path: Path, owner: str) -> None:
        name = str(problem.path[len(path)]) if len(problem.path) > len(path) else ""
        if problem.code == "unknown_key" and len(problem.path) == len(path) + 1:
            what = f'{owner} has no param "{name}"'
            if isinstance(spec, StageSpec) and name in spec.inputs:
                fix = f"{name} is an input: wire it under inputs"
            else:
                fix = suggest(name, spec.params) if spec.params else "it has no params"
            self.add(problem.path, "unknown_param", what, fix=fix, at_key=True)
        elif problem.code == "missing_key" and problem.path == path:
            what = f"{owner}: the param {problem.what}"
            self.add(path, "missing_param", what, problem.why, problem.fix)
        else:
            what = (
                problem.what if problem.what.startswith(name) else f"{name}: {problem.what}" if name else problem.what
            )
            self.add(problem.path, problem.code, f"{owner}: {what}", problem.why, problem.fix, problem.at_key)


def _identity(manifest: Manifest) -> str:
    return str(FilePath(manifest.document.file).resolve()) if manifest.document is not None else manifest.name


def _references(name: str, node: NodeDecl) -> dict[Path, str]:
    """What a node refers to, by the path where it does."""
    found: dict[Path, str] = {("nodes", name, "when"): node.when} if isinstance(node.when, str) else {}
    for port, wire in node.inputs.items():
        path = ("nodes", name, INPUTS, port)
        parts = {(*path, i): part for i, part in enumerate(wire)} if isinstance(wire, list) else {path: wire}
        found |= {at: part for at, part in parts.items() if isinstance(part, str)}
    return found


def _place_outside(outer: Manifest, name: str, fed: Mapping[str, str], inner: Place) -> Place:
    """Where a node of an embedded graph was written; what feeds it from outside stands where that graph is used."""

    def place(path: Path, at_key: bool) -> Location | None:
        if len(path) > 1 and path[0] == INPUTS and path[1] in fed:
            return outer.locate(("nodes", name, INPUTS, fed[str(path[1])]), at_key)
        return inner(path, at_key)

    return place


def _place_in(manifest: Manifest, *part: str) -> Any:
    return lambda path, at_key: manifest.locate((*part, *path), at_key)
