"""The plan: which steps run in which order, what each loads and reads, and when every value and component dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
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
    lent, `releases` those that no later step is. `waits` are all the slots that the step reads; one that is read twice
    comes twice.
    """

    node: Node
    reads: tuple[tuple[str, int], ...]
    rest: tuple[int, ...]
    when: int | None
    writes: tuple[int | None, ...]
    drops: tuple[int, ...]
    loads: tuple[PartRef, ...]
    releases: tuple[PartRef, ...]
    waits: tuple[int, ...] = attrs.field(repr=False)


@attrs.frozen
class Plan:
    """Steps in order.

    `slots` numbers the values; `outputs` are the names asked for and their slots; `given` are the outputs of nodes
    whose values the caller brings, so that the nodes need not run.
    """

    graph: Graph
    steps: tuple[Step, ...]
    slots: dict[Ref | Constant, int] = attrs.field(repr=False)
    outputs: dict[str, int]
    given: dict[str, int] = attrs.field(factory=dict)

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

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; equal for equal plans, however the graph was written."""
        refs = {slot: str(source) for source, slot in self.slots.items()}
        return {
            "graph": self.graph.name,
            "outputs": {name: refs[slot] for name, slot in self.outputs.items()},
            **({"given": list(self.given)} if self.given else {}),
            "steps": [_step_dict(step, refs) for step in self.steps],
        }

    def __str__(self) -> str:
        lines = [f"{self.graph.name}: {len(self.steps)} steps for {', '.join(self.outputs)}"]
        width = max((len(step.node.name) for step in self.steps), default=0)
        for number, (step, data) in enumerate(zip(self.steps, self.as_dict()["steps"], strict=True), 1):
            reads = ", ".join([*data["inputs"].values(), *data.get("rest", ())]) or "nothing"
            lines.append(f"{number:3}. {step.node.name:<{width}}  {step.node.spec}  <- {reads}")
            for verb in ("when", "map", "loads", "releases", "drops"):
                if data.get(verb):
                    told = data[verb] if isinstance(data[verb], str) else ", ".join(data[verb])
                    lines.append(f"     {'':<{width}}  {verb} {told}")
        return "\n".join(lines)


def make(graph: Graph, outputs: Iterable[str] | None = None, given: Iterable[str] = ()) -> Plan:
    """Plan the nodes that the outputs need, in the order of the graph.

    Args:
        graph: what to run.
        outputs: the names of outputs, or nodes (`node.port`, or `node` for all of its outputs); the graph's outputs if
            None.
        given: outputs of nodes (`node.port`) whose values the caller brings.

    Raises:
        PlanError: an output that the graph does not have, or none at all.
    """
    wanted = _wanted(graph, graph.outputs if outputs is None else outputs)
    if not wanted:
        fix = "declare one under outputs" if not graph.outputs else ""
        raise PlanError(Fault("unknown_output", f"{graph.name} is asked for no output", fix=fix))
    brought = _wanted(graph, given)
    needed = needed_by(graph, wanted.values(), set(brought.values()))
    nodes = [node for name, node in graph.nodes.items() if name in needed]
    slots: dict[Ref | Constant, int] = {}
    waits = [tuple([slots.setdefault(source, len(slots)) for source in node.sources]) for node in nodes]
    for ref in (*wanted.values(), *brought.values()):
        slots.setdefault(ref, len(slots))
    made: dict[str, dict[str, int]] = {}
    for source, slot in slots.items():
        if isinstance(source, Ref):
            made.setdefault(source.node, {})[source.port] = slot
    last_read = {slot: i for i, read in enumerate(waits) for slot in read}
    last_read |= dict.fromkeys((slots[ref] for ref in wanted.values()), len(nodes))
    first_lent: dict[PartRef, int] = {}
    last_lent: dict[PartRef, int] = {}
    for i, node in enumerate(nodes):
        for part in node.lent.values():
            first_lent.setdefault(part, i)
            last_lent[part] = i
    steps = []
    for i, (node, read) in enumerate(zip(nodes, waits, strict=True)):
        reads, rest, when = _reads(node, read)
        written = made.get(node.name, {})
        lent = tuple(dict.fromkeys(node.lent.values()))
        steps.append(
            Step(
                node,
                reads,
                rest,
                when,
                writes=tuple([written.get(port) for port in node.spec.outputs]),
                drops=tuple([slot for slot in dict.fromkeys(read) if last_read[slot] == i]),
                loads=tuple([part for part in lent if first_lent[part] == i]),
                releases=tuple([part for part in lent if last_lent[part] == i]),
                waits=read,
            )
        )
    names = {name: slots[ref] for name, ref in wanted.items()}
    return Plan(graph, tuple(steps), slots, names, {name: slots[ref] for name, ref in brought.items()})


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


def needed_by(graph: Graph, refs: Iterable[Ref], given: Set[Ref] = frozenset()) -> set[str]:
    """The nodes from which the refs can be reached, short of what is given."""
    needed: set[str] = set()
    waiting = [ref.node for ref in refs if ref not in given]
    while waiting:
        name = waiting.pop()
        if name == INPUTS or name in needed:
            continue
        needed.add(name)
        for source in graph.nodes[name].sources:
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
        "releases": [str(part) for part in step.releases],
        "drops": [refs[slot] for slot in step.drops],
    }
