"""How much memory of the device each step of a plan takes, before anything is loaded.

Components tell how large their parts are (`part_facts`), stages what a call takes beside them (`memory`). What nobody
tells counts as nothing and is said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from stagegraph.errors import Fault, FitError
from stagegraph.facts import memory_of
from stagegraph.graph import PartRef
from stagegraph.plan import Plan
from stagegraph.preflight import Known

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@attrs.frozen
class StepMemory:
    """What a step takes.

    Attributes:
        node: its name.
        held: the bytes of all parts that are loaded while it runs.
        call: the bytes that the call takes beside them; None if its stage does not say.
        unknown: parts that are loaded of which the size is not known.
    """

    node: str
    held: int
    call: int | None
    unknown: tuple[str, ...] = ()

    @property
    def peak(self) -> int:
        """Bytes in all, as far as they are known."""
        return self.held + (self.call or 0)


class Estimate:
    """The memory of the steps of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._known = Known(plan.graph, [step.node for step in plan.steps])
        self.steps = self._steps()

    @property
    def peak(self) -> int:
        """The most bytes that any step takes."""
        return max((step.peak for step in self.steps), default=0)

    def size(self, ref: PartRef) -> int | None:
        """The bytes of a part once it is loaded; None if its component does not say."""
        size = self._known.parts[ref].get("bytes")
        return size if isinstance(size, int) else None

    def _steps(self) -> tuple[StepMemory, ...]:
        held: dict[PartRef, int | None] = {}  # what is laid over a part takes no memory of its own
        steps = []
        root_of = self.plan.graph.root_of
        for step in self.plan.steps:
            held |= {root_of(ref): self.size(ref) for ref in step.node.lent.values()}
            unknown = tuple(str(ref) for ref, size in held.items() if size is None)
            call = memory_of(step.node.stage, self._known.of(step.node))
            steps.append(StepMemory(step.node.name, sum(s or 0 for s in held.values()), call, unknown))
            for ref in {*step.releases, *step.offloads}:
                held.pop(root_of(ref), None)
        return tuple(steps)

    def __str__(self) -> str:
        width = max((len(step.node) for step in self.steps), default=0)
        lines = []
        for step in self.steps:
            call = "unknown" if step.call is None else size_text(step.call)
            unknown = f"  (not known: {', '.join(step.unknown)})" if step.unknown else ""
            lines.append(
                f"{step.node:<{width}}  {size_text(step.peak):>9}  parts {size_text(step.held)}, call {call}{unknown}"
            )
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"peak": self.peak, "steps": [{**attrs.asdict(step), "peak": step.peak} for step in self.steps]}


def check_fit(plan: Plan, budget: int) -> Estimate:
    """The estimate of a plan that fits into so many bytes.

    Raises:
        FitError: a step takes more; says which, and what would help.
    """
    estimate = Estimate(plan)
    worst = max(estimate.steps, key=lambda step: step.peak, default=None)
    if worst is None or worst.peak <= budget:
        return estimate
    what = f"{worst.node} takes {size_text(worst.peak)}, {size_text(worst.peak - budget)} more than there is"
    why = f"parts {size_text(worst.held)}, call {size_text(worst.call or 0)}, of {size_text(budget)}"
    raise FitError(Fault("does_not_fit", what, f"nodes.{worst.node}", why, _help(estimate, worst, budget)))


def _help(estimate: Estimate, worst: StepMemory, budget: int) -> str:
    """What would make it fit."""
    step = next(step for step in estimate.plan.steps if step.node.name == worst.node)
    needed = sum(estimate.size(ref) or 0 for ref in set(step.node.lent.values())) + (worst.call or 0)
    if needed > budget:
        return f"the step alone takes {size_text(needed)}: ask for less, or use a smaller number format or more memory"
    return "keep less loaded: set residency of the other components to offload or release-after-last-use"


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
    call = estimate.steps[position].call
    sizes = [estimate.size(ref) for ref in parts]
    free = [free_memory() for c in parts.values() if (free_memory := getattr(c, "free_memory", None)) is not None]
    if call is None or None in sizes or len(free) != len(parts) or None in free:
        return False
    return bool(parts) and sum(size or 0 for size in sizes) + call <= min(free)
