"""Why a node ran or was reused, and in what two runs differ: by the ingredients of their keys, never by guessing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from stagegraph.errors import Fault, UsageError, suggest
from stagegraph.graph import INPUTS
from stagegraph.keys import Change, difference
from stagegraph.manifest import Manifest, NodeDecl, Value
from stagegraph.record import RunRecord
from stagegraph.store import Store
from stagegraph.store import runs as stored
from stagegraph.store.runs import NodeRow

_OUTPUT: Final = re.compile(r"node:([0-9a-f]{64})\.")


@attrs.frozen
class Cause:
    """An ingredient that changed, and the nodes whose own key it is in."""

    change: Change
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.nodes)}: {self.change}"


@attrs.frozen
class Explanation:
    """Why a node ran or was reused, in a sentence.

    `against` is the run that it was compared with; `causes` are what changed since, in the node itself and in those
    that feed it.
    """

    run: str
    node: str
    outcome: str
    why: str
    against: str | None = None
    causes: tuple[Cause, ...] = ()


@attrs.frozen
class Differences:
    """In what two runs differ: causes, and the nodes that only one of them has."""

    causes: tuple[Cause, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]


def explain(store: Store, run: str, node: str) -> Explanation:
    """Why a node of a run ran or was reused.

    Raises:
        UsageError: there is no such run, or the run has not come to this node.
    """
    id = stored.find(store, run).id
    now = {row.node: row for row in stored.nodes(store, id)}
    if node not in now:
        what = f'run {id} has completed no node "{node}"'
        raise UsageError(Fault("unknown_node", what, fix=suggest(node, now)))
    row = now[node]
    told = Explanation(id, node, row.outcome, "")
    if row.key is None:
        return attrs.evolve(told, why=f"it has no key: {row.note}")
    if row.note == stored.FRESH:
        return attrs.evolve(told, why=row.note)
    if row.outcome == "reused":
        made = stored.maker(store, row.key)
        return attrs.evolve(told, why="its key is the same as when it ran", against=made)
    before = stored.earlier(store, id, node)
    if before is None:
        return attrs.evolve(told, why="no earlier run of this graph has this node")
    then = {known.node: known for known in stored.nodes(store, before.id)}
    told = attrs.evolve(told, against=before.id, causes=_causes(_feeding(node, now), then, now))
    if told.causes or then[node].key != row.key:
        return attrs.evolve(told, why="its key changed")
    if (row.entry or "").startswith("run/"):
        return attrs.evolve(told, why="its stage opts out of caching")
    note = then[node].note or "they have been evicted, damaged or never stored"
    return attrs.evolve(told, why=f"its key is the same, but its outputs were not in the store: {note}")


def differences(then: Mapping[str, NodeRow], now: Mapping[str, NodeRow]) -> Differences:
    """In what the second of two runs differs from the first; `rows_of_run` and `rows_of_record` give their nodes."""
    both = [node for node in now if node in then]
    removed, added = (node for node in then if node not in now), (node for node in now if node not in then)
    return Differences(_causes(both, then, now), tuple(removed), tuple(added))


def rows_of_run(store: Store, run: str) -> dict[str, NodeRow]:
    """The nodes of a run of the store.

    Raises:
        UsageError: there is no such run.
    """
    return {row.node: row for row in stored.nodes(store, stored.find(store, run).id)}


def rows_of_record(record: RunRecord, manifest: Manifest) -> dict[str, NodeRow]:
    """The nodes of a run as far as its record tells of them; `manifest` is that of the record."""
    versions = {f"versions.{name}": version for name, version in record.versions.items()}
    return {
        name: NodeRow(name, "ran", "", None, {**_ingredients(name, node, manifest, record), **versions})
        for name, node in manifest.nodes.items()
    }


def _ingredients(name: str, node: NodeDecl, manifest: Manifest, record: RunRecord) -> dict[str, str]:
    """What a node depends on, by the names that keys have."""
    found = {"stage": node.stage, **{f"params.{param}": _text(value) for param, value in node.params.items()}}
    for port, wire in node.inputs.items():
        for index, part in enumerate(wire if isinstance(wire, list) else [wire]):
            found[f"inputs.{port}[{index}]" if isinstance(wire, list) else f"inputs.{port}"] = _wire(part, record)
    for lent in sorted(set(node.components.values()) & manifest.components.keys()):
        component = manifest.components[lent]
        told = {"kind": component.kind, "fingerprint": record.components.get(lent, ""), **record.facts.get(lent, {})}
        told |= {f"params.{param}": _text(value) for param, value in component.params.items()}
        found |= {f"components.{lent}.{fact}": text for fact, text in told.items()}
    brought = {port.partition(".")[2]: value for port, value in record.given.items() if port.startswith(f"{name}.")}
    found |= {f"given.{port}": _text(value) for port, value in brought.items()}
    found |= {"when": str(node.when)} if node.when is not True else {}
    return found | ({"for each": ", ".join(node.map)} if node.map else {})


def _wire(wire: str | Value, record: RunRecord) -> str:
    """What flows in: the value, where the record has it."""
    if isinstance(wire, Value):
        return _text(wire.value)
    node, _, port = wire.partition(".")
    return _text(record.inputs.get(port)) if node == INPUTS else wire


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _feeding(node: str, rows: Mapping[str, NodeRow]) -> list[str]:
    """The node and all that feed it."""
    by_key = {row.key: name for name, row in rows.items() if row.key is not None}
    found, waiting = {node: None}, [node]
    while waiting:
        for identity in rows[waiting.pop()].ingredients.values():
            match = _OUTPUT.match(identity)
            source = by_key.get(match[1]) if match else None
            if source is not None and source not in found:
                found[source] = None
                waiting.append(source)
    return list(found)


def _causes(nodes: Iterable[str], then: Mapping[str, NodeRow], now: Mapping[str, NodeRow]) -> tuple[Cause, ...]:
    """What changed in these nodes; not that an input comes from another node's output that changed with it."""
    causes: dict[Change, list[str]] = {}
    for node in nodes:
        if node in then and then[node].key is not None and now[node].key is not None:
            for change in difference(then[node].ingredients, now[node].ingredients):
                if not (_OUTPUT.match(change.old or "") and _OUTPUT.match(change.new or "")):
                    causes.setdefault(change, []).append(node)
    return tuple(Cause(change, tuple(names)) for change, names in causes.items())
