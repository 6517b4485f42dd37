"""Preflight: everything about a plan that can be known to fail before anything heavy loads, all of it at once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import attrs

from stagegraph.components import faults_of, part_facts_of
from stagegraph.errors import ComponentError, Fault, GraphError, StagegraphError
from stagegraph.facts import FactError, Facts, facts_of, faults_of_stage, files_of
from stagegraph.graph import Constant, Graph, Node, Ref
from stagegraph.plan import Plan, needed_by


def preflight(plan: Plan) -> None:
    """Look for everything that would keep the plan from running to its end.

    Components look for their files, stages check their settings, the files that they will write, and what follows from
    the sizes that flow. No weights are read.

    Raises:
        ComponentError: something is missing on this machine; carries every fault, also those of the graph.
        GraphError: the graph or its settings are wrong; with every fault.
    """
    nodes = [step.node for step in plan.steps]
    missing = list(_components(plan))
    wrong = [*_stages(nodes), *_files(nodes), *Known(plan).faults]
    if missing:
        raise ComponentError(*missing, *wrong)
    if wrong:
        raise GraphError(*wrong)


def facts(plan: Plan) -> dict[Ref, Facts]:
    """What is known of every value of the plan before it runs."""
    return Known(plan).values


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


class Known:
    """What is known of the values and parts of a plan before it runs.

    Attributes:
        values: by what makes them.
        parts: what components say of the parts that are lent.
        faults: of nodes that cannot take what is known to come.
    """

    def __init__(self, plan: Plan) -> None:
        components = plan.graph.components
        self._uncertain = _may_be_skipped(step.node for step in plan.steps)
        self.values: dict[Ref, Facts] = {}
        self.parts = {ref: _part_facts(components[ref.component], ref.part) for ref in plan.borrowers}
        self.faults: list[Fault] = []
        for step in plan.steps:
            node = step.node
            if node.map or not hasattr(node.stage, "facts"):  # each item may be different
                continue
            try:
                made = facts_of(node.stage, self.of(node))
            except FactError as error:
                self.faults.append(_at(node, _mismatch(node, error)))
            else:
                self.values |= {Ref(node.name, port): told for port, told in made.items()}

    def of(self, node: Node) -> Mapping[str, Facts]:
        """What is known of the arguments of a node."""
        flows = {p: self.values[s] for p, s in node.inputs.items() if isinstance(s, Ref) and s in self.values}
        each = {
            f"{port}[{number}]": self._if_certain(source)
            for port, sources in node.inputs.items()
            if isinstance(sources, tuple)
            for number, source in enumerate(sources)
        }
        return {**flows, **each, **{argument: self.parts[ref] for argument, ref in node.lent.items()}}

    def _if_certain(self, source: Ref | Constant) -> Facts:
        """What is known of a value of a variadic input, unless it may be left out."""
        if not isinstance(source, Ref) or source.node in self._uncertain:
            return {}
        return self.values.get(source, {})


def _may_be_skipped(nodes: Iterable[Node]) -> Set[str]:
    """The names of nodes, given in order, that have a condition, or need an output of one that may be skipped."""
    found: set[str] = set()
    for node in nodes:
        needed = (source for port, source in node.inputs.items() if node.spec.inputs[port].required)
        if node.when is not None or any(isinstance(source, Ref) and source.node in found for source in needed):
            found.add(node.name)
    return found


def _part_facts(component: Any, part: str) -> Facts:
    try:
        return part_facts_of(component, part)
    except StagegraphError:  # its check tells what is wrong
        return {}


def _mismatch(node: Node, error: FactError) -> Fault:
    source, lent = _source(node, error.port), node.lent.get(error.port)
    edge = f" (from {source})" if isinstance(source, Ref) else f" (from {lent})" if lent is not None else ""
    what = f"{node.name} ({node.spec.id}): {error.what}{edge}"
    where = f"nodes.{node.name}" if lent is not None or not error.port else f"nodes.{node.name}.inputs.{error.port}"
    return Fault("fact_mismatch", what, where, error.why, error.fix)


def _source(node: Node, port: str) -> Any:
    """What feeds an input, or one place of a variadic input: `frames[1]`."""
    name, _, number = port.removesuffix("]").partition("[")
    source = node.inputs.get(name)
    return source[int(number)] if isinstance(source, tuple) and number else source


def _at(node: Node, fault: Fault) -> Fault:
    """A fault with the place of its node, unless it has one of its own."""
    where = fault.where or f"nodes.{node.name}"
    return attrs.evolve(fault, where=where, location=fault.location or node.location)
