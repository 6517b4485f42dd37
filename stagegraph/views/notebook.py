"""What a notebook shows for a graph and for a run: text, and HTML that needs no script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stagegraph.graph import Graph
from stagegraph.record import RunRecord, summary
from stagegraph.views.markup import element, html
from stagegraph.views.runs import duration, view_of
from stagegraph.views.svg import drawing, style
from stagegraph.views.text import tree


def graph_bundle(graph: Graph) -> dict[str, str]:
    """A graph as a tree and as a drawing."""
    frame = element("div", element("style", style()), drawing(graph), style="overflow: auto")
    return {"text/plain": tree(graph), "text/html": html(frame)}


def run_bundle(record: RunRecord, outputs: Mapping[str, Any]) -> dict[str, str]:
    """The outputs of a run by name, with type and a few words on the value."""
    run = view_of(record, record.seconds)
    told = f"run {run.id} of {record.graph}: {run.state}, {duration(sum(run.seconds.values()))} in stages"
    rows = [(name, type(value).__name__, summary(value)) for name, value in outputs.items()]
    head = element("tr", *(element("th", title, scope="col") for title in ("output", "type", "value")))
    lines = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    table = element("table", element("caption", told), head, *lines)
    text = "\n".join([told, *(f"  {name}  {value}" for name, _, value in rows)])
    return {"text/plain": text, "text/html": html(table)}
