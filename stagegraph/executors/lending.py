"""What a run borrows: parts of components, claimed when it begins, given up after their last use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stagegraph import events
from stagegraph.events import Event
from stagegraph.graph import PartRef
from stagegraph.plan import Plan, Step
from stagegraph.pool import Pool


class Lending:
    """The claims of one run.

    Args:
        run: its id.
        plan: what borrows.
        pool: where parts are kept; with one, those for which the graph says nothing outlive the run.
        tell: told what is loaded, moved and dropped.
    """

    def __init__(self, run: str, plan: Plan, pool: Pool | None, tell: Callable[[Event], None]) -> None:
        self._run = run
        self._tell = tell
        self._left = dict(plan.borrowers)
        self._roots = {ref: plan.graph.root_of(ref) for ref in plan.borrowers}
        shared = pool is not None
        pool = pool if pool is not None else Pool()
        residency = {ref: plan.graph.residency_of(ref) for ref in plan.borrowers}
        self._claims = {
            ref: pool.claim(plan.graph.components[ref.component], ref.part, resident=said == "resident")
            for ref, said in residency.items()
        }
        self._released = {
            ref
            for ref, said in residency.items()
            if said == "release-after-last-use" or (said != "resident" and not shared)
        }

    @contextlib.contextmanager
    def lent(self, step: Step) -> Iterator[Mapping[str, Any]]:
        """What a step is lent, by argument, for the time of the `with` block; from any thread.

        Raises:
            ComponentError: something could not be loaded.
        """
        lent = list(step.node.lent.items())
        if any(self._roots[ref] != ref for _, ref in lent):  # in one order, or two such steps may wait for each other
            lent.sort(key=lambda item: str(self._roots[item[1]]))
        with contextlib.ExitStack() as stack:
            yield {argument: stack.enter_context(self._borrowed(ref)) for argument, ref in lent}

    def load(self, ref: PartRef) -> None:
        """Load a part ahead of its use; from any thread."""
        with self._borrowed(ref):
            return

    def used(self, step: Step) -> None:
        """A step is done: what no later step is lent goes, and what is to be out of the way is moved."""
        for ref in step.node.lent.values():
            self._left[ref] -= 1
            last = not self._left[ref]
            if ref in step.offloads and not (ref in self._released and self._gone(ref)) and self._claims[ref].offload():
                self._tell(events.ComponentOffloaded(self._run, ref.component, ref.part))
            if last:
                self._end(ref)

    def _gone(self, ref: PartRef) -> bool:
        """Whether no later step is lent a part, or anything that is laid over it."""
        return not any(left for other, left in self._left.items() if self._roots[other] == self._roots[ref])

    def close(self) -> None:
        """Give up every claim that is left; the run is over."""
        for ref in list(self._claims):
            self._end(ref)

    def _end(self, ref: PartRef) -> None:
        if self._claims.pop(ref).end(release=ref in self._released):
            self._tell(events.ComponentReleased(self._run, ref.component, ref.part))

    def _borrowed(self, ref: PartRef) -> contextlib.AbstractContextManager[Any]:
        return self._claims[ref].borrowed(ref.component, self._loading)

    def _loading(self, component: str, part: str, seconds: float | None) -> None:
        if seconds is None:
            self._tell(events.ComponentLoading(self._run, component, part))
        else:
            self._tell(events.ComponentLoaded(self._run, component, part, seconds))
