"""`rerun`: make what a record tells of again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import attrs
import typer

from stagegraph import plan as plans
from stagegraph import rerun as again
from stagegraph.cli import output as out
from stagegraph.cli import records
from stagegraph.cli.execution import Manner, RunFolder, execute, open_store
from stagegraph.cli.graphs import JsonOption, MemoryOption, SetOption
from stagegraph.cli.options import (
    CacheOption,
    FromOption,
    InputOption,
    NoMetadataOption,
    OutputOption,
    ParallelOption,
    QuietOption,
    RunsOption,
    TargetOption,
)
from stagegraph.cli.ranks import NprocOption, spread
from stagegraph.cli.run import swept, writing_to
from stagegraph.cli.workspace import Workspace, assignments
from stagegraph.errors import PlanError, RecordError
from stagegraph.graph import Graph, Ref
from stagegraph.keys import Change
from stagegraph.memory import fitted
from stagegraph.plan import Plan
from stagegraph.preflight import preflight
from stagegraph.rerun import Accept, Recorded
from stagegraph.writers import PATH, the_writer, without_records, writers


def rerun(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RUN",
            help='A video with a run record, a run.json or its folder; or the id of a run, or "last".',
        ),
    ],
    inputs: InputOption = None,
    set_: SetOption = None,
    target: TargetOption = None,
    from_: FromOption = None,
    memory: MemoryOption = None,
    nproc: NprocOption = None,
    output: OutputOption = None,
    accept: Annotated[
        list[Accept] | None,
        typer.Option(
            metavar="WHAT",
            help="What may differ from the recorded run: weights; stages, of versions that cannot be read; given, "
            "values that the run was given and the record does not hold. May be repeated.",
        ),
    ] = None,
    no_metadata: NoMetadataOption = False,
    runs_dir: RunsOption = Path("runs"),
    parallel: ParallelOption = False,
    cache: CacheOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Run again what made a file, or a run: the same graph, params and inputs, unless you give others.

    What has changed since is told first. Files are written to the folder of the new run, never to where the record
    says, unless you say where.
    """
    workspace: Workspace = ctx.obj
    recorded = records.find(workspace, source)
    settings = assignments(set_, "--set", "NODE.PARAM")
    words = assignments(inputs, "-i", "NAME")
    accepted = accept or ()
    graph = spread(again.rebuild(recorded, workspace.registry, settings, accepted), nproc)
    brought = again.given_of(recorded, graph, accepted)
    named = {node for node, _, param in (name.partition(".") for name in settings) if param == PATH}
    plan = _plan(recorded, graph, target, brought)
    if output is not None:
        node = _writer(plan, recorded)
        plan = _plan(recorded, writing_to(graph, node, output, settings), target, brought)
        named.add(node)
    again.check_paths(plan, named, recorded.name)
    values = again.inputs_of(recorded, plan, words)
    preflight(plan, values)
    compared = again.compare(recorded, plan, {name.partition(".")[0] for name in settings}, accepted)
    _tell(recorded, compared.changes)
    if compared.faults:
        raise RecordError(*compared.faults)
    graph, typed = swept(_asked(plan), words)
    graph = without_records(graph) if no_metadata else graph
    plan = fitted(plans.make(graph, None, brought, from_ or ()), memory)
    with open_store(cache) as store:
        caching = workspace.caching(store, optional=not cache) if store is not None else None
        data = {"of": recorded.name, "changes": [attrs.asdict(change) for change in compared.changes]}
        manner = Manner("rerun", parallel, quiet, json, data)
        execute(plan, {**values, **typed}, brought, caching, RunFolder(runs_dir, graph.name), manner)


def _plan(recorded: Recorded, graph: Graph, target: Sequence[str] | None, given: Iterable[str]) -> Plan:
    try:
        return plans.make(graph, target or recorded.record.outputs, given)
    except PlanError as error:
        raise PlanError(*(attrs.evolve(fault, where=recorded.name) for fault in error.faults)) from None


def _writer(plan: Plan, recorded: Recorded) -> str:
    """The node that wrote the file that the record is in; else the only one that writes a file."""
    names = [node.name for node in writers(step.node for step in plan.steps)]
    return recorded.record.node if recorded.record.node in names else the_writer(plan, "-o").name


def _asked(plan: Plan) -> Graph:
    """The graph with the outputs that were asked for, and no others."""
    sources = {slot: source for source, slot in plan.slots.items() if isinstance(source, Ref)}
    outputs = {name: sources[slot] for name, slot in plan.outputs.items()}
    return plan.graph if outputs == plan.graph.outputs else attrs.evolve(plan.graph, outputs=outputs)


def _tell(recorded: Recorded, changes: Sequence[Change]) -> None:
    if changes:
        out.tell(f"since {recorded.name} was made, on {recorded.record.created[:10]}:")
        for change in changes:
            out.tell(f"    {change}")
