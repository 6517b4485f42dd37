"""A small executor over `RunCache`, and a graph for it: what the real executors do, in the fewest lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from stagegraph import Graph, Registry, component, outputs, param, part, stage
from stagegraph import plan as plans
from stagegraph.artifacts import Codecs
from stagegraph.caching import RunCache
from stagegraph.graph import bind
from stagegraph.plan import Plan
from stagegraph.record import RunRecord, new_run_id, start
from stagegraph.store import Store, runs


@attrs.frozen
class Model:
    """What `Weights` lends."""

    path: str


@component("run.weights", version=1)
class Weights:
    """Weights with an identity."""

    path: str = param(default="w")
    print: str = param(default="f00d")
    dtype: str = param(default="fp32")

    def fingerprint(self) -> str:
        """As the param says."""
        return self.print

    def cache_facts(self) -> Mapping[str, str]:
        """All that matters beside them."""
        return {"dtype": self.dtype}

    @part
    def model(self) -> Model:
        """The model."""
        return Model(self.path)


@component("run.anonymous", version=1)
class Anonymous:
    """Weights that do not say which."""

    @part
    def model(self) -> Model:
        """The model."""
        return Model("")


class Handle:
    """A value that no codec writes."""


@outputs
class Pair:
    """Two outputs."""

    first: str
    second: int


@stage("run.split", version=1)
class Split:
    """Take a text apart."""

    at: int = param(default=1)

    def run(self, text: str) -> Pair:
        """Its beginning and the length of the rest."""
        return Pair(text[: self.at], len(text) - self.at)


@stage("run.join", version=2)
class Join:
    """Put together."""

    def run(self, first: str, second: int, *, model: Model) -> str:
        """With what is lent."""
        return f"{first}{second}{model.path}"


@stage("run.grab", version=1)
class Grab:
    """Make what cannot be stored."""

    def run(self, text: str) -> Handle:
        """Something of this process."""
        return Handle()


@stage("run.use", version=1)
class Use:
    """Use what cannot be stored."""

    def run(self, handle: Handle) -> str:
        """A text."""
        return "used"


def plan(at: int = 1, weights: Any = None, wanted: str | None = None) -> Plan:
    """text -> split -> join -> joined, and text -> grab -> use -> used."""
    g = Graph("test", registry=Registry.of(Split, Join, Grab, Use, Weights))
    g.component("weights", Weights() if weights is None else weights)
    text = g.input("text", str)
    split = g.add(Split(at=at), name="split", text=text)
    joined = g.add(Join(), name="join", first=split.first, second=split.second)
    g.output("joined", joined.output)
    g.output("used", g.add(Use(), name="use", handle=g.add(Grab(), name="grab", text=text).output).output)
    return plans.make(bind(g._drafts), None if wanted is None else [wanted])


def opt_out(plan: Plan, *names: str) -> Plan:
    """The plan with stages that opt out of caching."""

    def changed(step: Any) -> Any:
        if step.node.name not in names:
            return step
        spec = _OptedOut(step.node.spec)
        return attrs.evolve(step, node=attrs.evolve(step.node, spec=spec))

    return attrs.evolve(plan, steps=tuple(map(changed, plan.steps)))


class _OptedOut:
    cache = False

    def __init__(self, spec: Any) -> None:
        self._spec = spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spec, name)

    def __str__(self) -> str:
        return str(self._spec)


def execute(plan: Plan, cache: RunCache, text: str) -> Iterator[str]:
    """Run a plan; tells the names of the nodes whose stages run, just before they do."""
    values: dict[Any, Any] = {("inputs", "text"): text}
    known = {("inputs", "text"): cache.input_key(text)}
    for step in plan.steps:
        node = step.node
        wires = {port: (ref.node, ref.port) for port, ref in node.inputs.items()}
        key = cache.node_key(step, {port: known[wire] for port, wire in wires.items()})
        found = cache.fetch(step, key)
        if found is None:
            yield node.name
            lent = {a: getattr(plan.graph.components[ref.component], ref.part)() for a, ref in node.lent.items()}
            result = node.stage.run(**{port: values[wire] for port, wire in wires.items()}, **lent)
            found = (result,) if node.spec.single else tuple(getattr(result, port) for port in node.spec.outputs)
            cache.save(step, key, found, seconds=0.25, peak_bytes=7)
        for port, value in zip(node.spec.outputs, found, strict=True):
            values[node.name, port] = value
            known[node.name, port] = cache.output_key(step, key, port, value)


def record_of(plan: Plan, text: str) -> RunRecord:
    """A record that begins now."""
    return start(new_run_id(), plan, {"text": text}).record()


def run(store: Store, plan: Plan, folder: Path, text: str = "hello") -> tuple[str, list[str]]:
    """Run and record a plan; gives the run's id and the nodes whose stages ran."""
    record = record_of(plan, text)
    log = runs.begin(store, Codecs(), record.as_dict(), {"text": text}, {"text": str}, folder / record.id)
    ran = list(execute(plan, RunCache(store, Codecs(), plan.graph.components, log), text))
    log.finish(attrs.evolve(record, status="finished").as_dict())
    return record.id, ran
