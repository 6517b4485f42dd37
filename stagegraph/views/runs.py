"""What views show of a run: read from a run record, which may come from a file that anybody wrote."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from stagegraph.record import RunRecord, plain


@attrs.frozen
class RunView:
    """A run as far as it is known.

    `status` and `seconds` are by node; `outputs` describes values in words; `previews` are PNG files by the name of
    the output or node that they show.
    """

    id: str = ""
    state: str = ""
    created: str = ""
    inputs: Mapping[str, str] = attrs.field(factory=dict)
    versions: Mapping[str, str] = attrs.field(factory=dict)
    status: Mapping[str, str] = attrs.field(factory=dict)
    seconds: Mapping[str, float] = attrs.field(factory=dict)
    outputs: Mapping[str, str] = attrs.field(factory=dict)
    previews: Mapping[str, bytes] = attrs.field(factory=dict)

    def told(self, node: str) -> str:
        """What became of a node, and how long it took."""
        seconds = self.seconds.get(node)
        return self.status[node] + (f", {duration(seconds)}" if seconds is not None else "")

    @property
    def longest(self) -> float:
        """The seconds of the slowest node."""
        return max(self.seconds.values(), default=0)


def view_of(
    record: RunRecord | Mapping[str, Any],
    nodes: Collection[str],
    outputs: Mapping[str, Any] | None = None,
    previews: Mapping[str, bytes] | None = None,
    outcomes: Mapping[str, str] | None = None,
) -> RunView:
    """What a record tells about the nodes of a graph.

    Args:
        record: of the run, or its plain JSON; what is missing in it, or of another type than a record has, is not
            shown.
        nodes: the names of the graph's nodes.
        outputs: the values that the run made.
        previews: PNG files by the name of the output or node that they show.
        outcomes: what became of nodes where that is known: "ran", "reused", "failed", "skipped". Of the others, those
            ran that have a time.
    """
    data = record.as_dict() if isinstance(record, RunRecord) else record
    seconds = {name: float(s) for name, s in _table(data, "seconds").items() if name in nodes and _is_time(s)}
    return RunView(
        id=str(data.get("id", "")),
        state=str(data.get("status", "")),
        created=str(data.get("created", "")),
        inputs={name: value_text(value) for name, value in _table(data, "inputs").items()},
        versions={name: str(version) for name, version in _table(data, "versions").items()},
        status={name: (outcomes or {}).get(name, "ran" if name in seconds else "not run") for name in nodes},
        seconds=seconds,
        outputs={name: value_text(plain(value)) for name, value in (outputs or {}).items()},
        previews=dict(previews or {}),
    )


def value_text(value: Any) -> str:
    """A value of plain data as it would be typed."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=repr)


def duration(seconds: float) -> str:
    """A time for people: `12 ms`, `3.4 s`, `2 min 5 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name)
    return table if isinstance(table, Mapping) else {}


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9
