"""What is behind a reference, whatever is wrong with the wires: for graphs that cannot be bound as a whole."""

from __future__ import annotations

from collections.abc import Iterable

from stagegraph.errors import nearest
from stagegraph.graph.drafts import Drafts, references
from stagegraph.graph.values import INPUTS


def names(drafts: Drafts, node: str) -> list[str]:
    """What could be meant where a node is named: nodes of the same graph, those that are lost too, embedded graphs."""
    known = [*drafts.nodes, *(str(name) for kind, name in drafts.lost if kind == "nodes"), *drafts.subgraphs]
    within = node.rpartition("/")[0]
    return [name for name in known if name.rpartition("/")[0] == within]


def needed(drafts: Drafts, wanted: Iterable[str]) -> set[str]:
    """The nodes that are behind some references, whatever is wrong with the wires between them."""
    lost = {str(name): fed for (kind, name), fed in drafts.lost.items() if kind == "nodes"}
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name, _, output = waiting.pop().partition(".")
        if name == INPUTS or name in found:
            continue
        if name in drafts.nodes:
            found.add(name)
            waiting += references([*drafts.nodes[name].wires.values(), drafts.nodes[name].when])
        elif name in lost:
            found.add(name)
            waiting += lost[name]
        elif name in drafts.subgraphs:
            exports = drafts.subgraphs[name]
            waiting += [exports[output]] if output in exports else exports.values()
        elif (meant := nearest(name, names(drafts, name))) is not None:
            waiting.append(f"{meant}.{output}")
    return found
