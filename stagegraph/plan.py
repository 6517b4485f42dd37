"""The plan: which steps run in which order, what each loads and reads, and when every value and component dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from functools import cached_property
from typing import Any

import attrs

from stagegraph.errors import Fault, PlanError, suggest
from stagegraph.graph import INPUTS, Constant, Graph, Node, PartRef, Ref
from stagegraph.serde import unstructure


@attrs.frozen(slots=False)  # plans have many: without slots, one is made in half the time
class Step:
    """One node of the plan.

    Values live in numbered slots. `reads` are the arguments and the slots that they are taken from, `rest` the slots of
    a variadic input, `when` that of the condition; `writes` are the slots of the outputs that somebody reads (None for
    the others), `drops` the slots that nobody reads after this step. `loads` are the parts that no earlier step was
    lent, `releases` those that no later step is, nor anything that is laid over them, unless they are to stay;
    `offloads` are those that are to leave the device because the next step that is lent anything does without them.
    `waits` are all the slots that the step reads; one that is read twice comes twice.
    """

    node: Node
    reads: tuple[tuple[str, int], ...]
    rest: tuple[int, ...]
    when: int | None
    writes: tuple[int | None, ...]
    drops: tuple[int, ...]
    loads: tuple[PartRef, ...]
    releases: tuple[PartRef, ...]
    offloads: tuple[PartRef, ...]
    waits: tuple[int, ...] = attrs.field(repr=False)


@attrs.frozen(eq=False)
class GivenInput(Constant):
    """A value that the caller brings for an input of a node, in place of what feeds it."""

    value: None = None
    node: str = ""
    port: str = ""

    def __str__(self) -> str:
        return f"given {self.node}.{self.port}"


@attrs.frozen
class GivenPort:
    """Where a value that the caller brings goes, and the type that it must have."""

    slot: int
    type: Any


@attrs.frozen
class Plan:
    """Steps in order.

    `slots` numbers the values; `outputs` are the names asked for and their slots; `given` are the ports whose values
    the caller brings: outputs of nodes, which then need not run, and inputs. `fresh` are the nodes that run even if
    their outputs are kept.
    """

    graph: Graph
    steps: tuple[Step, ...]
    slots: dict[Ref | Constant, int] = attrs.field(repr=False)
    outputs: dict[str, int]
    given: dict[str, GivenPort] = attrs.field(factory=dict)
    fresh: frozenset[str] = frozenset()

    @cached_property
    def readers(self) -> tuple[int, ...]:
        """How often each slot is read; asking for a value is reading it."""
        counts = [0] * len(self.slots)
        for step in self.steps:
            for slot in step.waits:
                counts[slot] += 1
        for slot in self.outputs.values():
            counts[slot] += 1
        return tuple(counts)

    @cached_property
    def borrowers(self) -> Mapping[PartRef, int]:
        """How many steps are lent each part."""
        return Counter(part for step in self.steps for part in step.node.lent.values())

    @cached_property
    def inputs(self) -> Mapping[str, int]:
        """The slots of the inputs of the graph that are read."""
        refs = ((source, slot) for source, slot in self.slots.items() if isinstance(source, Ref))
        return {ref.port: slot for ref, slot in refs if ref.node == INPUTS}

    @cached_property
    def constants(self) -> Mapping[int, Any]:
        """The values that are written in the graph, by slot."""
        given = {port.slot for port in self.given.values()}
        return {
            slot: source.value
            for source, slot in self.slots.items()
            if isinstance(source, Constant) and slot not in given
        }

    @cached_property
    def conditional(self) -> bool:
        """Whether there are steps that may be skipped."""
        return any(step.when is not None for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; equal for equal plans, however the graph was written."""
        refs = {slot: str(source) for source, slot in self.slots.items()}
        return {
            "graph": self.graph.name,
            "outputs": {name: refs[slot] for name, slot in self.outputs.items()},
            **({"given": list(self.given)} if self.given else {}),
            **({"fresh": sorted(self.fresh)} if self.fresh else {}),
            "steps": [_step_dict(step, refs) for step in self.steps],
        }

    def __str__(self) -> str:
        lines = [f"{self.graph.name}: {len(self.steps)} steps for {', '.join(self.outputs)}"]
        width = max((len(step.node.name) for step in self.steps), default=0)
        for number, (step, data) in enumerate(zip(self.steps, self.as_dict()["steps"], strict=True), 1):
            reads = ", ".join([*data["inputs"].values(), *data.get("rest", ())]) or "nothing"
            lines.append(f"{number:3}. {step.node.name:<{width}}  {step.node.spec}  <- {reads}")
            for verb in ("when", "map", "loads", "offloads", "releases", "drops"):
                if data.get(verb):
                    told = data[verb] if isinstance(data[verb], str) else ", ".join(data[verb])
                    lines.append(f"     {'':<{width}}  {verb} {told}")
        return "\n".join(lines)


def make(
    graph: Graph, outputs: Iterable[str] | None = None, given: Iterable[str] = (), fresh: Iterable[str] = ()
) -> Plan:
    """Plan the nodes that the outputs need, in the order of the graph.

    Args:
        graph: what to run.
        outputs: the names of outputs, or nodes (`node.port`, or `node` for all of its outputs); the graph's outputs if
            None.
        given: ports whose values the caller brings: outputs (`node.port`, or `node` if it has one) and inputs
            (`node.port`) of nodes; `node.inputs.port` and `node.outputs.port` where a node has both.
        fresh: nodes that run even if their outputs are kept, and with them all that follow.

    Raises:
        PlanError: an output, port or node that the graph does not have, or no output at all.
    """
    wanted = _wanted(graph, graph.outputs if outputs is None else outputs)
    if not wanted:
        fix = "declare one under outputs" if not graph.outputs else ""
        raise PlanError(Fault("unknown_output", f"{graph.name} is asked for no output", fix=fix))
    brought = _brought(graph, given)
    fed = _fed_by(graph, brought.values())
    needed = needed_by(fed, wanted.values(), {ref for ref in brought.values() if isinstance(ref, Ref)})
    nodes = [node for name, node in fed.items() if name in needed]
    slots: dict[Ref | Constant, int] = {}
    waits = [tuple([slots.setdefault(source, len(slots)) for source in node.sources]) for node in nodes]
    for port in (*wanted.values(), *brought.values()):
        slots.setdefault(port, len(slots))
    made: dict[str, dict[str, int]] = {}
    for source, slot in slots.items():
        if isinstance(source, Ref):
            made.setdefault(source.node, {})[source.port] = slot
    last_read = {slot: i for i, read in enumerate(waits) for slot in read}
    last_read |= dict.fromkeys((slots[ref] for ref in wanted.values()), len(nodes))
    steps = []
    for i, (node, read, lent) in enumerate(zip(nodes, waits, _lending(graph, nodes), strict=True)):
        written = made.get(node.name, {})
        writes = tuple([written.get(port) for port in node.spec.outputs])
        drops = tuple([slot for slot in dict.fromkeys(read) if last_read[slot] == i])
        steps.append(Step(node, *_reads(node, read), writes, drops, *lent, read))
    names = {name: slots[ref] for name, ref in wanted.items()}
    ports = {name: GivenPort(slots[port], _type(graph, port)) for name, port in brought.items()}
    return Plan(graph, tuple(steps), slots, names, ports, _following(nodes, fresh))


def offloading(plan: Plan, parts: Collection[PartRef]) -> Plan:
    """The plan with some parts moved out of the device's memory whenever the next step that is lent anything does
    without them; the others as before."""
    steps, following, root_of = [], frozenset[PartRef](), plan.graph.root_of
    for step in reversed(plan.steps):
        lent = dict.fromkeys(step.node.lent.values())
        moved = tuple(ref for ref in lent if ref in step.offloads or (ref in parts and root_of(ref) not in following))
        steps.append(attrs.evolve(step, offloads=moved))
        following = frozenset(map(root_of, lent)) or following
    return attrs.evolve(plan, steps=tuple(reversed(steps)))


#: Parts that a step loads, releases and offloads.
_Lent = tuple[tuple[PartRef, ...], tuple[PartRef, ...], tuple[PartRef, ...]]


def _lending(graph: Graph, nodes: Sequence[Node]) -> list[_Lent]:
    """What each step loads, releases and offloads."""
    found: list[_Lent] = [((), (), ())] * len(nodes)
    borrowing = [(i, tuple(dict.fromkeys(node.lent.values()))) for i, node in enumerate(nodes) if node.lent]
    root = {part: graph.root_of(part) for _, lent in borrowing for part in lent}
    last = {root[part]: i for i, lent in borrowing for part in lent}
    first = {part: i for i, lent in reversed(borrowing) for part in lent}
    following = [*(lent for _, lent in borrowing[1:]), ()]
    for (i, lent), then in zip(borrowing, following, strict=False):
        found[i] = (
            tuple(part for part in lent if first[part] == i),
            tuple(part for part in lent if last[root[part]] == i and graph.residency_of(part) != "resident"),
            tuple(
                part
                for part in lent
                if graph.residency_of(part) == "offload" and root[part] not in [root[other] for other in then]
            ),
        )
    return found


def _wanted(graph: Graph, names: Iterable[str]) -> dict[str, Ref]:
    """The refs of outputs of the graph and of nodes, by the name that each is asked for."""
    wanted: dict[str, Ref] = {}
    faults = []
    for name in names:
        node, dot, port = name.rpartition(".") if name not in graph.nodes else (name, "", "")
        spec = graph.nodes[node].spec if node in graph.nodes else None
        if name in graph.outputs:
            wanted[name] = graph.outputs[name]
        elif spec is not None and dot and port in spec.outputs:
            wanted[name] = Ref(node, port)
        elif spec is not None and not dot and spec.outputs:
            wanted |= {f"{node}.{each}": Ref(node, each) for each in spec.outputs}
        else:
            known = [f"{node}.{each}" for each in spec.outputs] if spec is not None else graph.outputs
            faults.append(Fault("unknown_output", f'{graph.name} has no output "{name}"', fix=suggest(name, known)))
    if faults:
        raise PlanError(*faults)
    return wanted


def _brought(graph: Graph, names: Iterable[str]) -> dict[str, Ref | GivenInput]:
    """The ports that the caller fills, by the name that each is called."""
    brought: dict[str, Ref | GivenInput] = {}
    faults = []
    for name in names:
        node, _, port = name.partition(".")
        if name in graph.outputs:
            brought[name] = graph.outputs[name]
        elif node not in graph.nodes:
            what = f'{graph.name} has no node "{node}" to be given a value'
            faults.append(Fault("unknown_node", what, fix=suggest(node, graph.nodes)))
        else:
            found = _port(graph.nodes[node], port)
            if isinstance(found, Fault):
                faults.append(found)
            else:
                brought[name] = found
    if faults:
        raise PlanError(*faults)
    return brought


def _port(node: Node, name: str) -> Ref | GivenInput | Fault:
    """A port of a node that can be given a value: `port`, `inputs.port`, `outputs.port`, or nothing for its output."""
    if not name and len(node.spec.outputs) == 1:
        return Ref(node.name, next(iter(node.spec.outputs)))
    side, _, port = name.rpartition(".")
    inputs = node.spec.inputs if side in ("", "inputs") else {}
    outputs = node.spec.outputs if side in ("", "outputs") else {}
    owner = f"{node.name} ({node.spec.id})"
    if port in inputs and port in outputs:
        fix = f"write {node.name}.inputs.{port} or {node.name}.outputs.{port}"
        return Fault("ambiguous_port", f"{owner} has both an input and an output {port}", fix=fix)
    if port in outputs:
        return Ref(node.name, port)
    if port not in inputs:
        what = f'{owner} has no port "{name}" to be given a value'
        return Fault("unknown_port", what, fix=suggest(port, [*node.spec.inputs, *node.spec.outputs]))
    if inputs[port].variadic:
        what = f"{owner} takes any number of values on {port}, which cannot be given as one"
        return Fault("unknown_port", what, fix="give the outputs that feed it")
    return GivenInput(None, node.name, port)


def _type(graph: Graph, port: Ref | GivenInput) -> Any:
    if isinstance(port, GivenInput):
        return graph.nodes[port.node].input_type(port.port)
    return graph.output_type(port)


def _fed_by(graph: Graph, brought: Iterable[Ref | GivenInput]) -> Mapping[str, Node]:
    """The nodes of a graph, with what the caller brings in place of what fed these inputs."""
    changed: dict[str, Node] = {}
    for given in brought:
        if isinstance(given, GivenInput):
            node = changed.get(given.node, graph.nodes[given.node])
            changed[given.node] = attrs.evolve(node, inputs={**node.inputs, given.port: given})
    return {**graph.nodes, **changed} if changed else graph.nodes


def _following(nodes: Iterable[Node], names: Iterable[str]) -> frozenset[str]:
    """The named nodes and all that depend on them.

    Raises:
        PlanError: a node that is not part of the plan.
    """
    nodes = list(nodes)
    found, known = set(names), {node.name for node in nodes}
    faults = [
        Fault("unknown_node", f'there is no node "{name}" to run again', fix=suggest(name, known))
        for name in sorted(found - known)
    ]
    if faults:
        raise PlanError(*faults)
    for node in nodes if found else ():
        if any(ref.node in found for ref in node.refs()):
            found.add(node.name)
    return frozenset(found)


def needed_by(nodes: Mapping[str, Node], refs: Iterable[Ref], given: Set[Ref] = frozenset()) -> set[str]:
    """The nodes from which the refs can be reached, short of what is given."""
    needed: set[str] = set()
    waiting = [ref.node for ref in refs if ref not in given]
    while waiting:
        name = waiting.pop()
        if name == INPUTS or name in needed:
            continue
        needed.add(name)
        for source in nodes[name].sources:
            if isinstance(source, Ref) and not (given and source in given):
                waiting.append(source.node)
    return needed


def _reads(node: Node, slots: tuple[int, ...]) -> tuple[tuple[tuple[str, int], ...], tuple[int, ...], int | None]:
    """Where the slots that a node reads go: to its arguments, its variadic input, its condition."""
    when = slots[-1] if node.when is not None else None
    if not node.spec.is_variadic:
        return tuple(zip(node.inputs, slots, strict=False)), (), when
    reads: list[tuple[str, int]] = []
    rest: tuple[int, ...] = ()
    at = 0
    for argument, source in node.inputs.items():
        if isinstance(source, tuple):
            rest = slots[at : at + len(source)]
            at += len(source)
        else:
            reads.append((argument, slots[at]))
            at += 1
    return tuple(reads), rest, when


def _step_dict(step: Step, refs: Mapping[int, str]) -> dict[str, Any]:
    node = step.node
    optional = {
        "rest": [refs[slot] for slot in step.rest],
        "when": refs[step.when] if step.when is not None else "",
        "map": list(node.map),
    }
    return {
        "node": node.name,
        "stage": str(node.spec),
        "params": {name: unstructure(getattr(node.stage, name)) for name in node.spec.params},
        "inputs": {argument: refs[slot] for argument, slot in step.reads},
        **{name: value for name, value in optional.items() if value},
        "lent": {argument: str(part) for argument, part in node.lent.items()},
        "loads": [str(part) for part in step.loads],
        **({"offloads": [str(part) for part in step.offloads]} if step.offloads else {}),
        "releases": [str(part) for part in step.releases],
        "drops": [refs[slot] for slot in step.drops],
    }
