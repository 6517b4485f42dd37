"""The plan: which steps run in which order, what each loads and reads, and when every value and component dies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from stagegraph.errors import Fault, PlanError, suggest
from stagegraph.graph import INPUTS, Graph, Node, PartRef, Ref
from stagegraph.serde import unstructure


@attrs.frozen
class Step:
    """One node of the plan.

    Values live in numbered slots. `reads` are the arguments and the slots that they are taken from, `writes` the slots
    of the outputs that somebody reads (None for the others), `drops` the slots that nobody reads after this step.
    `loads` are the parts that no earlier step was lent, `releases` those that no later step is.
    """

    node: Node
    reads: tuple[tuple[str, int], ...]
    writes: tuple[int | None, ...]
    drops: tuple[int, ...]
    loads: tuple[PartRef, ...]
    releases: tuple[PartRef, ...]


@attrs.frozen
class Plan:
    """Steps in order. `slots` numbers the values; `outputs` are the names asked for and their slots."""

    graph: Graph
    steps: tuple[Step, ...]
    slots: dict[Ref, int] = attrs.field(repr=False)
    outputs: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; equal for equal plans, however the graph was written."""
        refs = {slot: str(ref) for ref, slot in self.slots.items()}
        return {
            "graph": self.graph.name,
            "outputs": {name: refs[slot] for name, slot in self.outputs.items()},
            "steps": [
                {
                    "node": step.node.name,
                    "stage": str(step.node.spec),
                    "params": {name: unstructure(getattr(step.node.stage, name)) for name in step.node.spec.params},
                    "inputs": {argument: refs[slot] for argument, slot in step.reads},
                    "lent": {argument: str(part) for argument, part in step.node.lent.items()},
                    "loads": [str(part) for part in step.loads],
                    "releases": [str(part) for part in step.releases],
                    "drops": [refs[slot] for slot in step.drops],
                }
                for step in self.steps
            ],
        }

    def __str__(self) -> str:
        lines = [f"{self.graph.name}: {len(self.steps)} steps for {', '.join(self.outputs)}"]
        width = max((len(step.node.name) for step in self.steps), default=0)
        for number, (step, data) in enumerate(zip(self.steps, self.as_dict()["steps"], strict=True), 1):
            reads = ", ".join(data["inputs"].values()) or "nothing"
            lines.append(f"{number:3}. {step.node.name:<{width}}  {step.node.spec}  <- {reads}")
            for verb in ("loads", "releases", "drops"):
                if data[verb]:
                    lines.append(f"     {'':<{width}}  {verb} {', '.join(data[verb])}")
        return "\n".join(lines)


def make(graph: Graph, outputs: Iterable[str] | None = None) -> Plan:
    """Plan the nodes that the outputs need, in the order of the graph.

    Args:
        graph: what to run.
        outputs: the names of outputs; all of the graph's if None.

    Raises:
        PlanError: an output that the graph does not have, or none at all.
    """
    wanted = list(graph.outputs if outputs is None else outputs)
    unknown = [name for name in wanted if name not in graph.outputs]
    if unknown or not wanted:
        fix = "declare one under outputs" if not graph.outputs else ""
        faults = [_unknown_output(graph, name) for name in unknown]
        raise PlanError(*(faults or [Fault("unknown_output", f"{graph.name} is asked for no output", fix=fix)]))
    refs = {name: graph.outputs[name] for name in wanted}
    needed = _needed(graph, refs.values())
    nodes = [node for name, node in graph.nodes.items() if name in needed]
    slots = _slots(nodes, refs.values())
    kept = {slots[ref] for ref in refs.values()}
    last_read = {ref: i for i, node in enumerate(nodes) for ref in node.inputs.values()}
    first_lent: dict[PartRef, int] = {}
    last_lent: dict[PartRef, int] = {}
    for i, node in enumerate(nodes):
        for part in node.lent.values():
            first_lent.setdefault(part, i)
            last_lent[part] = i
    steps = []
    for i, node in enumerate(nodes):
        read = dict.fromkeys(node.inputs.values())
        lent = dict.fromkeys(node.lent.values())
        steps.append(
            Step(
                node,
                tuple((argument, slots[ref]) for argument, ref in node.inputs.items()),
                tuple(slots.get(Ref(node.name, port)) for port in node.spec.outputs),
                tuple(slots[ref] for ref in read if last_read[ref] == i and slots[ref] not in kept),
                tuple(part for part in lent if first_lent[part] == i),
                tuple(part for part in lent if last_lent[part] == i),
            )
        )
    return Plan(graph, tuple(steps), slots, {name: slots[ref] for name, ref in refs.items()})


def _needed(graph: Graph, refs: Iterable[Ref]) -> set[str]:
    """The nodes from which the refs can be reached."""
    needed: set[str] = set()
    waiting = [ref.node for ref in refs]
    while waiting:
        name = waiting.pop()
        if name != INPUTS and name not in needed:
            needed.add(name)
            waiting += [ref.node for ref in graph.nodes[name].inputs.values()]
    return needed


def _slots(nodes: Iterable[Node], outputs: Iterable[Ref]) -> dict[Ref, int]:
    refs = dict.fromkeys(ref for node in nodes for ref in node.inputs.values())
    return {ref: slot for slot, ref in enumerate(dict.fromkeys([*refs, *outputs]))}


def _unknown_output(graph: Graph, name: str) -> Fault:
    return Fault("unknown_output", f'{graph.name} has no output "{name}"', fix=suggest(name, graph.outputs))
