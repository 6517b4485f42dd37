"""From a run record to a run: the graph made again, its inputs, and what has changed since.

A record may come from anybody. Nothing in it names code: the stages that it names are looked up in the registry. It may
say which files are read, but not which are written: writers go back to their default path, in the folder of the new
run, unless the user names another.

::

    graph = rebuild(recorded, registry, settings)
    given = given_of(recorded, graph)
    plan = plans.make(graph, recorded.record.outputs, given)
    check_paths(plan, named)
    inputs = inputs_of(recorded, plan)
    comparison = compare(recorded, plan)
    serial.run(plan, inputs, given=given)
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

import attrs

from stagegraph import graph as graphs
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.components import cache_facts_of, component_spec_of, fingerprint_of
from stagegraph.errors import Fault, GraphError, InputError, ManifestError, PlanError, PluginError, RecordError
from stagegraph.facts import files_of
from stagegraph.graph import INPUTS, Graph, Ref
from stagegraph.keys import Change, difference
from stagegraph.manifest import Manifest
from stagegraph.plan import Plan
from stagegraph.ports import type_name
from stagegraph.record import RunRecord, installed_version, packages_of, versions_of
from stagegraph.registry import Registry
from stagegraph.serde import StructureError, Text, describe, structure
from stagegraph.writers import PATH, with_params, writers


class Accept(enum.StrEnum):
    """What may differ from the recorded run, if the user says so."""

    weights = "weights"
    stages = "stages"
    given = "given"


@attrs.frozen
class Recorded:
    """A record to make a run of.

    Attributes:
        record: what is known of the run.
        name: the file or the run that it is of, for messages.
        inputs: values of inputs that are known from elsewhere than the record.
    """

    record: RunRecord
    name: str
    inputs: Mapping[str, Any] = attrs.field(factory=dict)


def rebuild(
    recorded: Recorded,
    registry: Registry,
    settings: Mapping[str, Text] | None = None,
    accept: Collection[Accept] = (),
) -> Graph:
    """The graph of a record, with settings (`node.param`) laid over it, and its writers at their default path.

    Raises:
        RecordError: it holds no graph, or a stage is of a version that cannot be read.
        PluginError: stages or components that no installed plugin registers; all of them.
        ManifestError, GraphError: what it holds is no graph that can be built; with every fault.
    """
    settings = settings or {}
    try:
        manifest = _readable(manifest_of(recorded), registry, recorded, accept)
        graph = graphs.build(manifests.override(manifest, settings), registry)
    except (ManifestError, GraphError) as error:
        raise type(error)(*(_at(recorded, fault) for fault in error.faults)) from None
    for node in writers(graph.nodes.values()):
        has_default = node.spec.params[PATH].default is not attrs.NOTHING
        if f"{node.name}.{PATH}" not in settings and has_default:
            graph = with_params(graph, node.name, {PATH: attrs.NOTHING}, recorded.name)
    return graph


def manifest_of(recorded: Recorded) -> Manifest:
    """The graph as the record has it; nothing is looked up.

    Raises:
        RecordError: it has none.
        ManifestError: it is not of the structure of a manifest.
    """
    if recorded.record.manifest is None:
        what = "the graph is not in the record, since it has inputs of types without names"
        raise RecordError(Fault("no_record", what, recorded.name, fix="run it again from Python"))
    manifest = manifests.from_data(recorded.record.manifest)
    nested = [name for name, node in manifest.nodes.items() if node.graph]
    if nested:
        what = f"the node {describe(nested[0])} is a graph of its own, which records write out"
        raise RecordError(Fault("bad_record", what, recorded.name))
    return manifest


def given_of(recorded: Recorded, graph: Graph, accept: Collection[Accept] = ()) -> dict[str, Any]:
    """The values that the run was given for ports, by the name of the port.

    Raises:
        RecordError: the record does not hold one of them.
        PlanError: a port that the graph does not have.
        InputError: a value that does not fit; with every one.
    """
    record = recorded.record
    missing = [name for name in record.given if name in record.described]
    if missing and Accept.given not in accept:
        what = f"the run was given the values of {', '.join(missing[:10])}, which the record does not hold"
        raise RecordError(Fault("values_given", what, recorded.name, fix=_FIX[Accept.given]))
    kept = [name for name in record.given if name not in missing]
    try:
        ports = plans.make(graph, record.outputs, kept).given if kept else {}
    except PlanError as error:
        raise PlanError(*(_at(recorded, fault) for fault in error.faults)) from None
    faults: list[Fault] = []
    values = {name: _value(recorded, name, record.given[name], port.type, faults) for name, port in ports.items()}
    if faults:
        raise InputError(*faults)
    return values


def _value(recorded: Recorded, name: str, data: Any, type_: Any, faults: list[Fault]) -> Any:
    try:
        return structure(data, type_)
    except StructureError as error:
        faults += [Fault(p.code, f"{name}: {p.what}", recorded.name, p.why) for p in error.problems]
        return None


def check_paths(plan: Plan, named: Collection[str], name: str) -> None:
    """Refuse to write a file that nobody but the record, or a default, names.

    Args:
        plan: what will run.
        named: the nodes whose path the user has given.
        name: the record's, for messages.

    Raises:
        RecordError: with every such file.
    """
    faults = []
    for step in plan.steps:
        node = step.node
        if node.name not in named:
            for file in files_of(node.stage):
                fix = f"name one: --set {node.name}.{PATH}=..." if PATH in node.spec.params else "run it from Python"
                what = f"{node.name} ({node.spec.id}) would write {file}, which you have not named"
                faults.append(Fault("untrusted_path", what, name, fix=fix))
    if faults:
        raise RecordError(*faults)


def inputs_of(recorded: Recorded, plan: Plan, given: Collection[str] = ()) -> dict[str, Any]:
    """The values of the graph's inputs, without those that the user gives.

    Raises:
        InputError: values that are needed and not known, or that do not fit; with every fault.
    """
    record = recorded.record
    used = {source.port for source in plan.slots if isinstance(source, Ref) and source.node == INPUTS}
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, declared in plan.graph.inputs.items():
        if name in given:
            continue
        if name in recorded.inputs:
            values[name] = recorded.inputs[name]
        elif name in record.described:
            if name in used:
                what = f"the record does not hold the input {name} ({type_name(declared.type)})"
                why = f"it is only described: {describe(record.inputs.get(name))}"
                faults.append(Fault("missing_input", what, recorded.name, why, f"give {name}, as in -i {name}=..."))
        elif name in record.inputs:
            values[name] = _value(recorded, f"input {name}", record.inputs[name], declared.type, faults)
    if faults:
        raise InputError(*faults)
    return values


@attrs.frozen
class Comparison:
    """What has changed since a record was made, and what of it keeps the run from being made again as it was."""

    changes: tuple[Change, ...]
    faults: tuple[Fault, ...]


def compare(
    recorded: Recorded, plan: Plan, chosen: Set[str] = frozenset(), accept: Collection[Accept] = ()
) -> Comparison:
    """What has changed since the record was made: versions, stages, weights, what components say of themselves.

    Args:
        recorded: the record.
        plan: of the graph that was made of it.
        chosen: the components that the user has set something of, whose weights may be others, as may be those of
            what holds them.
        accept: what else may differ.

    Raises:
        ComponentError: a component cannot tell.
    """
    changes = [*_changed_versions(recorded.record, plan), *_changed_stages(recorded.record, plan)]
    faults = []
    lent = plan.graph.with_held({part.component for step in plan.steps for part in step.node.lent.values()})
    for name, component in plan.graph.components.items():
        if name not in lent:
            continue
        kind = component_spec_of(component).kind
        old, new = recorded.record.components.get(name), fingerprint_of(component) or kind
        if old != new:
            changes.append(Change(f"components.{name}.fingerprint", old, new))
            if old is not None and chosen.isdisjoint(plan.graph.with_held({name})) and Accept.weights not in accept:
                what = f"the weights of {name} ({kind}) are others: {_short(old)} then, {_short(new)} now"
                faults.append(Fault("weights_changed", what, recorded.name, fix=_FIX[Accept.weights]))
        facts = difference(recorded.record.facts.get(name, {}), cache_facts_of(component) or {})
        changes += [attrs.evolve(change, name=f"components.{name}.{change.name}") for change in facts]
    return Comparison(tuple(changes), tuple(faults))


_FIX: Mapping[Accept, str] = {
    Accept.weights: "--accept weights runs it with the weights that are here",
    Accept.stages: "--accept stages reads the params as those of the installed version",
    Accept.given: "--accept given makes them anew",
}


def _readable(manifest: Manifest, registry: Registry, recorded: Recorded, accept: Collection[Accept]) -> Manifest:
    """The manifest, with every stage of a version that the installed one reads."""
    missing: dict[str, Fault] = {}
    changed = []
    nodes = dict(manifest.nodes)
    for name, node in manifest.nodes.items():
        id, _, version = node.stage.partition("@")
        spec = registry.stages.get(id)
        if spec is None:
            missing[id] = _unknown(registry.stage(id))
        elif version and not spec.migrations.reads(version):
            nodes[name] = attrs.evolve(node, stage=id)
            what = f"{name} is {id} of version {describe(version)}, but installed is version {spec.version}"
            changed.append(
                Fault(
                    "stage_changed",
                    what,
                    recorded.name,
                    "nothing brings its params from one to the other",
                    _FIX[Accept.stages],
                )
            )
    for component in manifest.components.values():
        if component.kind not in registry.components:
            missing[component.kind] = _unknown(registry.component(component.kind))
    changed = changed if Accept.stages not in accept else []
    if missing:
        raise PluginError(*_absent(missing, registry, recorded), *changed)
    if changed:
        raise RecordError(*changed)
    return attrs.evolve(manifest, nodes=nodes)


def _unknown(found: Any) -> Fault:
    assert isinstance(found, Fault)  # what a registry gives for a name that it does not have
    return found


def _absent(missing: Mapping[str, Fault], registry: Registry, recorded: Recorded) -> Iterator[Fault]:
    """What is missing, with what the record says of where it came from; what is called alike does not do."""
    gone = _not_installed(recorded.record)
    had = f"the run had {', '.join(gone)}, which is not installed" if gone else ""
    for name, fault in missing.items():
        why = "; ".join(filter(None, [fault.why, had]))
        is_broken = any(problem.concerns(name) for problem in registry.problems)
        fix = fault.fix if is_broken else "install the plugin that registers it"
        yield attrs.evolve(fault, where=recorded.name, why=why, fix=fix)


def _not_installed(record: RunRecord) -> list[str]:
    versions = [(name, version) for name, version in record.versions.items() if name != "python"]
    return [f"{name} {version}" for name, version in versions if installed_version(name) is None][:5]


def _changed_versions(record: RunRecord, plan: Plan) -> list[Change]:
    now = versions_of(packages_of(plan.graph))
    return [attrs.evolve(change, name=f"versions.{change.name}") for change in difference(record.versions, now)]


def _changed_stages(record: RunRecord, plan: Plan) -> Iterator[Change]:
    nodes = (record.manifest or {}).get("nodes", {})
    for step in plan.steps:
        old, new = nodes.get(step.node.name, {}).get("stage"), str(step.node.spec)
        if old is not None and old != new:
            yield Change(f"{step.node.name}.stage", old, new)


def _at(recorded: Recorded, fault: Fault) -> Fault:
    """A fault in the graph of a record, with the record's name before its place."""
    return attrs.evolve(fault, where=f"{recorded.name}: {fault.where}" if fault.where else recorded.name)


def _short(identity: str) -> str:
    return identity if len(identity) <= 16 else f"{identity[:12]}..."
