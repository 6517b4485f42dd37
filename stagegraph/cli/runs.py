"""`runs`, `show`, `explain`, `diff`, `gc`: what was run, why, and what is kept of it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from stagegraph import history
from stagegraph.cli import output, records
from stagegraph.cli.graphs import JsonOption
from stagegraph.cli.workspace import Workspace
from stagegraph.errors import Fault, UsageError
from stagegraph.history import Cause
from stagegraph.memory import bytes_of, size_text
from stagegraph.rerun import Recorded, manifest_of
from stagegraph.store import Store
from stagegraph.store import runs as stored
from stagegraph.store.runs import NodeRow, RunRow

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help='The id of a run, how it begins, or "last".')]


def runs(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to list.")] = 20, json: JsonOption = False
) -> None:
    """List the latest runs."""
    with Store() as store:
        listed = [(run, stored.nodes(store, run.id)) for run in stored.recent(store, limit)]
    if json:
        output.succeed("runs", {"runs": [_run_dict(run, nodes) for run, nodes in listed]})
        return
    rows = [
        (run.id, _moment(run.record.get("created")), run.status, _counts(nodes), run.graph, str(_folder(run) or ""))
        for run, nodes in listed
    ]
    output.say("\n".join(output.table(rows)) if rows else "no runs are recorded")


def show(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help='The id of a run, how it begins, or "last"; or a file with a record.'),
    ] = "last",
    json: JsonOption = False,
) -> None:
    """Show a run: its inputs, what each node took, what went wrong. Of a file with a record, what that tells."""
    if records.is_file(run):
        _show_record(records.find(ctx.obj, run), json)
        return
    with Store() as store:
        row = stored.find(store, run)
        nodes = stored.nodes(store, row.id)
        faults = _faults(store, row)
    if json:
        listed = [{**attrs.asdict(node), "ingredients": dict(node.ingredients)} for node in nodes]
        output.succeed("show", {**_run_dict(row, nodes), "record": row.record, "nodes": listed, "faults": faults})
        return
    output.say(f"{row.id}  {row.graph}  {_moment(row.record['created'])}  {row.status}")
    if folder := _folder(row):
        output.say(f"    folder: {folder}")
    for name, value in row.record["inputs"].items():
        output.say(f"    {name}: {value}")
    if nodes:
        lines = [
            (n.outcome, n.node, f"{n.seconds:.2f} s", size_text(n.peak_bytes) if n.peak_bytes else "", n.note)
            for n in nodes
        ]
        output.say("\n".join(output.table(lines)))
    for fault in faults:
        output.say(f"error[{fault['code']}]: {fault['what']}")


def _show_record(recorded: Recorded, json: bool) -> None:
    record = recorded.record
    if json:
        output.succeed("show", {"record": record.as_dict()})
        return
    lines = [f"{record.id}  {record.graph}  {record.created}"]
    lines += [f"    {name}: {value}" for name, value in record.inputs.items()]
    lines += [f"{name}: {fingerprint}" for name, fingerprint in record.components.items()]
    lines += [f"{name} {version}" for name, version in record.versions.items()]
    for line in lines:
        output.say(output.printable(line))


def explain(
    run: RunArgument,
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node of it.")],
    json: JsonOption = False,
) -> None:
    """Tell why a node ran or was reused: what changed since the run before."""
    with Store() as store:
        told = history.explain(store, run, node)
    if json:
        output.succeed("explain", attrs.asdict(told))
        return
    output.say(f"{told.node} {_VERBS[told.outcome]}: {told.why}" + (f" (run {told.against})" if told.against else ""))
    _say_causes(told.causes)


def diff(
    ctx: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="A run, or a file with a run record.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    json: JsonOption = False,
) -> None:
    """Tell in what run B differs from run A: params, inputs, weights, versions; of two runs of the store, code too."""
    by_records = records.is_file(first) or records.is_file(second)
    if by_records:
        then, now = (_rows(ctx.obj, name) for name in (first, second))
    else:
        with Store() as store:
            then, now = (history.rows_of_run(store, id) for id in (first, second))
    found = history.differences(then, now)
    if json:
        output.succeed("diff", attrs.asdict(found))
        return
    _say_causes(found.causes)
    for node in found.removed:
        output.say(output.printable(f"    {node}: only in {first}"))
    for node in found.added:
        output.say(output.printable(f"    {node}: only in {second}"))
    if not (found.causes or found.removed or found.added):
        output.say("their records tell the same" if by_records else "they have the same nodes, with the same keys")


def _rows(workspace: Workspace, name: str) -> dict[str, NodeRow]:
    recorded = records.find(workspace, name)
    return history.rows_of_record(recorded.record, manifest_of(recorded))


def gc(
    budget: Annotated[
        str | None, typer.Option(metavar="SIZE", help='What may stay, as in "20GiB"; 20 GiB by default.')
    ] = None,
    json: JsonOption = False,
) -> None:
    """Remove what was used least recently from the store; what an unfinished run needs stays."""
    limit = _bytes(budget) if budget is not None else None
    with Store() as store:
        freed = store.gc(limit)
    if json:
        output.succeed("gc", attrs.asdict(freed))
    else:
        output.say(f"removed {freed.entries} entries, {size_text(freed.bytes)}; {size_text(freed.left)} are left")


_VERBS = {"ran": "ran", "reused": "was reused", "started": "has started"}


def _say_causes(causes: tuple[Cause, ...]) -> None:
    for cause in causes:
        output.say(output.printable(f"    {cause}"))


def _counts(nodes: list[NodeRow]) -> str:
    ran = sum(node.outcome == "ran" for node in nodes)
    reused = sum(node.outcome == "reused" for node in nodes)
    return f"{ran} ran, {reused} reused"


def _run_dict(run: RunRow, nodes: list[NodeRow]) -> dict[str, Any]:
    return {
        "id": run.id,
        "graph": run.graph,
        "created": run.record.get("created"),
        "status": run.status,
        "folder": _folder(run),
        "ran": sum(node.outcome == "ran" for node in nodes),
        "reused": sum(node.outcome == "reused" for node in nodes),
    }


def _folder(run: RunRow) -> Path | None:
    """Where its stages have written, if they have."""
    return run.folder if run.folder is not None and run.folder.is_dir() else None


def _faults(store: Store, run: RunRow) -> list[dict[str, Any]]:
    """What the run ended with, if it failed."""
    ends = [event for event in stored.events(store, run.id) if event.get("event") == "run_failed"]
    faults: list[dict[str, Any]] = ends[-1]["faults"] if ends and run.status == "failed" else []
    return faults


def _moment(created: str | None) -> str:
    if created is None:
        return "unknown"
    return datetime.datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")


def _bytes(text: str) -> int:
    count = bytes_of(text)
    if count is None:
        raise UsageError(Fault("usage", f'--budget "{text}" is no size', fix="write a number and a unit, as in 20GiB"))
    return count
