"""What a plugin must keep to, as claims that can be checked one by one: a claim gives a line for each breach."""

from __future__ import annotations

import functools
import json
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from stagegraph.builder import Graph, load
from stagegraph.errors import Cancelled, StagegraphError
from stagegraph.plugins import Plugin, Plugins, entries, required_engine
from stagegraph.pool import Pool
from stagegraph.ports import Port, holds, list_of, type_name
from stagegraph.record import summary
from stagegraph.registry import Registry
from stagegraph.rules import Rule, rule_of
from stagegraph.serde import StructureError, structure, unstructure
from stagegraph.stages import SINGLE, StageSpec
from stagegraph.testing import foretelling
from stagegraph.testing.calling import call_stage, fake_component, node_name
from stagegraph.testing.digest import digest
from stagegraph.testing.examples import Example
from stagegraph.testing.inspection import import_cost, owned, without_docs
from stagegraph.testing.report import TABLES

#: The longest that a stage may take which does not look whether the run was cancelled, in seconds.
QUICK: Final = 1.0


@attrs.frozen
class Claim:
    """Something that holds; `breaches` gives a line for each thing that speaks against it."""

    id: str
    breaches: Callable[[], Iterable[str]]


def claims(
    name: str, plugins: Plugins, registry: Registry, examples: Iterable[Example], allowed_imports: Iterable[str]
) -> list[Claim]:
    """Every claim about an installed plugin; the first alone if it does not load."""
    loads = Claim(f"{name}-loads", lambda: _does_not_load(name, plugins, registry))
    plugin = next((plugin for plugin in plugins.loaded if plugin.origin.plugin == name), None)
    if plugin is None:
        return [loads]
    examples = list(examples)
    pool = Pool()
    own = _PluginClaims(plugin, plugins, registry)
    of_stages = [claim for spec in own.specs("stages") for claim in _stage_claims(spec, examples)]
    return [
        loads,
        Claim(f"{name}-requires", own.requires),
        Claim(f"{name}-registers", own.registers),
        Claim(f"{name}-names", own.names),
        Claim(f"{name}-imports", lambda: own.imports(allowed_imports)),
        *(
            Claim(f"{id}-valid", functools.partial(own.manifest, id))
            for id, origin in registry.origins.items()
            if id in registry.manifests and origin == plugin.origin
        ),
        *(Claim(f"{spec.kind}-docs", functools.partial(without_docs, spec)) for spec in own.specs("components")),
        *of_stages,
        *(claim for example in examples for claim in _ExampleClaims(example, registry, pool).all()),
    ]


def _does_not_load(name: str, plugins: Plugins, registry: Registry) -> Iterator[str]:
    problems = [problem for problem in registry.problems if problem.origin.plugin == name]
    yield from (str(problem.fault) for problem in problems)
    if not problems and all(plugin.origin.plugin != name for plugin in plugins.loaded):
        yield f'no installed distribution has a plugin "{name}": pip install -e . in its folder'


def _stage_claims(spec: StageSpec, examples: Iterable[Example]) -> Iterator[Claim]:
    def example() -> Iterator[str]:
        if all(example.spec is not spec for example in examples):
            yield f"no example shows {spec.id}: add Example({spec.factory.__name__}(...), inputs=...)"

    yield Claim(f"{spec.id}-docs", lambda: without_docs(spec))
    yield Claim(f"{spec.id}-example", example)


@attrs.frozen
class _PluginClaims:
    """About what a plugin registers."""

    plugin: Plugin
    plugins: Plugins
    registry: Registry

    def specs(self, table: str) -> list[Any]:
        return owned(getattr(self.registry, table), self.registry, self.plugin.origin)

    def requires(self) -> Iterator[str]:
        mine = (entry for entry, origin in entries() if origin == self.plugin.origin)
        if all(required_engine(entry) is None for entry in mine):
            what = f"{self.plugin.origin.distribution} does not require stagegraph"
            yield f'{what}: add a range that you tested to its dependencies, such as "stagegraph>=0.1,<0.2"'

    def registers(self) -> Iterator[str]:
        for hook in self.plugins.hooks(self.plugin):
            table = hook.removeprefix("stagegraph_")
            if table in TABLES and not self.specs(table):
                yield f"its hook {hook} registers nothing: drop the hook, or return something"

    def names(self) -> Iterator[str]:
        name = self.plugin.origin.plugin
        for table in TABLES:
            start = f"{name}/" if table == "manifests" else f"{name}."
            for id, origin in self.registry.origins.items():
                if origin == self.plugin.origin and id in getattr(self.registry, table) and not id.startswith(start):
                    yield f'it registers "{id}", which does not start with "{start}": others may take the name'

    def imports(self, allowed: Iterable[str]) -> Iterator[str]:
        module = self.plugin.module.__name__
        cost = import_cost(module, allowed)
        if cost.error:
            yield f"importing {module} in a fresh interpreter failed: {cost.error}"
        if cost.heavy:
            fix = "import them inside run and the loaders, or list them in allow_imports"
            yield f"importing {module} imports {', '.join(cost.heavy)}: {fix}"

    def manifest(self, name: str) -> Iterator[str]:
        try:
            graph = load(name, self.registry)
        except StagegraphError as error:
            yield str(error)
            return
        if graph.name != name:
            yield f'the manifest registered as "{name}" is named "{graph.name}"'


@attrs.frozen
class _ExampleClaims:
    """About a stage that is called."""

    example: Example
    registry: Registry
    pool: Pool

    def all(self) -> Iterator[Claim]:
        spec = self.example.spec
        yield self._claim("params", self.params)
        yield self._claim("travels", self.travels)
        yield self._claim("inputs", self.inputs)
        yield self._claim("outputs", self.outputs)
        yield self._claim("inputs_kept", self.inputs_kept)
        yield self._claim("deterministic", self.deterministic)
        yield self._claim("in_graph", self.in_graph)
        if any(hasattr(self.example.stage, method) for method in foretelling.METHODS):
            yield self._claim("foretold", self.foretold)
        if spec.context is not None:
            yield self._claim("cancellation", self.cancellation)

    def _claim(self, id: str, breaches: Callable[[], Iterable[str]]) -> Claim:
        return Claim(f"{self.example}-{id}", breaches)

    def params(self) -> Iterator[str]:
        spec = self.example.spec
        yield from _not_as_written(self.example.stage, spec)
        if all(field.default is not attrs.NOTHING for field in spec.params.values()):
            yield from _not_as_written(spec.factory(), spec)
        for field in spec.params.values():
            rule = rule_of(field)
            for value in _outside(rule):
                try:
                    attrs.evolve(self.example.stage, **{field.name: value})
                except ValueError:
                    continue
                yield f"param {field.name} takes {value!r}, although it must be {rule.text}"

    def travels(self) -> Iterator[str]:
        stage = self.example.stage
        try:
            pickle.dumps(stage)  # as worker processes are sent it; nothing is read back
        except Exception as error:
            yield f"{stage!r} cannot be sent to another process: {type(error).__name__}: {error}"

    def inputs(self) -> Iterator[str]:
        inputs, _ = self.example.made(self.pool)
        yield from _wrong_inputs(self.example.spec, inputs)

    def outputs(self) -> Iterator[str]:
        inputs, lent = self.example.made(self.pool)
        yield from _wrong_outputs(self.example.spec, call_stage(self.example.stage, inputs, lent).result)

    def foretold(self) -> Iterator[str]:
        yield from foretelling.objections(self.example)
        inputs, lent = self.example.made(self.pool)
        result = call_stage(self.example.stage, inputs, lent).result
        yield from foretelling.unwritten(self.example)
        yield from foretelling.untrue(self.example, inputs, result)

    def inputs_kept(self) -> Iterator[str]:
        inputs, lent = self.example.made(self.pool)
        before = {name: digest(value) for name, value in inputs.items()}
        call_stage(self.example.stage, inputs, lent)
        for name, value in inputs.items():
            if digest(value) != before[name]:
                yield f"run changed its input {name}, which other stages may read: work on a copy"

    def deterministic(self) -> Iterator[str]:
        first, second = (call_stage(self.example.stage, *self.example.made(self.pool)).result for _ in range(2))
        if not self.example.equal(first, second):
            fix = "take randomness from a seed (context.generator, derive_seed), or compare with equal="
            yield f"two runs on the same inputs gave different results: {fix}"

    def in_graph(self) -> Iterator[str]:
        inputs, lent = self.example.made(self.pool)
        spec = self.example.spec
        alone = call_stage(self.example.stage, inputs, lent).result
        graph = Graph("example", registry=self.registry)
        chosen = {
            name: graph.component(f"lent_{name}", fake_component({spec.lent[name].type: thing}))
            for name, thing in lent.items()
        }
        wires: dict[str, Any] = {}
        for name, port, _ in _each(spec, inputs):
            wire = graph.input(f"input_{name}", spec.inputs[port].type)
            wires[port] = [*wires.get(port, []), wire] if spec.inputs[port].variadic else wire
        node = graph.add(self.example.stage, name=node_name(spec), components=chosen, **wires)
        for port in spec.outputs:
            graph.output(port, getattr(node, port))
        again, _ = self.example.made(self.pool)
        run = graph.run(directory=Path(), **{f"input_{name}": value for name, _, value in _each(spec, again)})
        if not spec.outputs:
            return
        made = run[SINGLE] if spec.single else spec.returns(**run.outputs)
        if not self.example.equal(alone, made):
            yield "the engine got another result than a call of run"

    def cancellation(self) -> Iterator[str]:
        inputs, lent = self.example.made(self.pool)
        begin = time.perf_counter()
        try:
            call_stage(self.example.stage, inputs, lent, cancelled=True)
        except Cancelled:
            return
        seconds = time.perf_counter() - begin
        if not self.example.quick:
            what = "run went to its end although it was cancelled"
            yield f"{what}: call context.progress or context.check_cancelled as it works, or say quick=True"
        elif seconds > QUICK:
            yield f"the example says quick=True, but run took {seconds:.1f} s: call context.check_cancelled as it works"


def _not_as_written(stage: Any, spec: StageSpec) -> Iterator[str]:
    try:
        written = json.loads(json.dumps(unstructure(stage)))
        again = structure(written, spec.factory)
    except (TypeError, StructureError) as error:
        yield f"the params of {stage!r} cannot be written and read again: {error}"
        return
    if again != stage:
        yield f"{stage!r} is {again!r} after it was written and read again"


def _each(spec: StageSpec, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(name of a wire, port, value): one for each value of a variadic input."""
    for port, value in inputs.items():
        if spec.inputs[port].variadic:
            yield from ((f"{port}_{number}", port, item) for number, item in enumerate(value))
        else:
            yield port, port, value


def _declared(port: Port) -> Any:
    """The type of what an example gives for an input."""
    return list_of(port.type) if port.variadic else port.type


def _wrong_inputs(spec: StageSpec, inputs: Mapping[str, Any]) -> Iterator[str]:
    for name, value in inputs.items():
        if name not in spec.inputs:
            yield f"the example gives {name}, but the inputs are: {', '.join(spec.inputs) or 'none'}"
        elif not holds(_declared(spec.inputs[name]), value):
            yield f"the example gives {name} {summary(value)}, but it is {type_name(_declared(spec.inputs[name]))}"
    for port in spec.inputs.values():
        if port.required and port.name not in inputs:
            yield f"the example does not give the input {port}"


def _wrong_outputs(spec: StageSpec, result: Any) -> Iterator[str]:
    if spec.single:
        values = {SINGLE: result}
    elif spec.outputs and isinstance(result, spec.returns):
        values = {name: getattr(result, name) for name in spec.outputs}
    elif not spec.outputs and result is None:
        return
    else:
        yield f"run declares to return {type_name(spec.returns)}, but returned {summary(result)}"
        return
    for name, value in values.items():
        if not holds(spec.outputs[name].type, value):
            yield f"run declares {name} as {type_name(spec.outputs[name].type)}, but returned {summary(value)}"


def _outside(rule: Rule) -> Iterator[Any]:
    if rule.ge is not None:
        yield rule.ge - 1
    if rule.gt is not None:
        yield rule.gt
    if rule.le is not None:
        yield rule.le + 1
    if rule.lt is not None:
        yield rule.lt
    if rule.multiple_of is not None and rule.multiple_of > 1:
        yield rule.remainder + 1
    if rule.choices is not None:
        yield "none of the choices"
