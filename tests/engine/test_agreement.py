"""Any graph gives the same in every way of running it: in order or in threads, without a store, with an empty one, and
with one that has seen it before. The same outputs, the same skips with the same reasons, the same error."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stagegraph as sg
from stagegraph import Lanes, events, manifest
from stagegraph.artifacts import Codecs
from stagegraph.caching import Caching
from stagegraph.executors import serial, threads
from stagegraph.plan import Plan, make
from stagegraph.store import Store
from stagegraph.store import runs as stored
from stagegraph.sweeps import sweep


class Handle:
    """What no codec writes."""

    def __init__(self, value: int) -> None:
        self.value = value


@attrs.frozen
class Weights:
    """What a component lends."""

    factor: int


@sg.component("agree.model", version=1)
class Model:
    """Something to lend."""

    factor: int = sg.param(default=3)

    def fingerprint(self) -> str:
        """Of the weights."""
        return str(self.factor)

    @sg.part
    def weights(self) -> Weights:
        """A factor."""
        return Weights(self.factor)


@sg.outputs
class Halves:
    """A number taken apart."""

    high: int
    low: int


@sg.stage("agree.add", version=1)
def add(*values: int) -> int:
    """Add numbers."""
    return sum(values)


@sg.stage("agree.scale", version=1, lane="io")
def scale(value: int, extra: int = 5) -> int:
    """Multiply, and add what may be left out."""
    return value * 2 + extra


@sg.stage("agree.halve", version=1)
def halve(value: int) -> Halves:
    """Take apart."""
    return Halves(value // 2, value % 2)


@sg.stage("agree.even", version=1)
def even(value: int) -> bool:
    """Whether it is even."""
    return value % 2 == 0


@sg.stage("agree.divide", version=1)
def divide(value: int) -> int:
    """Fail for multiples of seven."""
    return 100 // (value % 7)


@sg.stage("agree.count", version=1, cache=False)
def count(value: int) -> list[int]:
    """A list that is short; opts out of caching."""
    return list(range(value % 4))


@sg.stage("agree.total", version=1)
def total(items: list[int], first: int = 0) -> int:
    """The sum of a list."""
    return sum(items, first)


@sg.stage("agree.grab", version=1)
def grab(value: int) -> Handle:
    """Make what cannot be stored."""
    return Handle(value)


@sg.stage("agree.use", version=1)
def use(handle: Handle) -> int:
    """Use what cannot be stored."""
    return handle.value + 1


@sg.stage("agree.weigh", version=1)
def weigh(value: int, *, weights: Weights) -> int:
    """Multiply by what is lent."""
    return value * weights.factor


#: Each kind of node: the stage, and for each of its inputs the type and whether it must be fed.
KINDS: dict[Any, dict[str, tuple[Any, bool]]] = {
    scale: {"value": (int, True), "extra": (int, False)},
    halve: {"value": (int, True)},
    even: {"value": (int, True)},
    divide: {"value": (int, True)},
    count: {"value": (int, True)},
    total: {"items": (list[int], True), "first": (int, False)},
    grab: {"value": (int, True)},
    use: {"handle": (Handle, True)},
    weigh: {"value": (int, True)},
}
MAPPED = [scale, divide, even]


@st.composite
def graphs(draw: st.DrawFn) -> sg.Graph:
    """A graph of up to 14 nodes, each wired to any before it; every output of a node is one of the graph."""
    g = sg.Graph("any")
    g.component("model", Model())
    wires: dict[Any, list[Any]] = {int: [g.input("x", int), g.input("y", int)], bool: [g.input("yes", bool)]}
    for number in range(draw(st.integers(1, 14))):
        kinds = [kind for kind, ports in KINDS.items() if all(t in wires for t, needed in ports.values() if needed)]
        mapped = [(stage, "map") for stage in MAPPED if list[int] in wires]
        kind = draw(st.sampled_from([add, *kinds, *mapped]))
        when = draw(st.none() | st.sampled_from(wires[bool]))
        name = f"n{number}"
        if kind is add:
            feeds: dict[str, Any] = {"values": draw(st.lists(st.sampled_from(wires[int]), max_size=3))}
        elif isinstance(kind, tuple):
            feeds = {"value": draw(st.sampled_from(wires[list[int]]))}
        else:
            feeds = {
                port: draw(st.sampled_from(wires[type_]))
                for port, (type_, needed) in KINDS[kind].items()
                if type_ in wires and (needed or draw(st.booleans()))
            }
        if isinstance(kind, tuple):
            node = g.add(kind[0], name=name, map=["value"], when=when, **feeds)
        else:
            node = g.add(kind, name=name, when=when, **feeds)
        for port, type_ in node._outputs.items():
            wires.setdefault(type_, []).append(getattr(node, port))
            g.output(f"{name}_{port}", getattr(node, port))
    return g


@attrs.frozen
class Ending:
    """How a run ended, as far as it must not depend on how it was run."""

    outputs: dict[str, Any]
    skipped: dict[str, str]
    error: str
    nodes_skipped: dict[str, str]


def ending(run: Callable[..., Any], plan: Plan, inputs: dict[str, Any], **options: Any) -> tuple[Ending, set[str]]:
    """Run it; gives how it ended, and the stages that were called."""
    told: list[events.Event] = []
    outputs, skipped, error = {}, {}, ""
    if run is threads.run:
        options["lanes"] = Lanes(cpu=3, io=2)
    try:
        made = run(plan, inputs, on_event=told.append, **options).outputs
        outputs = {name: repr(v.value if isinstance(v, Handle) else v) for name, v in made.items()}
        skipped = dict(made.skipped)
    except sg.StagegraphError as raised:
        error = f"{type(raised).__name__} {raised}"
    left_out = {event.node: event.why for event in told if isinstance(event, events.NodeSkipped)} if not error else {}
    assert not [event for event in told if isinstance(event, events.CacheWarning)]
    started = [event for event in told if isinstance(event, events.NodeStarted)]
    assert len(started) == len({event.node for event in started})
    return Ending(outputs, skipped, error, left_out), {event.stage for event in started}


GRAPHS = given(graphs(), st.integers(-20, 20), st.integers(-20, 20), st.booleans())
#: Half as many graphs as elsewhere: each is run several times.
FEWER = settings(max_examples=settings.default.max_examples // 2)
#: What is called again although everything is stored: it opts out, or makes what no codec writes.
ALWAYS = {"agree.count@1", "agree.grab@1"}


@FEWER
@GRAPHS
def test_every_way_of_running_a_graph_gives_the_same(g: sg.Graph, x: int, y: int, yes: bool) -> None:
    """In both executors; a store changes nothing but what is called."""
    plan, inputs = g.plan(), {"x": x, "y": y, "yes": yes}
    wanted, _ = ending(serial.run, plan, inputs)
    assert ending(threads.run, plan, inputs)[0] == wanted
    first = serial.run if yes else threads.run
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store") as store:
        for turn, run in enumerate((first, serial.run, threads.run)):
            caching = Caching(store, Codecs())
            found, called = ending(run, plan, inputs, directory=Path(folder) / str(turn), caching=caching)
            assert found == wanted
            assert turn == 0 or wanted.error or called <= ALWAYS
            assert stored.recent(store, 1)[0].status == ("failed" if wanted.error else "finished")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caching]:
    """A store for all graphs."""
    with Store(tmp_path_factory.mktemp("shared") / "store") as store:
        yield Caching(store, Codecs(), recorded=False)


@FEWER
@GRAPHS
def test_graphs_that_share_a_store_never_take_the_wrong_value(
    shared: Caching, g: sg.Graph, x: int, y: int, yes: bool
) -> None:
    """What one graph has stored is used by another for the same work only, however alike the rest is."""
    plan, inputs = g.plan(), {"x": x, "y": y, "yes": yes}
    wanted, _ = ending(serial.run, plan, inputs)
    assert ending(serial.run, plan, inputs, caching=shared)[0] == wanted
    assert ending(threads.run, plan, inputs, caching=shared)[0] == wanted


REGISTRY = sg.Registry.of(Model, add, scale, halve, even, divide, count, total, grab, use, weigh)


@FEWER
@GRAPHS
def test_a_graph_written_down_or_embedded_gives_the_same(g: sg.Graph, x: int, y: int, yes: bool) -> None:
    """As YAML and back, and as a node of another graph."""
    inputs = {"x": x, "y": y, "yes": yes}
    wanted, _ = ending(serial.run, g.plan(), inputs)
    again = sg.Graph.from_manifest(manifest.loads(g.dumps()), REGISTRY)
    assert ending(serial.run, again.plan(), inputs)[0] == wanted
    outer = sg.Graph("outer")
    node = outer.add(g, name="inner", x=outer.input("x", int), y=outer.input("y", int), yes=outer.input("yes", bool))
    for name in g.bind().outputs:
        outer.output(name, getattr(node, name))
    found, _ = ending(serial.run, outer.plan(), inputs)
    assert (found.outputs, bool(found.error)) == (wanted.outputs, bool(wanted.error))
    assert {name: why.replace("inner/", "") for name, why in found.skipped.items()} == wanted.skipped


@FEWER
@GRAPHS
def test_a_part_of_a_graph_gives_what_the_whole_gives(g: sg.Graph, x: int, y: int, yes: bool) -> None:
    """A target alone, what follows from a value that is given, and a sweep over two values."""
    inputs, bound = {"x": x, "y": y, "yes": yes}, g.bind()
    wanted, _ = ending(serial.run, g.plan(), inputs)
    other, _ = ending(serial.run, g.plan(), {**inputs, "x": x + 1})
    if wanted.error or other.error:
        return
    values = g.run(**inputs).outputs
    for number, name in enumerate(bound.outputs):
        part, _ = ending(serial.run, make(bound, [name]), inputs)
        assert part.outputs.items() <= wanted.outputs.items()
        if name in values and number % 3 == 0:
            given = {str(bound.outputs[name]): values[name]}
            assert ending(threads.run, make(bound, None, given), inputs, given=given)[0].outputs == wanted.outputs
    swept, _ = ending(threads.run, make(sweep(bound, {"x": [x, x + 1]})), {"y": y, "yes": yes})
    for ending_of_one, value in ((wanted, x), (other, x + 1)):
        for name, output in ending_of_one.outputs.items():
            assert output in (swept.outputs.get(name), swept.outputs.get(f"{name}/x-{value}"))
