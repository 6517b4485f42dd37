"""What a run will do, as far as the store can tell before it begins: which nodes need not run, and which not even that.

Keys are made of keys, not of values, so most of them are known before anything runs. Going back from the outputs that
are asked for, a node whose outputs are kept needs nothing that feeds it: neither to be run nor to be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from stagegraph.caching import RunCache, reusable
from stagegraph.keys import NodeKey
from stagegraph.plan import Plan, Step


@attrs.frozen
class Foresight:
    """Steps by their position in the plan.

    Attributes:
        keys: those that are known already.
        reused: their outputs are in the store, and somebody reads them.
        unneeded: nothing reads their outputs, because what would is reused.
    """

    keys: Mapping[int, NodeKey] = attrs.field(factory=dict)
    reused: frozenset[int] = frozenset()
    unneeded: frozenset[int] = frozenset()

    def runs(self, position: int) -> bool:
        """Whether a step will run, as far as can be told."""
        return position not in self.reused and position not in self.unneeded


def foresee(plan: Plan, cache: RunCache, identities: Sequence[str | None]) -> Foresight:
    """Look ahead.

    Args:
        plan: what runs.
        cache: the store as the run sees it.
        identities: what the value of each slot is known by, where it is there before the run.
    """
    keys = _keys(plan, cache, list(identities))
    needed = set(plan.outputs.values())
    reused, unneeded = set(), set()
    for position in range(len(plan.steps) - 1, -1, -1):
        step = plan.steps[position]
        key = keys.get(position)
        if not needed.intersection(step.writes):
            unneeded.add(position)
        elif key is not None and step.node.name not in plan.fresh and cache.has(step, key):
            reused.add(position)
        else:
            needed.update(step.waits)
    return Foresight(keys, frozenset(reused), frozenset(unneeded))


def _keys(plan: Plan, cache: RunCache, identities: list[str | None]) -> dict[int, NodeKey]:
    """The keys that are known, and in `identities` what follows from them."""
    keys = {}
    for position, step in enumerate(plan.steps):
        known = known_by(
            step, {name: identities[slot] for name, slot in step.reads}, [identities[s] for s in step.rest]
        )
        # Whether a conditional node runs decides what those that read it take.
        if step.when is not None or None in known.values():
            continue
        key = cache.node_key(step, known)
        if isinstance(key, NodeKey):
            keys[position] = key
            for port, slot in zip(step.node.spec.outputs, step.writes, strict=True):
                if slot is not None and reusable(step):
                    identities[slot] = key.output(port)
    return keys


def known_by(
    step: Step, inputs: Mapping[str, str | None], rest: Sequence[str | None]
) -> dict[str, str | tuple[str, ...] | None]:
    """What flows into a step is known by; a list that is mapped over is another thing than a list that is not."""
    known: dict[str, str | tuple[str, ...] | None] = dict(inputs)
    if step.node.spec.is_variadic:
        port = next(port.name for port in step.node.spec.inputs.values() if port.variadic)
        parts = tuple(part for part in rest if part is not None)
        known[port] = parts if len(parts) == len(rest) else None
    if step.node.map:
        known["for each"] = ", ".join(step.node.map)
    return known
