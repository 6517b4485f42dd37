"""The Python builder: a graph written as code, checked as it grows.

::

    g = Graph("hello")
    g.component("model", LTX2Checkpoint(path="micro"))
    text = g.add(LTX2TextEncodingStage(), name="text", prompt=g.input("prompt", str))
    ...
    g.output("video", write.path)
    run = g.run(prompt="a red circle moves right")

It says the same as a manifest and turns into one and back without loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.attempts import Retry
from stagegraph.components import Residency, held_by
from stagegraph.errors import Fault, GraphError, ManifestError, suggest
from stagegraph.graph import INPUTS, OUTPUTS, Draft, Drafts, Input, Ref, bind, embed, read, to_manifest, wrong_wires
from stagegraph.graph import Graph as BoundGraph
from stagegraph.graph.values import name_of
from stagegraph.manifest import Manifest, NodeDecl, Value
from stagegraph.memory import fitted
from stagegraph.plan import Plan
from stagegraph.ports import REQUIRED, Port, accepts, holds, list_of, type_name
from stagegraph.record import summary
from stagegraph.registry import BASIC_TYPES, Registry
from stagegraph.stages import spec_of

if TYPE_CHECKING:  # what runs a graph, and finds plugins, is imported when that is asked for
    from stagegraph.caching import Caching
    from stagegraph.context import Cancellation
    from stagegraph.events import Listener
    from stagegraph.executors.result import Run
    from stagegraph.executors.traffic import Lanes
    from stagegraph.pool import Pool


@attrs.frozen
class Wire:
    """A value that will flow: what `g.input` and the outputs of a node are. Wire it by giving it to `g.add`."""

    ref: Ref
    type: Any = attrs.field(repr=type_name)


class NodeHandle:
    """A node, or an embedded graph, of a graph that is being built; its outputs are attributes."""

    def __init__(self, graph: Graph, name: str, kind: str, outputs: Mapping[str, Port]) -> None:
        self._graph = graph
        self._name = name
        self._kind = kind
        self._outputs = outputs

    @property
    def name(self) -> str:
        """The node's name."""
        return self._name

    def wire(self, **inputs: Feed) -> None:
        """Feed inputs of the node after it was added.

        Raises:
            GraphError: an input that the stage does not have, that is fed already, or that takes another type.
        """
        self._graph._wire(self._graph._growing().nodes[self._name], inputs)

    def __getattr__(self, port: str) -> Wire:
        outputs: Mapping[str, Port] = self.__dict__["_outputs"]
        if port in outputs:
            return Wire(Ref(self._name, port), outputs[port].type)
        if port.startswith("__"):
            raise AttributeError(port)
        what = f'{self._name} ({self._kind}) has no output "{port}"'
        raise AttributeError(str(Fault("unknown_port", what, fix=suggest(port, outputs))))

    def __repr__(self) -> str:
        return f"<node {self._name}: {self._kind}>"


#: What feeds an input: a wire, a node with one output, a constant, or a list of them for a variadic input.
Feed = Wire | NodeHandle | Value | list[Wire | NodeHandle | Value]


def constant(value: Any) -> Value:
    """A value to feed an input with, as it is now: `g.add(stage, count=constant(3))`."""
    return Value(_copied(value))


def _copied(value: Any) -> Any:
    """Lists and dicts anew, what they hold as it is."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


class Graph:
    """A graph that grows.

    Args:
        name: what it is called in messages and records.
        description: what it does.
        registry: where ids given as strings are looked up; the installed plugins by default, loaded when first needed.
    """

    def __init__(self, name: str, description: str = "", *, registry: Registry | None = None) -> None:
        self._drafts = Drafts(name, description)
        self._registry = registry
        self._numbers: dict[str, int] = {}
        self._bound: BoundGraph | None = None
        self._planned: Callable[[tuple[str, ...] | None, tuple[str, ...], tuple[str, ...]], Plan] | None = None

    @classmethod
    def from_manifest(cls, manifest: Manifest, registry: Registry | None = None) -> Graph:
        """The graph that a manifest describes.

        Raises:
            GraphError: it names or sets what does not exist; with every fault.
        """
        registry = registry or _installed()
        graph = cls(manifest.name, manifest.description, registry=registry)
        drafts, faults = read(manifest, registry)
        graph._drafts = drafts
        graph._bound = bind(drafts, locate=manifest.locate, faults=faults)
        return graph

    @property
    def name(self) -> str:
        """The graph's name."""
        return self._drafts.name

    @property
    def registry(self) -> Registry:
        """Where ids are looked up."""
        if self._registry is None:
            self._registry = _installed()
        return self._registry

    def input(self, name: str, type: Any, default: Any = REQUIRED, *, help: str = "") -> Wire:
        """Declare a value that the caller of the graph gives; again with the same name and type, the same value."""
        known = self._drafts.inputs.get(name)
        if default is not REQUIRED and not holds(type, default):
            what = f"input {name} is {type_name(type)}, but its default is {summary(default)}"
            raise GraphError(Fault("invalid_type", what, fix="use a default of its type"))
        if known is None:
            basic = next((n for n, t in BASIC_TYPES.items() if t is type), None)
            registered = basic or self.registry.type_name(type) or ""
            self._growing().inputs[name] = Input(name, type, default, help, registered)
        elif known.type != type:
            what = f"input {name} is declared as {type_name(known.type)} and as {type_name(type)}"
            raise GraphError(Fault("type_mismatch", what, fix="use one type, or another name"))
        elif default is not REQUIRED and default != known.default:
            what = f"input {name} is declared with two defaults, {summary(known.default)} and {summary(default)}"
            raise GraphError(Fault("invalid_value", what, fix="use one default, or another name"))
        return Wire(Ref(INPUTS, name), type)

    def component(
        self, name: str, component: Any, *, residency: Residency | Mapping[str, Residency] | None = None
    ) -> str:
        """Give the graph a component; stages that need one of its parts are lent it.

        Args:
            name: its name in the graph.
            component: an instance of a component class.
            residency: where its parts stay between uses, for all of them or by part. By default until the last step
                that is lent them; in a pool that the caller brings, for good.

        Returns:
            The name, for `components=` of `add` where several components provide the same.
        """
        self._new("component", name, self._drafts.components)
        for param, held in held_by(component).items():
            if name_of(held, self._drafts.components) is None:
                what = f"{param} of {name} is {held!r}, which is no component of {self.name}"
                raise GraphError(Fault("unknown_component", what, fix="add it with g.component(...) before"))
        self._growing().components[name] = component
        if residency is not None:
            self._drafts.residency[name] = residency
        return name

    def add(
        self,
        stage: Any,
        /,
        *,
        name: str | None = None,
        components: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        when: Wire | NodeHandle | None = None,
        map: Iterable[str] = (),
        timeout: float | None = None,
        retry: Retry | None = None,
        **inputs: Feed,
    ) -> NodeHandle:
        """Place a stage, or another graph, in the graph.

        Args:
            stage: an instance such as `Tint(strength=0.5)`, a stage class with only defaults, an id, or a `Graph`.
            name: the node's name; the last word of the id by default, with a number if it is taken.
            components: argument -> component name, where several components provide what the stage is lent. Of a graph:
                its component -> the component of this graph to use in its place.
            params: the params of a stage given by its id.
            when: decides whether the node runs: a bool, or what may be None, for whether it is there.
            map: inputs that are fed lists; the stage runs for each item, and its outputs are lists.
            timeout: seconds after which a call has failed.
            retry: how often the stage is called when it fails with an error that may pass.
            inputs: port -> what feeds it. Ports with the names of these arguments are fed by `NodeHandle.wire`.

        Raises:
            GraphError: the stage is unknown, the name is taken, or a wire does not fit.
        """
        if isinstance(stage, Graph):
            given = {"params": params, "when": when, "map": tuple(map), "timeout": timeout, "retry": retry}
            for setting in (setting for setting, value in given.items() if value not in (None, {}, ())):
                what = f"a node that is a graph has no {setting} of its own"
                raise GraphError(Fault("invalid_value", what, fix=f"give {setting} to its nodes"))
            return self._embed(stage, name or self._free_name(stage.name.rpartition("/")[2]), components, inputs)
        instance = self._instance(stage, name, params or {})
        spec = spec_of(instance)
        if name is None:
            name = self._free_name(spec.id.rpartition(".")[2])
        self._new("node", name, self._drafts.nodes, self._drafts.subgraphs)
        draft = Draft(name, spec, instance, components=dict(components or ()), map=tuple(map))
        draft.timeout, draft.retry = timeout, retry
        self._wire(draft, inputs)
        if when is not None:
            draft.when = self._source(when)[0]
        self._growing().nodes[name] = draft
        return self._handle(draft)

    def node(self, name: str) -> NodeHandle:
        """A node that was added before, or that came with a manifest."""
        draft = self._drafts.nodes.get(name)
        if draft is None:
            fix = suggest(name, self._drafts.nodes)
            raise GraphError(Fault("unknown_node", f'{self.name} has no node "{name}"', fix=fix))
        return self._handle(draft)

    def output(self, name: str, value: Wire | NodeHandle) -> None:
        """Declare a result of the graph."""
        self._new("output", name, self._drafts.outputs)
        self._growing().outputs[name] = self._source(value)[0]

    def carry(self, input: str, output: str) -> None:
        """In a session, let an input take the value that an output had in the run before.

        Args:
            input: the name of an input.
            output: the name of an output.

        Raises:
            GraphError: when the graph is bound, if there is none, or if one does not fit the other.
        """
        self._new("carried input", input, self._drafts.carry)
        self._growing().carry[input] = f"{OUTPUTS}.{output}"

    def bind(self) -> BoundGraph:
        """The graph, checked and frozen; the same until this one grows.

        Raises:
            GraphError: with every fault.
        """
        if self._bound is None:
            self._bound = bind(self._drafts)
        return self._bound

    def plan(
        self,
        outputs: Iterable[str] | None = None,
        given: Iterable[str] = (),
        fresh: Iterable[str] = (),
        *,
        memory: str | int | None = None,
    ) -> Plan:
        """What a run would do; made once for the same arguments, which are those of `run`, until the graph grows.

        Raises:
            GraphError: the graph cannot run.
            PlanError: an output, port or node that the graph does not have, or no output at all.
            FitError: it takes more memory than is given.
        """
        graph = self.bind()
        if self._planned is None:
            self._planned = functools.lru_cache(maxsize=8)(functools.partial(plans.make, graph))
        made = self._planned(None if outputs is None else tuple(outputs), tuple(given), tuple(fresh))
        return fitted(made, memory)

    def run(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        outputs: Iterable[str] | None = None,
        given: Mapping[str, Any] | None = None,
        fresh: Iterable[str] = (),
        lanes: Lanes | None = None,
        on_event: Listener | None = None,
        pool: Pool | None = None,
        memory: str | int | None = None,
        directory: Path | Callable[[str], Path] | None = None,
        cancellation: Cancellation | None = None,
        caching: Caching | None = None,
        **inputs: Any,
    ) -> Run:
        """Run the graph.

        Args:
            values: the graph's inputs by name; the way for those that are called like an option of this method.
            outputs: the names of outputs, or nodes, to make; the graph's outputs if None.
            given: values of ports (`node.port`): of an output, in place of running the node; of an input, in place of
                what feeds it.
            fresh: nodes that run even if their outputs are kept, with all that follow them.
            lanes: run steps at the same time, in threads, within these lanes; one after another if None.
            memory: bytes of the device, `"24GiB"`, or `"auto"` for what is free: parts are moved out of the way so that
                it suffices, and what takes more all the same is refused before anything is loaded.
            on_event, pool, directory, cancellation, caching: as `executors.serial.run`.
            inputs: the graph's inputs by name.
        """
        from stagegraph.executors import serial, threads

        given, inputs = given or {}, {**(values or {}), **inputs}
        plan = fitted(self.plan(outputs, given, fresh), memory, pooled=pool is not None)
        options: dict[str, Any] = {"given": given, "on_event": on_event, "pool": pool}
        options |= {"directory": directory, "cancellation": cancellation, "caching": caching}
        if lanes is None:
            return serial.run(plan, inputs, **options)
        return threads.run(plan, inputs, lanes=lanes, **options)

    async def arun(self, *, lanes: Lanes | None = None, **options: Any) -> Run:
        """Run the graph in threads without blocking the event loop; the arguments are those of `run`.

        Cancelling the task cancels the run, and waits until its running stages have looked.
        """
        import asyncio  # as long to import as the rest of the engine

        from stagegraph.context import Cancellation
        from stagegraph.executors.traffic import Lanes

        cancellation = options.pop("cancellation", None) or Cancellation()
        call = functools.partial(self.run, lanes=lanes or Lanes(), cancellation=cancellation, **options)
        task = asyncio.ensure_future(asyncio.to_thread(call))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            cancellation.cancel()
            await asyncio.wait([task])
            task.exception()
            raise

    def to_manifest(self) -> Manifest:
        """The graph as a manifest; `Graph.from_manifest` gives the same graph back."""
        return to_manifest(self._drafts)

    def dumps(self) -> str:
        """The graph as YAML text."""
        return manifests.dumps(self.to_manifest())

    def __repr__(self) -> str:
        return f"<graph {self.name}: {len(self._drafts.nodes)} nodes>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the drawing; of a graph that is not complete yet, what it lacks."""
        from stagegraph.views.notebook import graph_bundle

        try:
            return graph_bundle(self.bind())
        except GraphError as error:
            return {"text/plain": f"{self!r}\n{error}"}

    def _instance(self, stage: Any, name: str | None, params: Mapping[str, Any]) -> Any:
        if isinstance(stage, str):
            name = name or stage.partition("@")[0].rpartition(".")[2]
            node = NodeDecl(stage=stage, params=dict(params))
            drafts, faults = read(
                Manifest(stagegraph=manifests.VERSION, name=self.name, nodes={name: node}), self.registry
            )
            if faults:
                raise GraphError(*faults)
            return drafts.nodes[name].stage
        if params:
            what = "params= goes with a stage given by its id"
            raise GraphError(Fault("invalid_stage", what, fix="give an instance: g.add(Stage(param=...))"))
        return stage() if isinstance(stage, type) else stage

    def _growing(self) -> Drafts:
        """The drafts, to be added to: what was bound and planned before is no longer this graph."""
        self._bound = self._planned = None
        return self._drafts

    def _handle(self, draft: Draft) -> NodeHandle:
        outputs = draft.spec.outputs
        if draft.map:
            outputs = {name: Port(name, list_of(port.type)) for name, port in outputs.items()}
        return NodeHandle(self, draft.name, draft.spec.id, outputs)

    def _free_name(self, name: str) -> str:
        """The name, or with the first number from 2 on that is free."""
        free, taken = name, (self._drafts.nodes, self._drafts.subgraphs)
        while any(free in names for names in taken):
            self._numbers[name] = self._numbers.get(name, 1) + 1
            free = f"{name}_{self._numbers[name]}"
        return free

    def _new(self, what: str, name: str, *taken: Mapping[str, Any]) -> None:
        for names in taken:
            if name in names:
                what = f'{self.name} already has the {what} "{name}"'
                raise GraphError(Fault("invalid_name", what, fix="use another name"))

    def _embed(
        self, graph: Graph, name: str, components: Mapping[str, str] | None, inputs: Mapping[str, Feed]
    ) -> NodeHandle:
        self._new("node", name, self._drafts.nodes, self._drafts.subgraphs)
        known = graph._drafts.inputs
        wires = {
            port: self._written(value, known[port].type if port in known else Any, name, port)
            for port, value in inputs.items()
        }
        faults = [fault for _, fault in wrong_wires(name, graph._drafts, wires)]
        if faults:
            raise GraphError(*faults)
        bound = graph.bind()
        embed(self._growing(), name, graph._drafts, wires, components)
        outputs = {out: Port(out, bound.output_type(ref)) for out, ref in bound.outputs.items()}
        return NodeHandle(self, name, graph.name, outputs)

    def _wire(self, draft: Draft, inputs: Mapping[str, Feed]) -> None:
        for port, value in inputs.items():
            declared = draft.spec.inputs.get(port)
            if declared is None or port in draft.wires or (isinstance(value, list) and not declared.variadic):
                raise GraphError(self._refused(draft, port, value))
            wanted = list_of(declared.type) if port in draft.map else declared.type
            draft.wires[port] = self._written(value, wanted, draft.name, port)

    def _refused(self, draft: Draft, port: str, value: Feed) -> Fault:
        """Why an input cannot be fed."""
        spec = draft.spec
        if port not in spec.inputs:
            what = f'{draft.name} ({spec.id}) has no input "{port}"'
            is_param = port in spec.params
            fix = f"{port} is a param: give it to the stage" if is_param else suggest(port, spec.inputs)
            return Fault("unknown_port", what, fix=fix)
        if port in draft.wires:
            what = f"the input {port} of node {draft.name} is fed from two places"
            return Fault("duplicate_producer", what, why=f"{draft.wires[port]} and {self._told(value)}")
        places = len(value) if isinstance(value, list) else 1
        what = f"the input {port} of node {draft.name} is fed from {places} places"
        return Fault("duplicate_producer", what, why="it takes one value")

    def _written(self, value: Feed, wanted: Any, node: str, port: str) -> Any:
        """What feeds an input, as drafts have it, when it is of the type that the input takes."""
        if isinstance(value, list):
            return [self._written_one(part, wanted, node, port) for part in value]
        return self._written_one(value, wanted, node, port)

    def _written_one(self, value: Wire | NodeHandle | Value, wanted: Any, node: str, port: str) -> str | Value:
        if isinstance(value, Value):
            return value  # read by its type when the graph is bound
        source, given = self._source(value)
        if wanted is not given and not accepts(wanted, given):
            what = f"{source} is {type_name(given)}, but {node}.{port} takes {type_name(wanted)}"
            raise GraphError(Fault("type_mismatch", what))
        return source

    def _told(self, value: Feed) -> Any:
        if isinstance(value, list):
            return [self._told(part) for part in value]
        return value if isinstance(value, Value) else self._source(value)[0]

    def _source(self, value: Any) -> tuple[str, Any]:
        """The reference to what flows, and its type."""
        if isinstance(value, Wire):
            return str(value.ref), value.type
        if isinstance(value, NodeHandle):
            outputs = value._outputs
            if len(outputs) == 1:
                (port,) = outputs
                return f"{value._name}.{port}", outputs[port].type
            what = f"{value.name} ({value._kind}) has {len(outputs) or 'no'} outputs, so name one"
            fix = " or ".join(f"{value.name}.{port}" for port in outputs)
            raise GraphError(Fault("ambiguous_port", what, fix=f"use {fix}" if fix else ""))
        what = f"{value!r} is not something that flows"
        fix = "wire a g.input(...), the output of a node or constant(...); set params on the stage"
        raise GraphError(Fault("invalid_type", what, fix=fix))


def _installed() -> Registry:
    from stagegraph.plugins import default_registry

    return default_registry()


def load(name: str | Path, registry: Registry | None = None) -> Graph:
    """The graph of a manifest file, or of a manifest that a plugin ships: `load("ltx2/text-to-video")`.

    Raises:
        ManifestError: it cannot be found or read.
        GraphError: it names or sets what does not exist.
    """
    registry = registry or _installed()
    return Graph.from_manifest(find(name, registry), registry)


def find(name: str | Path, registry: Registry) -> Manifest:
    """Read the manifest of a path, or of a shipped name; a path wins if it exists or ends like one."""
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml", ".json"):
        return manifests.load(path)
    shipped = registry.manifest(str(name))
    if isinstance(shipped, Fault):
        raise ManifestError(attrs.evolve(shipped, why=shipped.why or "nor is there a file of this name"))
    return manifests.load(shipped)
