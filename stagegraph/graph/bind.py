"""From drafts to a graph: every reference resolved, every type compared, every fault collected."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from stagegraph.components import can_offload, component_spec_of
from stagegraph.errors import Fault, GraphError, Location, suggest
from stagegraph.graph.drafts import Draft, Drafts, Wire
from stagegraph.graph.faults import Faults, Locate, in_order, listed, named, once
from stagegraph.graph.reach import names, needed
from stagegraph.graph.values import INPUTS, OUTPUTS, Constant, Graph, Node, PartRef, Ref, Source, is_name, name_of
from stagegraph.manifest import Value
from stagegraph.ports import accepts, if_there, list_of, type_name
from stagegraph.serde import Path, StructureError, structure


@attrs.frozen
class Attempt:
    """A graph as far as it can be bound, and what is wrong with it.

    Attributes:
        graph: without nodes and components that could not be made, wires that lead nowhere, and outputs of neither.
            Nodes that wait for each other come last.
        faults: all of them; none if the graph can run.
        needed: if there are faults: the nodes that the outputs need, as far as it can be told; a wire that leads
            nowhere is taken for one to what was probably meant.
    """

    graph: Graph
    faults: tuple[Fault, ...]
    needed: frozenset[str]


def bind(drafts: Drafts, *, locate: Locate | None = None, faults: list[Fault] | None = None) -> Graph:
    """Resolve and check every wire.

    Args:
        drafts: the graph as far as it is known.
        locate: where a part of the document was written.
        faults: what is already known to be wrong; reported together with what is found here.

    Raises:
        GraphError: with every fault.
    """
    tried = attempt(drafts, locate=locate, faults=faults)
    if tried.faults:
        raise GraphError(*tried.faults)
    return tried.graph


def attempt(
    drafts: Drafts,
    *,
    locate: Locate | None = None,
    faults: list[Fault] | None = None,
    outputs: Iterable[str] | None = None,
) -> Attempt:
    """Resolve and check every wire, and go on after what is wrong; the arguments are those of `bind`.

    Args:
        outputs: the outputs or nodes that are asked for; the graph's outputs if None.
    """
    binder = _Binder(drafts, locate, list(faults or ()))
    nodes = {name: binder.node(draft) for name, draft in drafts.nodes.items()}
    refs = binder.outputs()
    for path, text in drafts.loose.items():
        binder.look_up(path, text)
    binder.check_residency()
    order = binder.order(nodes)
    graph = Graph(
        drafts.name,
        drafts.description,
        dict(drafts.inputs),
        dict(drafts.components),
        {name: nodes[name] for name in order if nodes[name].stage is not None},
        refs,
        dict(drafts.residency),
        binder.carry(refs),
        binder.locations(),
    )
    wanted = drafts.outputs.values() if outputs is None else [drafts.outputs.get(name, name) for name in outputs]
    found = in_order(once(binder.faults))
    return Attempt(graph, tuple(found), frozenset(needed(drafts, wanted)) if found else frozenset())


class _Binder(Faults):
    """From drafts to nodes, collecting faults."""

    def __init__(self, drafts: Drafts, locate: Locate | None, faults: list[Fault]) -> None:
        super().__init__(self._locate_node, faults)
        self._drafts = drafts
        self._whole = locate
        self._producers: dict[str, tuple[Ref, Any]] = {}
        for kind, known in ((INPUTS, drafts.inputs), ("components", drafts.components), ("nodes", drafts.nodes)):
            for name in known:
                if not is_name(name) or (name == INPUTS and kind == "nodes"):
                    why = f'ASCII letters, digits, "_" and "-", not starting with a digit; no node is called "{INPUTS}"'
                    self.add((kind, name), "invalid_name", f'"{name}" cannot be used as a name', why, at_key=True)

    def locations(self) -> dict[str, Location | None]:
        """Where the params of each component were written."""
        return {name: self._locate(("components", name, "params"), False) for name in self._drafts.components}

    def add(self, path: Path, code: str, what: str, why: str = "", fix: str = "", at_key: bool = False) -> None:
        """Something is wrong; what stands in the file of an embedded graph is named as it is there."""
        within = self._within(path)
        if within:
            what, why, fix = (text.replace(f"{within}/", "") for text in (what, why, fix))
        super().add(path, code, what, why, fix, at_key)

    def _within(self, path: Path) -> str:
        """The embedded graph in whose file something was written; empty if it was in the outermost."""
        name = str(path[1]).rpartition("/")[0] if len(path) > 1 else ""
        if not name:
            return ""
        if self._whole is None:
            return ""
        here, whole = self._locate_node(path, False), self._whole(path[:1], False)
        return name if here is not None and whole is not None and here.file != whole.file else ""

    def _locate_node(self, path: Path, at_key: bool) -> Location | None:
        """Nodes and components of an embedded graph stand in the file of that graph."""
        place = None
        if len(path) > 1 and path[0] == "nodes" and path[1] in self._drafts.nodes:
            place = self._drafts.nodes[str(path[1])].place
        elif len(path) > 1 and path[0] == "components":
            place = self._drafts.places.get(str(path[1]))
        if place is not None:
            return place(path[2:], at_key)
        return self._whole(path, at_key) if self._whole is not None else None

    def node(self, draft: Draft) -> Node:
        """The node of a draft; what is wrong with it is added to the faults."""
        path = ("nodes", draft.name)
        spec = draft.spec
        when = self._when(draft)
        wires: dict[str, Source] = {}
        for port, wire in draft.wires.items():
            if port not in spec.inputs:
                self._unknown_input(draft, port)
            elif (source := self._source((*path, "inputs", port), draft, port, wire, when)) is not None:
                wires[port] = source
        for name, declared in spec.inputs.items():
            if name not in draft.wires and declared.required:
                what = f"{draft.name} ({spec.id}): nothing feeds the input {declared}"
                self.add(path, "missing_input", what, "it has no default", self._providers(draft, name))
        self._check_map(draft)
        lent = self._lent(draft) if spec.lent or draft.components else {}
        how = (when, draft.map, draft.timeout, draft.retry)
        return Node(draft.name, spec, draft.stage, wires, lent, *how, self._locate_node(path, True))

    def _when(self, draft: Draft) -> Ref | Constant | None:
        path = ("nodes", draft.name, "when")
        if isinstance(draft.when, bool):
            return None if draft.when else Constant(False)
        known = self._resolved(path, draft.when)
        if known is None:
            return None
        ref, given = known
        there = if_there(given)
        if not accepts(bool, given) and (there is None or bool in (there, *typing.get_args(there))):
            what = f"{ref} is {type_name(given)}, but {draft.name} runs by a bool, or by what may be None"
            self.add(path, "type_mismatch", what, fix="give when a wire of type bool, or of one such as Image | None")
        return ref

    def _check_map(self, draft: Draft) -> None:
        for index, port in enumerate(draft.map):
            path = ("nodes", draft.name, "map", index)
            if port not in draft.spec.inputs:
                what = f'{draft.name} ({draft.spec.id}) has no input "{port}" to take items'
                self.add(path, "unknown_port", what, fix=suggest(port, draft.spec.inputs))
            elif port not in draft.wires or draft.spec.inputs[port].variadic:
                what = f"{draft.name} takes items on {port}, which "
                what += "is variadic" if draft.spec.inputs[port].variadic else "nothing feeds"
                self.add(path, "missing_input", what, fix="map inputs that are fed a list")

    def _source(self, path: Path, draft: Draft, port: str, wire: Wire, when: Ref | Constant | None) -> Source | None:
        """What feeds an input, checked against its type; None, and faults, if it cannot."""
        if not isinstance(wire, list):
            source = self._producer(path, draft, port, wire, when)
            return (source,) if source is not None and draft.spec.inputs[port].variadic else source
        if not draft.spec.inputs[port].variadic and not wire:
            what = f"{draft.name} ({draft.spec.id}): nothing feeds the input {draft.spec.inputs[port]}"
            self.add(path, "missing_input", what, "the list is empty", self._providers(draft, port))
            return None
        if not draft.spec.inputs[port].variadic:
            what = f"the input {port} of node {draft.name} is fed from {len(wire)} places"
            self.add(path, "duplicate_producer", what, f"{draft.spec.id} takes one value there", "keep one of them")
            return None
        parts = [self._producer((*path, i), draft, port, part, when) for i, part in enumerate(wire)]
        return tuple(part for part in parts if part is not None)

    def _producer(
        self, path: Path, draft: Draft, port: str, wire: str | Value, when: Ref | Constant | None
    ) -> Ref | Constant | None:
        if isinstance(wire, Value):
            return self._constant(path, draft, port, wire)
        known = self._resolved(path, wire)
        if known is None:
            return None
        ref, given = known
        if given is not draft.spec.inputs[port].type or draft.map or draft.gates:
            if ref == when:
                given = if_there(given) or given  # the node runs only if it is there
            self._check_type(path, draft, port, ref, given)
        return ref

    def _constant(self, path: Path, draft: Draft, port: str, constant: Value) -> Constant | None:
        if draft.when is False and constant.value is None:
            return Constant(None)  # what is not there, for a node that therefore never runs
        try:
            return Constant(structure(constant.value, self._wanted(draft, port)))
        except StructureError as error:
            for problem in error.problems:
                what = f"the constant for {draft.name}.{port}: {problem.what}"
                self.add((*path, "value", *problem.path), problem.code, what, problem.why, problem.fix)
            return None

    def _wanted(self, draft: Draft, port: str) -> Any:
        """The type that must flow into a port: a list of its type where the node maps over it."""
        type_ = draft.spec.inputs[port].type
        return list_of(type_) if draft.map and port in draft.map else type_

    def outputs(self) -> dict[str, Ref]:
        found = {name: self._resolved(("outputs", name), text) for name, text in self._drafts.outputs.items()}
        return {name: known[0] for name, known in found.items() if known is not None}

    def carry(self, outputs: Mapping[str, Ref]) -> dict[str, str]:
        """Which input takes the value of which output in the next run."""
        carried = {}
        for name, text in self._drafts.carry.items():
            path = ("carry", name)
            word, _, output = text.partition(".")
            declared = self._drafts.inputs.get(name)
            if declared is None:
                fix = suggest(name, self._drafts.inputs)
                self.add(path, "unknown_input", f'the graph has no input "{name}"', fix=fix, at_key=True)
            elif word != OUTPUTS or output not in self._drafts.outputs:
                fix = suggest(output or word, self._drafts.outputs)
                what = f'"{text}" is not an output of the graph'
                self.add(path, "unknown_output", what, 'it is written as in "outputs.name"', fix)
            elif output in outputs:
                carried[name] = output
                given = self._type(outputs[output])
                if not accepts(declared.type, given):
                    what = f"{text} is {type_name(given)}, but the input {name} takes {type_name(declared.type)}"
                    self.add(path, "type_mismatch", what)
        return carried

    def check_residency(self) -> None:
        """Whether the parts for which a residency is said are there, and can be moved where they are to be."""
        for name, said in self._drafts.residency.items():
            component = self._drafts.components[name]
            spec = component_spec_of(component)
            path = ("components", name, "residency")
            for part in said if isinstance(said, Mapping) else ():
                if part not in spec.parts:
                    what = f'component {name} ({spec.kind}) has no part "{part}"'
                    self.add((*path, part), "unknown_part", what, fix=suggest(part, spec.parts), at_key=True)
            offloaded = "offload" in (said.values() if isinstance(said, Mapping) else (said,))
            if offloaded and not can_offload(component):
                what = f"component {name} ({spec.kind}) cannot be offloaded"
                self.add(path, "invalid_value", what, "it has no offload and restore", "use release-after-last-use")

    def order(self, nodes: Mapping[str, Node]) -> list[str]:
        """A topological order that keeps the order of writing where it can; cycles are reported, and come last."""
        if _in_order(nodes):
            return list(nodes)
        import networkx as nx  # 0.2 s to import; graphs written in order, the usual case, do without

        index = {name: i for i, name in enumerate(nodes)}
        edges = [(ref.node, name) for name, node in nodes.items() for ref in node.refs() if ref.node in nodes]
        digraph = nx.DiGraph()
        digraph.add_nodes_from(nodes)
        digraph.add_edges_from(edges)
        if nx.is_directed_acyclic_graph(digraph):
            return list(nx.lexicographical_topological_sort(digraph, key=index.__getitem__))
        tied: set[str] = set()
        for knot in nx.strongly_connected_components(digraph):
            knot = sorted(knot, key=index.__getitem__)
            if len(knot) > 1 or digraph.has_edge(knot[0], knot[0]):
                self._cycle([edge[0] for edge in nx.find_cycle(digraph.subgraph(knot), knot[0])], nodes, index)
                tied.update(knot)
        digraph.remove_nodes_from(tied)
        loose = nx.lexicographical_topological_sort(digraph, key=index.__getitem__)
        return [*loose, *(name for name in nodes if name in tied)]

    def _cycle(self, names: list[str], nodes: Mapping[str, Node], index: Mapping[str, int]) -> None:
        start = min(range(len(names)), key=lambda i: index[names[i]])
        names = names[start:] + names[:start]
        hops = []
        for producer, consumer in zip(names, [*names[1:], names[0]], strict=True):
            port, ref = next(_feeds(nodes[consumer], producer))
            hops.append(f"{ref} -> {consumer}.{port}")
        first = hops[-1].partition(" -> ")[2].partition(".")[2]
        what = f"the nodes wait for each other: {' -> '.join(_abridged([*names, names[0]]))}"
        why = "; ".join(_abridged(hops))
        path = ("nodes", names[0], "when") if first == "when" else ("nodes", names[0], "inputs", first)
        self.add(path, "cycle", what, why, "cut one of these wires")

    def look_up(self, path: Path, text: str) -> None:
        """Whether a reference leads somewhere, whatever it feeds."""
        self._ref(path, text)

    def _resolved(self, path: Path, text: str) -> tuple[Ref, Any] | None:
        """The producer that a reference names, and its type; None, and a fault, if there is none."""
        known = self._producers.get(text)
        if known is None:
            ref = self._ref(path, text)
            if ref is not None:
                known = self._producers[text] = (ref, self._type(ref))
        return known

    def _ref(self, path: Path, text: str) -> Ref | None:
        """The producer that a reference names; None, and a fault, if there is none."""
        node, dot, port = text.partition(".")
        if node == INPUTS:
            if port in self._drafts.inputs:
                return Ref(INPUTS, port)
            fix = suggest(port, self._drafts.inputs) if self._drafts.inputs else "declare it under inputs"
            self.add(path, "unknown_input", f'the graph has no input "{port}"', fix=fix)
            return None
        if node in self._drafts.subgraphs:
            return self._export(path, node, port, text)
        if node not in self._drafts.nodes:
            if ("nodes", node) not in self._drafts.lost:
                fix = (
                    f'write "inputs.{node}"'
                    if node in self._drafts.inputs
                    else suggest(node, names(self._drafts, node))
                )
                self.add(path, "unknown_node", f'there is no node "{node}"', f'the wire is "{text}"', fix)
            return None
        spec = self._drafts.nodes[node].spec
        if not dot and len(spec.outputs) == 1:
            return Ref(node, next(iter(spec.outputs)))
        if port in spec.outputs:
            return Ref(node, port)
        if not spec.outputs:
            self.add(path, "unknown_port", f"{node} ({spec.id}) has no outputs")
            return None
        if not dot:
            code, what = "ambiguous_port", f"{node} ({spec.id}) has {len(spec.outputs)} outputs, so name one"
            fix = f"write {' or '.join(f'{node}.{name}' for name in spec.outputs)}"
        else:
            code, what, fix = "unknown_port", f'{node} ({spec.id}) has no output "{port}"', suggest(port, spec.outputs)
        self.add(path, code, what, f"its outputs: {listed(spec.outputs)}", fix)
        return None

    def _export(self, path: Path, name: str, output: str, text: str) -> Ref | None:
        """What an output of an embedded graph refers to."""
        exports = self._drafts.subgraphs[name]
        if not output and len(exports) == 1:
            output = next(iter(exports))
        if output in exports:
            return self._ref(path, exports[output])
        if not exports:
            self.add(path, "unknown_port", f"{name} has no outputs")
        elif output:
            what, why = f'{name} has no output "{output}"', f"its outputs: {named(exports)}"
            self.add(path, "unknown_port", what, why, suggest(output, exports))
        else:
            what, why = f"{name} has {len(exports)} outputs, so name one", f"its outputs: {named(exports)}"
            self.add(path, "ambiguous_port", what, why, f"write {' or '.join(f'{name}.{e}' for e in exports)}")
        return None

    def _check_type(self, path: Path, draft: Draft, port: str, ref: Ref, given: Any) -> None:
        gate = draft.gates.get(port)
        if gate is not None and gate.inputs[gate.port].type is Any:
            gate = None
        # Behind a gate the wire was checked when the embedded graph was read
        wanted = self._wanted(draft, port) if gate is None else gate.inputs[gate.port].type
        if accepts(wanted, given):
            return
        if gate is None:
            target, takes = f"{draft.name}.{port}", f"{draft.name} ({draft.spec.id}) takes: {listed(draft.spec.inputs)}"
            fix = self._providers(draft, port, wanted)
        else:
            inputs = named(f"{i.name} {type_name(i.type)}" for i in gate.inputs.values())
            target, takes = f"{gate.graph}.{gate.port}", f"{gate.graph} ({gate.title}) takes: {inputs}"
            fix = self._providers(draft, gate.port, wanted)
        if ref.node != INPUTS:
            source = self._drafts.nodes[ref.node].spec
            takes += f"; {ref.node} ({source.id}) gives: {listed(source.outputs)}"
        if gate is None and accepts(list_of(wanted), given):
            others = f"; or {fix}" if fix.startswith("wire") else ""
            fix = f"take its items with map: [{port}]{others}"
        what = f"{ref} is {type_name(given)}, but {target} takes {type_name(wanted)}"
        self.add(path, "type_mismatch", what, takes, fix)

    def _type(self, ref: Ref) -> Any:
        if ref.node == INPUTS:
            return self._drafts.inputs[ref.port].type
        draft = self._drafts.nodes[ref.node]
        type_ = draft.spec.outputs[ref.port].type
        return list_of(type_) if draft.map else type_

    def _providers(self, draft: Draft, port: str, wanted: Any = None) -> str:
        """What in this graph could feed a port of a node, or of the embedded graph that it stands in."""
        wanted = self._wanted(draft, port) if wanted is None else wanted
        if wanted is Any:
            return ""
        level = self._within(("nodes", draft.name, "inputs", port))
        offers = {str(ref): ref for ref in (() if level else (Ref(INPUTS, name) for name in self._drafts.inputs))}
        for other in self._drafts.nodes.values():
            if other is not draft and other.name.rpartition("/")[0] == level:
                offers |= {str(ref): ref for ref in (Ref(other.name, name) for name in other.spec.outputs)}
        for name, exports in self._drafts.subgraphs.items():
            if name.rpartition("/")[0] == level and not draft.name.startswith(f"{name}/"):
                known = {f"{name}.{output}": self._known(text) for output, text in exports.items()}
                offers |= {text: ref for text, ref in known.items() if ref is not None}
        types = {text: self._type(ref) for text, ref in offers.items()}
        fitting = [text for text, type_ in types.items() if type_ is not Any and accepts(wanted, type_)]
        if fitting:
            return f"wire {port}: {' or '.join(fitting[:4])}"
        return f"add a stage or an input that gives {type_name(wanted)}"

    def _known(self, text: str) -> Ref | None:
        """The producer that a reference names, if it names one plainly."""
        node, _, port = text.partition(".")
        draft = self._drafts.nodes.get(node)
        outputs = list(draft.spec.outputs) if draft is not None else []
        return Ref(node, port or outputs[0]) if port in outputs or (not port and len(outputs) == 1) else None

    def _unknown_input(self, draft: Draft, port: str) -> None:
        spec = draft.spec
        if port in spec.params:
            fix = f"{port} is a param: set it under params"
        else:
            fix = suggest(port, spec.inputs) if spec.inputs else "it takes no inputs"
        what = f'{draft.name} ({spec.id}) has no input "{port}"'
        path = ("nodes", draft.name, "inputs", port)
        self.add(path, "unknown_port", what, f"its inputs: {listed(spec.inputs)}", fix, at_key=True)

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
        self._check_forms(draft, lent)
        return lent

    def _check_forms(self, draft: Draft, lent: Mapping[str, PartRef]) -> None:
        """A node cannot be lent a part and what is laid over it at the same time."""
        roots: dict[tuple[str, str], str] = {}
        for argument, ref in lent.items():
            component = self._drafts.components[ref.component]
            over = component_spec_of(component).parts[ref.part].over
            root = ref.component if over is None else name_of(getattr(component, over.param), self._drafts.components)
            first = roots.setdefault((root or "", ref.part if over is None else over.part), argument)
            if lent[first] != ref:
                what = f"{draft.name} ({draft.spec.id}) is lent {lent[first]} as {first}, and {ref} as {argument}"
                path = ("nodes", draft.name, "components", argument)
                why = "they are one thing in memory, which has one form at a time"
                self.add(path, "ambiguous_component", what, why, "lend it one of them, or a copy with other params")

    def _part(self, draft: Draft, argument: str, wanted: Any) -> PartRef | None:
        """The one part of the graph's components that has the wanted type."""
        path: Path = ("nodes", draft.name)
        chosen = draft.components.get(argument)
        if chosen is not None:
            path = (*path, "components", argument)
            if chosen not in self._drafts.components:
                if ("components", chosen) not in self._drafts.lost:
                    fix = suggest(chosen, self._drafts.components)
                    self.add(path, "unknown_component", f'the graph has no component "{chosen}"', fix=fix)
                return None
        candidates = [
            PartRef(name, part.name)
            for name, component in self._drafts.components.items()
            if chosen in (None, name)
            for part in component_spec_of(component).parts.values()
            if accepts(wanted, part.type) and (chosen is not None or part.over is None)
        ]
        if len(candidates) == 1:
            return candidates[0]
        what = f"{draft.name} ({draft.spec.id}) is lent {argument} {type_name(wanted)}"
        if candidates:
            options = " or ".join(ref.component for ref in candidates)
            what += f", which {len(candidates)} components provide: {named(map(str, candidates))}"
            fix = f"add components: {{{argument}: ...}} to the node, with {options}"
            self.add(path, "ambiguous_component", what, fix=fix)
        elif not any(kind == "components" for kind, _ in self._drafts.lost):
            what += f", which {f'component {chosen}' if chosen else 'no component of the graph'} provides"
            self.add(path, "missing_component", what, fix="add a component that provides it under components")
        return None


def _in_order(nodes: Mapping[str, Node]) -> bool:
    """Whether every node comes after those that feed it."""
    before = {INPUTS}
    for name, node in nodes.items():
        for source in node.sources:
            if isinstance(source, Ref) and source.node not in before:
                return False
        before.add(name)
    return True


def _feeds(node: Node, producer: str) -> Iterator[tuple[str, Ref]]:
    """The ports by which a node waits for another."""
    for port, source in node.feeds():
        if isinstance(source, Ref) and source.node == producer:
            yield port, source
    if isinstance(node.when, Ref) and node.when.node == producer:
        yield "when", node.when


def _abridged(items: list[str]) -> list[str]:
    """The first and last items of a list that is too long to read."""
    return items if len(items) <= 20 else [*items[:5], f"({len(items) - 10} more)", *items[-5:]]
