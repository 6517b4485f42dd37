"""How much memory of the device each step of a plan takes, before anything is loaded; and plans that fit into it.

Components tell how large their parts are (`part_facts`), stages what a call takes beside them (`memory`). What nobody
tells counts as nothing and is said to be unknown; a stage that is lent nothing is taken not to use the device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from stagegraph.components import can_offload, part_facts_of
from stagegraph.errors import Fault, FitError, GraphError, UsageError
from stagegraph.facts import Facts, lighter_of, memory_of
from stagegraph.graph import PartRef
from stagegraph.plan import Plan, Step, offloading
from stagegraph.preflight import Known

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@attrs.frozen
class StepMemory:
    """What a step takes.

    Attributes:
        node: its name.
        held: the bytes of all parts that are loaded while it runs.
        call: the bytes that the call takes beside them, at least; None if its stage does not say.
        most: the bytes that it takes where there are more.
        unknown: parts that are loaded of which the size is not known.
        parts: all that are loaded.
    """

    node: str
    held: int
    call: int | None
    most: int | None
    unknown: tuple[str, ...] = ()
    parts: tuple[PartRef, ...] = ()

    @property
    def peak(self) -> int:
        """Bytes in all that it needs, as far as they are known."""
        return self.held + (self.call or 0)

    def __str__(self) -> str:
        call = "unknown" if self.call is None else size_text(self.call)
        if self.most is not None and self.most != self.call:
            call += f" to {size_text(self.most)}"
        unknown = f"  (not known: {', '.join(self.unknown)})" if self.unknown else ""
        return f"{size_text(self.peak):>9}  parts {size_text(self.held)}, call {call}{unknown}"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**attrs.asdict(self), "parts": [str(part) for part in self.parts], "peak": self.peak}


class Estimate:
    """The memory of the steps of a plan.

    Args:
        plan: what runs.
        pooled: whether parts for which the graph says nothing stay after their last use, as in a pool that outlives the
            run; then they may also be there from a run before.
    """

    def __init__(self, plan: Plan, *, pooled: bool = False) -> None:
        self.plan = plan
        self._pooled = pooled
        self._known = Known(plan.graph, [step.node for step in plan.steps])
        self.steps = tuple(self._steps())

    @property
    def faults(self) -> list[Fault]:
        """Of nodes that cannot take what is known to come."""
        return self._known.faults

    @property
    def peak(self) -> int:
        """The most bytes that any step needs."""
        return max((step.peak for step in self.steps), default=0)

    def size(self, ref: PartRef) -> int | None:
        """The bytes of a part once it is loaded; None if its component does not say."""
        size = self._known.parts[ref].get("bytes")
        return size if isinstance(size, int) else None

    def movable(self, ref: PartRef) -> bool:
        """Whether moving a part to the memory of the CPU is up to the engine, can be done and frees something."""
        component = self.plan.graph.components[ref.component]
        can = can_offload(component) and self._known.parts[ref].get("device") != "cpu"
        return can and self.plan.graph.residency_of(ref) is None and bool(self.size(ref))

    def alone(self, step: Step, changed: Any = None) -> int:
        """The bytes that a step needs with nothing loaded but what it is lent.

        Args:
            step: of the plan.
            changed: its stage, or a component that it is lent parts of, with other settings.
        """
        stage, known, components = step.node.stage, {**self._known.of(step.node)}, self.plan.graph.components
        parts = {ref: self._known.parts[ref] for ref in step.node.lent.values()}
        if type(changed) is type(stage):
            stage = changed
        for argument, ref in step.node.lent.items():
            if type(changed) is type(components[ref.component]):
                known[argument] = parts[ref] = part_facts_of(changed, ref.part)
        call, _ = self._call(step, stage, known) or (0, 0)
        return call + sum(facts.get("bytes") or 0 for facts in parts.values())

    @staticmethod
    def _call(step: Step, stage: Any, known: Mapping[str, Facts]) -> tuple[int, int] | None:
        told = memory_of(stage, known)
        return (0, 0) if told is None and not step.node.lent else told

    def _steps(self) -> Iterator[StepMemory]:
        root_of = self.plan.graph.root_of  # what is laid over a part takes no memory of its own
        moved = {ref for step in self.plan.steps for ref in step.offloads}
        held = {root_of(ref): ref for ref in self.plan.borrowers if self._stays(ref) and ref not in moved}
        for step in self.plan.steps:
            held |= {root_of(ref): ref for ref in step.node.lent.values()}
            sizes = {ref: self.size(ref) for ref in held.values()}
            unknown = tuple(str(ref) for ref, size in sizes.items() if size is None)
            least, most = self._call(step, step.node.stage, self._known.of(step.node)) or (None, None)
            total = sum(size or 0 for size in sizes.values())
            yield StepMemory(step.node.name, total, least, most, unknown, tuple(held.values()))
            for ref in {*step.releases, *step.offloads}:
                if ref in step.offloads or not self._stays(ref):
                    held.pop(root_of(ref), None)

    def _stays(self, ref: PartRef) -> bool:
        return self._pooled and self.plan.graph.residency_of(ref) in (None, "resident")

    def __str__(self) -> str:
        width = max((len(step.node) for step in self.steps), default=0)
        return "\n".join(f"{step.node:<{width}}  {step}" for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"peak": self.peak, "steps": [step.as_dict() for step in self.steps]}


def fit(plan: Plan, budget: int, *, pooled: bool = False) -> Plan:
    """The plan so that it fits into so many bytes, with the same results.

    Where a step does not fit beside the parts that wait for a later one, these are moved to the memory of the CPU in
    the meantime: as few as will do, and none for which the graph says where it stays.

    Args:
        plan: what is to run.
        budget: bytes of the device.
        pooled: see `Estimate`.

    Raises:
        FitError: some steps take more all the same; says which, and what would help each.
        GraphError: a stage cannot take what is known to come to it, so that nothing is known of what follows.
    """
    moved: list[PartRef] = []
    while True:
        estimate = Estimate(plan, pooled=pooled)
        if estimate.faults:
            raise GraphError(*estimate.faults)
        worst = max(estimate.steps, key=lambda step: step.peak, default=None)
        if worst is None or worst.peak <= budget:
            return plan
        step = _step(plan, worst)
        lent = set(step.node.lent.values())
        waiting = {
            ref: estimate.size(ref) or 0
            for ref in worst.parts
            if ref not in lent and ref not in moved and estimate.movable(ref)
        }
        if not waiting:
            over = [each for each in estimate.steps if _in_vain(estimate, each, budget)] or [worst]
            raise FitError(*(_fault(estimate, each, budget) for each in over))
        enough = [ref for ref, size in waiting.items() if size >= worst.peak - budget]
        moved.append(min(enough, key=waiting.__getitem__) if enough else max(waiting, key=waiting.__getitem__))
        plan = offloading(plan, moved)


def _step(plan: Plan, memory: StepMemory) -> Step:
    return next(step for step in plan.steps if step.node.name == memory.node)


def _in_vain(estimate: Estimate, memory: StepMemory, budget: int) -> bool:
    """Whether a step takes more, whatever is moved out of its way."""
    lent = set(_step(estimate.plan, memory).node.lent.values())
    free = sum(estimate.size(ref) or 0 for ref in memory.parts if ref not in lent and estimate.movable(ref))
    return memory.peak - free > budget


def _fault(estimate: Estimate, memory: StepMemory, budget: int) -> Fault:
    step = _step(estimate.plan, memory)
    what = f"{memory.node} takes {size_text(memory.peak)}, {size_text(memory.peak - budget)} more than there is"
    why = f"parts {size_text(memory.held)}, call {size_text(memory.call or 0)}, of {size_text(budget)}"
    return Fault("does_not_fit", what, f"nodes.{memory.node}", why, _help(estimate, step, memory, budget))


def _help(estimate: Estimate, step: Step, worst: StepMemory, budget: int) -> str:
    """What would make it fit, the cheapest first."""
    lent, alone = dict.fromkeys(step.node.lent.values()), estimate.alone(step)
    others = [str(ref) for ref in worst.parts if ref not in lent and estimate.size(ref)]
    if others and alone <= budget:
        return f"keep less loaded: set the residency of {', '.join(others)} to offload or release-after-last-use"
    components = {ref.component: estimate.plan.graph.components[ref.component] for ref in lent}
    for name, thing in {step.node.name: step.node.stage, **components}.items():
        for settings, note in lighter_of(thing):
            need = estimate.alone(step, attrs.evolve(thing, **settings))
            if need <= budget:
                words = " ".join(f"--set {name}.{key}={value}" for key, value in settings.items())
                return f"{words}, with which the step alone takes {size_text(need)} ({note})"
    weights = sum(estimate.size(ref) or 0 for ref in lent)
    if weights >= budget:
        return f"its weights alone take {size_text(weights)}: use a smaller number format or more memory"
    return f"the step alone takes {size_text(alone)}: ask for less, or use a smaller number format or more memory"


def fitted(plan: Plan, memory: str | int | None, *, pooled: bool = False) -> Plan:
    """The plan so that it fits into what a person allows; as it is if nothing is said.

    Args:
        plan: what is to run.
        memory: bytes; `"20GiB"`; or `"auto"`, nine tenths of what is free now where parts are loaded to.
        pooled: see `Estimate`.

    Raises:
        UsageError: it is no size, or no component tells what is free.
        FitError: as `fit`.
    """
    if memory is None:
        return plan
    budget = _free(plan) if memory == "auto" else bytes_of(memory) if isinstance(memory, str) else memory
    if budget is None:
        what = f'memory is "{memory}"'
        why = "no component tells how much is free" if memory == "auto" else "it is no size"
        raise UsageError(Fault("usage", what, why=why, fix="write a number and a unit, as in 24GiB"))
    return fit(plan, budget, pooled=pooled)


def _free(plan: Plan) -> int | None:
    components = (plan.graph.components[name] for name in {ref.component for ref in plan.borrowers})
    asked = [free_memory() for c in components if (free_memory := getattr(c, "free_memory", None)) is not None]
    free = [count for count in asked if count is not None]
    return min(free) * 9 // 10 if free else None


def size_text(count: int) -> str:
    """Bytes for people: `38.1 GiB`."""
    unit, factor = next(((u, f) for u, f in reversed(_UNITS.items()) if count >= f), ("B", 1))
    return f"{count} B" if unit == "B" else f"{count / factor:.1f} {unit}"


def bytes_of(text: str) -> int | None:
    """`"20GiB"` as a number of bytes; None if it is no size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|[KMGT]iB)?", text.strip())
    return int(float(match[1]) * _UNITS[match[2] or "B"]) if match is not None else None


def room_ahead(estimate: Estimate, position: int, parts: Mapping[PartRef, Any]) -> bool:
    """Whether parts can be loaded beside what a step takes, with what is free on their device now.

    Args:
        estimate: of the plan.
        position: of the step that runs, from 0.
        parts: those to load, with their components.
    """
    call = estimate.steps[position].most
    sizes = [estimate.size(ref) for ref in parts]
    free = [free_memory() for c in parts.values() if (free_memory := getattr(c, "free_memory", None)) is not None]
    if call is None or None in sizes or len(free) != len(parts) or None in free:
        return False
    return bool(parts) and sum(size or 0 for size in sizes) + call <= min(free)
