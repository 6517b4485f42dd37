"""Which parts of components can be loaded while a step runs, for the step that follows on the device."""

from __future__ import annotations

from functools import cached_property

from stagegraph.executors.running import Running
from stagegraph.graph import PartRef
from stagegraph.memory import Estimate, room_ahead


class Ahead:
    """Looks ahead for one run."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._plan = running.plan
        self._told: set[PartRef] = set()

    @cached_property
    def _estimate(self) -> Estimate:
        return Estimate(self._plan)

    def of(self, position: int) -> tuple[PartRef, ...]:
        """What to load while a step runs; each part once.

        Args:
            position: of the step in the plan, from 0.
        """
        lent = self._plan.steps[position].node.lent
        self._told.update(lent.values())
        parts = {ref: self._plan.graph.components[ref.component] for ref in self._next(position) if lent}
        if not parts or not room_ahead(self._estimate, position, parts):
            return ()
        self._told.update(parts)
        return tuple(parts)

    def _next(self, position: int) -> list[PartRef]:
        """What the next step that is lent anything, and will run, is lent that no step was lent yet.

        Not what is laid over another part, which somebody may have now.
        """
        foresight, root_of = self._running.foresight, self._plan.graph.root_of
        for later in range(position + 1, len(self._plan.steps)):
            step = self._plan.steps[later]
            if step.node.lent and (foresight is None or foresight.runs(later)):
                parts = dict.fromkeys(step.node.lent.values())
                return [ref for ref in parts if ref not in self._told and root_of(ref) == ref]
        return []
