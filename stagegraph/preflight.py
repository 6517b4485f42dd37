"""Preflight: everything about a plan that can be known to fail before anything heavy loads, all of it at once."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import attrs

from stagegraph import graph as graphs
from stagegraph import plan as plans
from stagegraph.components import component_spec_of, faults_of, part_facts_of
from stagegraph.errors import ComponentError, Fault, GraphError, Location, PlanError, StagegraphError
from stagegraph.facts import VALUE, FactError, Facts, facts_of, facts_of_given, faults_of_stage, files_of
from stagegraph.graph import INPUTS, Constant, Graph, Node, Ref, in_order
from stagegraph.manifest import Manifest
from stagegraph.plan import Plan
from stagegraph.registry import Registry


@attrs.frozen
class Report:
    """A graph, looked over without running it.

    Attributes:
        graph: as far as it can be bound.
        faults: what keeps it from running, in the order of reading: wires and settings that are wrong, and what is
            missing on this machine for the nodes that could be bound.
        warnings: what is odd about it, but keeps nothing from running.
        kind: the error that it makes.
    """

    graph: Graph
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    kind: type[StagegraphError]

    def check(self) -> Graph:
        """The graph.

        Raises:
            GraphError: it cannot run; with every fault.
            ComponentError: nothing is wrong with it, but something is missing on this machine.
        """
        if self.faults:
            raise self.kind(*self.faults)
        return self.graph


def examine(manifest: Manifest, registry: Registry, outputs: Iterable[str] | None = None) -> Report:
    """Bind a manifest, and look for everything that would keep it from running: one report, whatever is wrong.

    Args:
        manifest: the graph as written.
        registry: what it may name.
        outputs: the outputs or nodes that are asked for; the graph's outputs if None.
    """
    asked = None if outputs is None else list(outputs)
    tried = graphs.tried(manifest, registry, asked)
    graph = tried.graph
    nodes = [node for node in graph.nodes.values() if node.name in tried.needed]
    unasked: tuple[Fault, ...] = ()
    if not tried.faults or not (asked or manifest.outputs):
        try:
            nodes = [step.node for step in plans.make(graph, asked).steps]
        except PlanError as error:
            where = manifest.locate(("outputs",)) if asked is None else None
            nodes, unasked = list(graph.nodes.values()), tuple(attrs.evolve(f, location=where) for f in error.faults)
    missing, wrong = _found(graph, nodes)
    kind = GraphError if tried.faults or not (unasked or missing) else PlanError if unasked else ComponentError
    faults = in_order([*tried.faults, *unasked, *missing, *wrong])
    odd = _orphans(graph, {node.name for node in nodes}) if asked is None else ()
    return Report(graph, tuple(faults), tuple(odd), kind)


def preflight(plan: Plan, inputs: Mapping[str, Any] | None = None) -> None:
    """Look for everything that would keep the plan from running to its end.

    Components look for their files, stages check their settings, the files that they will write, and what follows from
    the sizes that flow, and from the values of inputs. No weights are read.

    Args:
        plan: what will run.
        inputs: the values of the graph's inputs, as far as they are there.

    Raises:
        ComponentError: something is missing on this machine; carries every fault, also those of the graph.
        GraphError: the graph or its settings are wrong; with every fault.
    """
    missing, wrong = _found(plan.graph, [step.node for step in plan.steps], inputs or {})
    if missing:
        raise ComponentError(*in_order([*missing, *wrong]))
    if wrong:
        raise GraphError(*in_order(wrong))


def _found(
    graph: Graph, nodes: Sequence[Node], inputs: Mapping[str, Any] | None = None
) -> tuple[list[Fault], list[Fault]]:
    """What is missing on this machine for some nodes, and what is wrong with their settings."""
    telling = [node for node in nodes if node.spec.foretells]
    known = Known(graph, telling, inputs or {})
    return list(_components(graph, nodes)), [*_stages(telling), *_files(telling), *known.faults]


def facts(plan: Plan) -> dict[Ref, Facts]:
    """What is known of every value of the plan before it runs."""
    return Known(plan.graph, [step.node for step in plan.steps]).values


def _orphans(graph: Graph, needed: Set[str]) -> Iterator[Fault]:
    """Nodes that no output needs, and components that change nothing."""
    for name, node in graph.nodes.items():
        if name not in needed:
            what = f"no output needs {name} ({node.spec.id}), so it does not run"
            yield _at(node, Fault("orphan", what, fix="declare an output of it, or remove it"))
    lent = {ref.component for node in graph.nodes.values() for ref in node.lent.values()}
    for name, component in graph.components.items():
        spec = component_spec_of(component)
        if name not in lent and all(part.over is not None for part in spec.parts.values()):
            what = f"no node is lent {name} ({spec.kind}), so it changes nothing"
            why = "what is laid over another component is lent only to nodes that name it"
            fix = f"give a node components: {{{next(iter(spec.parts))}: {name}}}"
            yield Fault("orphan", what, f"components.{name}", why, fix, graph.locations.get(name))


def _components(graph: Graph, nodes: Sequence[Node]) -> Iterator[Fault]:
    parts: dict[str, list[str]] = defaultdict(list)
    lent = [ref for node in nodes for ref in node.lent.values()]
    for ref in dict.fromkeys(part for one in lent for part in (graph.root_of(one), one)):
        parts[ref.component].append(ref.part)
    for name, wanted in parts.items():
        component = graph.components[name]
        who = f"check of component {name} ({component_spec_of(component).kind})"
        for fault in _told(who, functools.partial(faults_of, component, wanted)):
            yield _found_at(fault, graph.locations.get(name), f"components.{name}")


def _told(who: str, ask: Callable[[], Iterable[Fault]]) -> list[Fault]:
    """What a plugin has to say; that it fails at it is a fault too."""
    try:
        return list(ask())
    except StagegraphError as error:
        return list(error.faults)
    except Exception as error:
        what = f"{who} failed: {type(error).__name__}: {error}"
        return [Fault("invalid_stage", what, fix="tell the author of its plugin")]


def _found_at(fault: Fault, location: Location | None, where: str) -> Fault:
    """A fault with the place in the manifest that leads to it; the file or library that it is about is told as well."""
    what = fault.what
    if location is not None and fault.where and fault.where not in what:
        what = f"{fault.where}: {what}"
    return attrs.evolve(fault, what=what, where=fault.where or where, location=fault.location or location)


def _stages(nodes: Sequence[Node]) -> Iterator[Fault]:
    for node in nodes:
        who = f"check of {node.name} ({node.spec.id})"
        for fault in _told(who, functools.partial(faults_of_stage, node.stage)):
            yield _found_at(fault, node.location, f"nodes.{node.name}")


def _files(nodes: Sequence[Node]) -> Iterator[Fault]:
    writers: dict[str, Node] = {}
    for node in nodes:
        who = f"writes of {node.name} ({node.spec.id})"
        for fault in _told(who, functools.partial(_file_faults, node, writers)):
            yield _at(node, fault)


def _file_faults(node: Node, writers: dict[str, Node]) -> Iterator[Fault]:
    for file in files_of(node.stage):
        try:
            real = os.path.realpath(file)
            why = _cannot_write(Path(real))
        except (OSError, ValueError) as error:  # a name that is too long, or no name at all
            real, why = file, str(error)
        other = writers.setdefault(real, node)
        if other is not node:
            what = f"{other.name} and {node.name} both write {file}"
            yield Fault("duplicate_producer", what, fix="give one of them another path")
        if why:
            yield Fault("unwritable", f"{node.name} cannot write {file}", why=why, fix="give another path")


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
    """What is known of the values and parts of a graph before it runs.

    Args:
        graph: has the components.
        nodes: those that are looked at, each after those that feed it.
        inputs: values of the graph's inputs.

    Attributes:
        values: by what makes them.
        parts: what components say of the parts that are lent.
        faults: of nodes that cannot take what is known to come.
    """

    def __init__(self, graph: Graph, nodes: Sequence[Node], inputs: Mapping[str, Any] | None = None) -> None:
        lent = dict.fromkeys(ref for node in nodes for ref in node.lent.values())
        self._uncertain = _may_be_skipped(nodes)
        self.values: dict[Ref, Facts] = {Ref(INPUTS, n): facts_of_given(v) for n, v in (inputs or {}).items()}
        self.parts = {ref: _part_facts(graph.components[ref.component], ref.part) for ref in lent}
        self.faults: list[Fault] = []
        for node in nodes:
            if node.map or not hasattr(node.stage, "facts"):  # each item may be different
                continue
            try:
                made = facts_of(node.stage, self.of(node))
            except FactError as error:
                self.faults.append(_at(node, _mismatch(node, error)))
            except StagegraphError as error:
                self.faults += [_found_at(fault, node.location, f"nodes.{node.name}") for fault in error.faults]
            except Exception as error:
                what = f"facts of {node.name} ({node.spec.id}) failed: {type(error).__name__}: {error}"
                self.faults.append(_at(node, Fault("invalid_stage", what, fix="tell the author of its plugin")))
            else:
                self.values |= {Ref(node.name, port): told for port, told in made.items()}

    def of(self, node: Node) -> Mapping[str, Facts]:
        """What is known of the arguments of a node."""
        certain = node.name not in self._uncertain  # else nothing may be said of values that it may never be given
        flows = {
            port: told
            for port, source in node.inputs.items()
            if not isinstance(source, tuple) and (told := self._of(source)) and (certain or VALUE not in told)
        }
        each = {
            f"{port}[{number}]": self._if_certain(source)
            for port, sources in node.inputs.items()
            if isinstance(sources, tuple)
            for number, source in enumerate(sources)
        }
        return {**flows, **each, **{argument: self.parts[ref] for argument, ref in node.lent.items()}}

    def _of(self, source: Ref | Constant) -> Facts:
        return self.values.get(source, {}) if isinstance(source, Ref) else facts_of_given(source.value)

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
