"""The graph: names resolved, types checked, acyclic, frozen.

`build(manifest, registry)` makes one from what a person wrote; `bind(...)` from drafts, which is what the Python
builder has. Both report every fault at once and read no weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from stagegraph import manifest as manifests
from stagegraph.components import ComponentSpec, component_spec_of
from stagegraph.errors import Fault, GraphError, Location, suggest
from stagegraph.manifest import ComponentDecl, InputDecl, Manifest, NodeDecl
from stagegraph.ports import REQUIRED, accepts, type_name
from stagegraph.registry import Registry
from stagegraph.serde import Path, Problem, StructureError, dotted, structure, unstructure
from stagegraph.stages import StageSpec

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
#: The first word of a reference to a graph input; no node has this name.
INPUTS = "inputs"

Locate = Callable[[Path, bool], Location | None]


@attrs.frozen
class Ref:
    """The producing end of a wire: an output port of a node, or an input of the graph if `node` is `inputs`."""

    node: str
    port: str

    def __str__(self) -> str:
        return f"{self.node}.{self.port}"


@attrs.frozen
class PartRef:
    """A part of one of the graph's components."""

    component: str
    part: str

    def __str__(self) -> str:
        return f"{self.component}.{self.part}"


@attrs.frozen
class Input:
    """A value that the caller gives; without a default it is required.

    `type_name` is the type's registered name, which manifests use; empty if it has none.
    """

    name: str
    type: Any
    default: Any = REQUIRED
    help: str = ""
    type_name: str = ""

    @property
    def required(self) -> bool:
        """Whether a run needs a value for it."""
        return self.default is REQUIRED


@attrs.frozen
class Node:
    """A stage with its params, placed in a graph, wired and lent its components."""

    name: str
    spec: StageSpec
    stage: Any
    inputs: Mapping[str, Ref]
    lent: Mapping[str, PartRef]


@attrs.frozen
class Graph:
    """A graph that can run. `nodes` stand in an order in which every node comes after those that feed it."""

    name: str
    description: str
    inputs: Mapping[str, Input]
    components: Mapping[str, Any]
    nodes: Mapping[str, Node]
    outputs: Mapping[str, Ref]

    def output_type(self, ref: Ref) -> Any:
        """The type of the value that a wire carries."""
        if ref.node == INPUTS:
            return self.inputs[ref.port].type
        return self.nodes[ref.node].spec.outputs[ref.port].type


@attrs.define
class Draft:
    """A node before it is bound: its wires are references as written, `components` is argument -> component name."""

    name: str
    spec: StageSpec
    stage: Any
    wires: dict[str, str] = attrs.field(factory=dict)
    components: dict[str, str] = attrs.field(factory=dict)


@attrs.define
class Drafts:
    """A whole graph before it is bound."""

    name: str
    description: str = ""
    inputs: dict[str, Input] = attrs.field(factory=dict)
    components: dict[str, Any] = attrs.field(factory=dict)
    nodes: dict[str, Draft] = attrs.field(factory=dict)
    outputs: dict[str, str] = attrs.field(factory=dict)


def build(manifest: Manifest, registry: Registry) -> Graph:
    """Bind a manifest to the stages and components of a registry.

    Raises:
        GraphError: with every fault, each with the place where it was written.
    """
    drafts, broken, faults = read(manifest, registry)
    return bind(drafts, locate=manifest.locate, broken=broken, faults=faults)


def read(manifest: Manifest, registry: Registry) -> tuple[Drafts, frozenset[Path], list[Fault]]:
    """Look up what a manifest names and structure its params.

    Returns:
        The drafts, the paths of the nodes and components that could not be made, and why.
    """
    reader = _Reader(registry, manifest.locate)
    drafts = Drafts(manifest.name, manifest.description, outputs=dict(manifest.outputs))
    for name, declaration in manifest.inputs.items():
        drafts.inputs[name] = reader.input(name, declaration)
    for name, component in manifest.components.items():
        made = reader.component(name, component)
        if made is not None:
            drafts.components[name] = made
    for name, node in manifest.nodes.items():
        draft = reader.node(name, node)
        if draft is not None:
            drafts.nodes[name] = draft
    broken = {("nodes", name) for name in manifest.nodes.keys() - drafts.nodes.keys()}
    broken |= {("components", name) for name in manifest.components.keys() - drafts.components.keys()}
    return drafts, frozenset(broken), reader.faults


def bind(
    drafts: Drafts,
    *,
    locate: Locate = lambda path, at_key: None,
    broken: frozenset[Path] = frozenset(),
    faults: list[Fault] | None = None,
) -> Graph:
    """Resolve and check every wire.

    Args:
        drafts: the graph as far as it is known.
        locate: where a part of the document was written.
        broken: paths of nodes and components that could not be made; references to them are not reported again.
        faults: what is already known to be wrong; reported together with what is found here.

    Raises:
        GraphError: with every fault.
    """
    binder = _Binder(drafts, locate, broken, list(faults or ()))
    nodes = {name: binder.node(draft) for name, draft in drafts.nodes.items()}
    outputs = binder.outputs()
    order = binder.order(nodes)
    if binder.faults:
        raise GraphError(*sorted(binder.faults, key=_place))
    return Graph(
        drafts.name,
        drafts.description,
        dict(drafts.inputs),
        dict(drafts.components),
        {name: nodes[name] for name in order},
        outputs,
    )


def _place(fault: Fault) -> tuple[int, int]:
    """Where a fault stands in its file, so that faults are told in the order of reading."""
    return (fault.location.line or 0, fault.location.column or 0) if fault.location else (0, 0)


def to_manifest(drafts: Drafts, *, with_defaults: bool = False) -> Manifest:
    """Write a graph down.

    Args:
        drafts: the graph.
        with_defaults: also write params that are at their default, so that later releases make the same graph of it.

    Raises:
        GraphError: the type of an input has no registered name.
    """
    faults = [
        Fault(
            "unknown_type",
            f"input {i.name} is of type {type_name(i.type)}, which no plugin names",
            fix="register it with the hook stagegraph_types",
        )
        for i in drafts.inputs.values()
        if not i.type_name
    ]
    if faults:
        raise GraphError(*faults)
    params = _all_params if with_defaults else unstructure
    return Manifest(
        stagegraph=manifests.VERSION,
        name=drafts.name,
        description=drafts.description,
        inputs={name: InputDecl(i.type_name, i.default, i.help) for name, i in drafts.inputs.items()},
        components={
            name: ComponentDecl(component_spec_of(component).kind, params(component))
            for name, component in drafts.components.items()
        },
        nodes={
            name: NodeDecl(draft.spec.id, params(draft.stage), dict(draft.wires), dict(draft.components))
            for name, draft in drafts.nodes.items()
        },
        outputs=dict(drafts.outputs),
    )


def to_drafts(graph: Graph) -> Drafts:
    """A bound graph as drafts, every reference written out."""
    nodes = {
        node.name: Draft(
            node.name,
            node.spec,
            node.stage,
            {port: str(ref) for port, ref in node.inputs.items()},
            {argument: part.component for argument, part in node.lent.items()},
        )
        for node in graph.nodes.values()
    }
    outputs = {name: str(ref) for name, ref in graph.outputs.items()}
    return Drafts(graph.name, graph.description, dict(graph.inputs), dict(graph.components), nodes, outputs)


def _all_params(thing: Any) -> dict[str, Any]:
    return {field.name: unstructure(getattr(thing, field.name)) for field in attrs.fields(type(thing)) if field.init}


class _Faults:
    """Collects faults with the places where they were written."""

    def __init__(self, locate: Locate, faults: list[Fault]) -> None:
        self._locate = locate
        self.faults = faults

    def add(self, path: Path, code: str, what: str, why: str = "", fix: str = "", at_key: bool = False) -> None:
        self.faults.append(Fault(code, what, dotted(path), why, fix, self._locate(path, at_key)))

    def adopt(self, path: Path, fault: Fault) -> None:
        self.add(path, fault.code, fault.what, fault.why, fault.fix)


class _Reader(_Faults):
    """From declarations to specs and params."""

    def __init__(self, registry: Registry, locate: Locate) -> None:
        super().__init__(locate, [])
        self._registry = registry

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

    def component(self, name: str, declaration: ComponentDecl) -> Any:
        path = ("components", name)
        spec = self._registry.component(declaration.kind)
        if isinstance(spec, Fault):
            self.adopt((*path, "kind"), spec)
            return None
        return self._make(spec, declaration.params, (*path, "params"), f"component {name} ({spec.kind})")

    def node(self, name: str, declaration: NodeDecl) -> Draft | None:
        path = ("nodes", name)
        spec = self._registry.stage(declaration.stage)
        if isinstance(spec, Fault):
            self.adopt((*path, "stage"), spec)
            return None
        stage = self._make(spec, declaration.params, (*path, "params"), f"{name} ({spec.id})")
        # Without valid params the wires can still be checked, so that all faults come at once.
        return Draft(name, spec, stage, dict(declaration.inputs), dict(declaration.components))

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


class _Binder(_Faults):
    """From drafts to nodes, collecting faults."""

    def __init__(self, drafts: Drafts, locate: Locate, broken: frozenset[Path], faults: list[Fault]) -> None:
        super().__init__(locate, faults)
        self._drafts = drafts
        self._broken = broken
        for kind, names in ((INPUTS, drafts.inputs), ("components", drafts.components), ("nodes", drafts.nodes)):
            for name in names:
                if not NAME.fullmatch(name) or (name == INPUTS and kind == "nodes"):
                    why = f'ASCII letters, digits, "_" and "-", not starting with a digit; no node is called "{INPUTS}"'
                    self.add((kind, name), "invalid_name", f'"{name}" cannot be used as a name', why, at_key=True)

    def node(self, draft: Draft) -> Node:
        path = ("nodes", draft.name)
        wires = {}
        for port, reference in draft.wires.items():
            if port not in draft.spec.inputs:
                self._unknown_input(draft, port)
            elif (ref := self._ref((*path, "inputs", port), reference)) is not None:
                self._check_type((*path, "inputs", port), draft, port, ref)
                wires[port] = ref
        for name, declared in draft.spec.inputs.items():
            if declared.required and name not in draft.wires:
                what = f"{draft.name} ({draft.spec.id}): nothing feeds the input {declared}"
                self.add(path, "missing_input", what, "it has no default", self._providers(draft, name))
        return Node(draft.name, draft.spec, draft.stage, wires, self._lent(draft))

    def outputs(self) -> dict[str, Ref]:
        refs = {name: self._ref(("outputs", name), text) for name, text in self._drafts.outputs.items()}
        return {name: ref for name, ref in refs.items() if ref is not None}

    def order(self, nodes: Mapping[str, Node]) -> list[str]:
        """A topological order that keeps the order of writing where it can; cycles are reported."""
        index = {name: i for i, name in enumerate(nodes)}
        edges = [(ref.node, name) for name, node in nodes.items() for ref in node.inputs.values() if ref.node in nodes]
        if all(index[producer] < index[consumer] for producer, consumer in edges):
            return list(nodes)
        import networkx as nx  # 0.2 s to import; graphs written in order, the usual case, do without

        digraph = nx.DiGraph()
        digraph.add_nodes_from(nodes)
        digraph.add_edges_from(edges)
        if nx.is_directed_acyclic_graph(digraph):
            return list(nx.lexicographical_topological_sort(digraph, key=index.__getitem__))
        for knot in nx.strongly_connected_components(digraph):
            knot = sorted(knot, key=index.__getitem__)
            if len(knot) > 1 or digraph.has_edge(knot[0], knot[0]):
                self._cycle([edge[0] for edge in nx.find_cycle(digraph.subgraph(knot), knot[0])], nodes, index)
        return []

    def _cycle(self, names: list[str], nodes: Mapping[str, Node], index: Mapping[str, int]) -> None:
        start = min(range(len(names)), key=lambda i: index[names[i]])
        names = names[start:] + names[:start]
        hops = []
        for producer, consumer in zip(names, [*names[1:], names[0]], strict=True):
            port, ref = next((p, r) for p, r in nodes[consumer].inputs.items() if r.node == producer)
            hops.append(f"{ref} -> {consumer}.{port}")
        first = hops[-1].partition(" -> ")[2].partition(".")[2]
        what = f"the nodes wait for each other: {' -> '.join(_abridged([*names, names[0]]))}"
        why = "; ".join(_abridged(hops))
        self.add(("nodes", names[0], "inputs", first), "cycle", what, why, "cut one of these wires")

    def _ref(self, path: Path, text: str) -> Ref | None:
        """The producer that a reference names; None, and a fault, if there is none."""
        node, dot, port = text.partition(".")
        if node == INPUTS:
            if port in self._drafts.inputs:
                return Ref(INPUTS, port)
            fix = suggest(port, self._drafts.inputs) if self._drafts.inputs else "declare it under inputs"
            self.add(path, "unknown_input", f'the graph has no input "{port}"', fix=fix)
            return None
        if node not in self._drafts.nodes:
            if ("nodes", node) not in self._broken:
                fix = f'write "inputs.{node}"' if node in self._drafts.inputs else suggest(node, self._drafts.nodes)
                self.add(path, "unknown_node", f'there is no node "{node}"', f'the wire is "{text}"', fix)
            return None
        spec = self._drafts.nodes[node].spec
        if not dot and len(spec.outputs) == 1:
            return Ref(node, next(iter(spec.outputs)))
        if port in spec.outputs:
            return Ref(node, port)
        if not dot:
            code, what = "ambiguous_port", f"{node} ({spec.id}) has {len(spec.outputs) or 'no'} outputs, so name one"
            fix = f"write {' or '.join(f'{node}.{name}' for name in spec.outputs)}" if spec.outputs else ""
        else:
            code, what, fix = "unknown_port", f'{node} ({spec.id}) has no output "{port}"', suggest(port, spec.outputs)
        self.add(path, code, what, f"its outputs: {_listed(spec.outputs)}", fix)
        return None

    def _check_type(self, path: Path, draft: Draft, port: str, ref: Ref) -> None:
        wanted, given = draft.spec.inputs[port].type, self._type(ref)
        if accepts(wanted, given):
            return
        what = f"{ref} is {type_name(given)}, but {draft.name}.{port} takes {type_name(wanted)}"
        why = f"{draft.name} ({draft.spec.id}) takes: {_listed(draft.spec.inputs)}"
        if ref.node != INPUTS:
            source = self._drafts.nodes[ref.node].spec
            why += f"; {ref.node} ({source.id}) gives: {_listed(source.outputs)}"
        self.add(path, "type_mismatch", what, why, self._providers(draft, port))

    def _type(self, ref: Ref) -> Any:
        if ref.node == INPUTS:
            return self._drafts.inputs[ref.port].type
        return self._drafts.nodes[ref.node].spec.outputs[ref.port].type

    def _providers(self, draft: Draft, port: str) -> str:
        """What in this graph could feed a port of a node."""
        wanted = draft.spec.inputs[port].type
        if wanted is Any:
            return ""
        refs = [Ref(INPUTS, i.name) for i in self._drafts.inputs.values() if i.type is not Any]
        refs += [Ref(d.name, name) for d in self._drafts.nodes.values() if d is not draft for name in d.spec.outputs]
        fitting = [str(ref) for ref in refs if self._type(ref) is not Any and accepts(wanted, self._type(ref))]
        if fitting:
            return f"wire {port}: {' or '.join(fitting[:4])}"
        return f"add a stage or an input that gives {type_name(wanted)}"

    def _unknown_input(self, draft: Draft, port: str) -> None:
        spec = draft.spec
        if port in spec.params:
            fix = f"{port} is a param: set it under params"
        else:
            fix = suggest(port, spec.inputs) if spec.inputs else "it takes no inputs"
        what = f'{draft.name} ({spec.id}) has no input "{port}"'
        path = ("nodes", draft.name, "inputs", port)
        self.add(path, "unknown_port", what, f"its inputs: {_listed(spec.inputs)}", fix, at_key=True)

    def _lent(self, draft: Draft) -> dict[str, PartRef]:
        path = ("nodes", draft.name)
        for name in (name for name in draft.components if name not in draft.spec.lent):
            what = f'{draft.name} ({draft.spec.id}) is lent no "{name}"'
            fix = suggest(name, draft.spec.lent) if draft.spec.lent else "it needs no components"
            self.add((*path, "components", name), "unknown_component", what, fix=fix, at_key=True)
        lent = {}
        for argument in draft.spec.lent.values():
            part = self._part(draft, argument.name, argument.type)
            if part is not None:
                lent[argument.name] = part
        return lent

    def _part(self, draft: Draft, argument: str, wanted: Any) -> PartRef | None:
        """The one part of the graph's components that has the wanted type."""
        path: Path = ("nodes", draft.name)
        chosen = draft.components.get(argument)
        if chosen is not None:
            path = (*path, "components", argument)
            if chosen not in self._drafts.components:
                if ("components", chosen) not in self._broken:
                    fix = suggest(chosen, self._drafts.components)
                    self.add(path, "unknown_component", f'the graph has no component "{chosen}"', fix=fix)
                return None
        candidates = [
            PartRef(name, part.name)
            for name, component in self._drafts.components.items()
            if chosen in (None, name)
            for part in component_spec_of(component).parts.values()
            if accepts(wanted, part.type)
        ]
        if len(candidates) == 1:
            return candidates[0]
        what = f"{draft.name} ({draft.spec.id}) is lent {argument} {type_name(wanted)}"
        if candidates:
            options = " or ".join(ref.component for ref in candidates)
            what += f", which {len(candidates)} components provide: {_listed_names(map(str, candidates))}"
            fix = f"add components: {{{argument}: ...}} to the node, with {options}"
            self.add(path, "ambiguous_component", what, fix=fix)
        elif not any(kind == "components" for kind, _ in self._broken):
            what += f", which {f'component {chosen}' if chosen else 'no component of the graph'} provides"
            self.add(path, "missing_component", what, fix="add a component that provides it under components")
        return None


def _listed(ports: Mapping[str, Any]) -> str:
    return _listed_names(str(port) for port in ports.values())


def _abridged(items: list[str]) -> list[str]:
    """The first and last items of a list that is too long to read."""
    return items if len(items) <= 20 else [*items[:5], f"({len(items) - 10} more)", *items[-5:]]


def _listed_names(names: Any) -> str:
    return ", ".join(names) or "none"
