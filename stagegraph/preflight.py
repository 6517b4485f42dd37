"""Preflight: everything about a plan that can be known to fail before anything heavy loads, all of it at once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import attrs

from stagegraph.components import faults_of
from stagegraph.errors import ComponentError, Fault, GraphError
from stagegraph.facts import FactError, Facts, facts_of, faults_of_stage, files_of
from stagegraph.graph import Graph, Node, Ref
from stagegraph.plan import Plan, needed_by


def preflight(plan: Plan) -> None:
    """Look for everything that would keep the plan from running to its end.

    Components look for their files, stages check their settings, the files that they will write, and what follows from
    the sizes that flow. No weights are read.

    Raises:
        ComponentError: something is missing on this machine; carries every fault, also those of the graph.
        GraphError: the graph or its settings are wrong; with every fault.
    """
    nodes = [step.node for step in plan.steps if step.node.spec.foretells]
    missing = list(_components(plan))
    wrong = [*_stages(nodes), *_files(nodes), *_facts(nodes)[1]]
    if missing:
        raise ComponentError(*missing, *wrong)
    if wrong:
        raise GraphError(*wrong)


def facts(plan: Plan) -> dict[Ref, Facts]:
    """What is known of every value of the plan before it runs."""
    return _facts([step.node for step in plan.steps])[0]


def warnings(graph: Graph) -> list[Fault]:
    """What is odd about a graph but keeps nothing from running: nodes that no output needs."""
    needed = needed_by(graph.nodes, graph.outputs.values())
    return [_at(node, _orphan(node)) for name, node in graph.nodes.items() if name not in needed]


def _orphan(node: Node) -> Fault:
    what = f"no output needs {node.name} ({node.spec.id}), so it does not run"
    return Fault("orphan", what, fix="declare an output of it, or remove it")


def _components(plan: Plan) -> Iterator[Fault]:
    parts: dict[str, list[str]] = defaultdict(list)
    for step in plan.steps:
        for ref in step.loads:
            parts[ref.component].append(ref.part)
    for name, wanted in parts.items():
        yield from faults_of(plan.graph.components[name], wanted)


def _stages(nodes: list[Node]) -> Iterator[Fault]:
    for node in nodes:
        yield from (_at(node, fault) for fault in faults_of_stage(node.stage))


def _files(nodes: list[Node]) -> Iterator[Fault]:
    writers: dict[str, Node] = {}
    for node in nodes:
        for file in files_of(node.stage):
            real = os.path.realpath(file)
            other = writers.setdefault(real, node)
            if other is not node:
                what = f"{other.name} and {node.name} both write {file}"
                yield _at(node, Fault("duplicate_producer", what, fix="give one of them another path"))
            why = _cannot_write(Path(real))
            if why:
                what = f"{node.name} cannot write {file}"
                yield _at(node, Fault("unwritable", what, why=why, fix="give another path"))


def _cannot_write(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if path.exists() and not os.access(path, os.W_OK):
        return "the file is there and may not be changed"
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        return f"{folder} is not a folder"
    return "" if os.access(folder, os.W_OK) else f"nothing may be written to {folder}"


def _facts(nodes: list[Node]) -> tuple[dict[Ref, Facts], list[Fault]]:
    """What is known of each value, and the faults of nodes that cannot take what is known to come."""
    known: dict[Ref, Facts] = {}
    faults = []
    for node in nodes:
        if node.map:  # each item may be different
            continue
        sources = {port: known[s] for port, s in node.inputs.items() if isinstance(s, Ref) and s in known}
        try:
            made = facts_of(node.stage, sources)
        except FactError as error:
            faults.append(_at(node, _mismatch(node, error)))
        else:
            known |= {Ref(node.name, port): told for port, told in made.items()}
    return known, faults


def _mismatch(node: Node, error: FactError) -> Fault:
    source = node.inputs.get(error.port)
    edge = f" (from {source})" if isinstance(source, Ref) else ""
    what = f"{node.name} ({node.spec.id}): {error.what}{edge}"
    return Fault("fact_mismatch", what, f"nodes.{node.name}.inputs.{error.port}", error.why, error.fix)


def _at(node: Node, fault: Fault) -> Fault:
    """A fault with the place of its node, unless it has one of its own."""
    where = fault.where or f"nodes.{node.name}"
    return attrs.evolve(fault, where=where, location=fault.location or node.location)
