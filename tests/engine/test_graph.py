"""Graphs bind: names, types and wires are checked, whatever their size and the order of writing."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import textwrap
import time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph import Graph, Registry
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.errors import GraphError
from stagegraph.executors import serial
from stagegraph.graph import Ref, build, to_drafts, to_manifest
from stagegraph.manifest import ComponentDecl, InputDecl, Manifest, NodeDecl, dumps, loads, override
from stagegraph.yaml import typed

from .fakes import REGISTRY, Album, Encode, Film, Image, Join, Model, Paint, Sound, Split

DIAMOND = """\
# the same clip, taken apart and put together
stagegraph: 1
name: diamond
inputs:
  prompt: {type: str}
nodes:
  join:
    stage: fake.join
    inputs: {image: split.image, sound: split.sound}   # both
  split:
    stage: fake.split
    inputs: {clip: film}
  film:
    stage: fake.film
    inputs: {prompt: inputs.prompt}
outputs:
  clip: join
"""


def chain(length: int, *, backwards: bool = False, closed: bool = False) -> Manifest:
    """Nodes in a row, each adding one number; `closed` wires the first to the last."""
    first = f"n{length - 1}" if closed else "inputs.x"
    nodes = {f"n{i}": NodeDecl("fake.add", {"plus": 1}, {"a": f"n{i - 1}" if i else first}) for i in range(length)}
    return Manifest(
        stagegraph=1,
        name="chain",
        inputs={"x": InputDecl("int")},
        nodes=dict(reversed(nodes.items())) if backwards else nodes,
        outputs={"y": f"n{length - 1}"},
    )


def error_of(manifest: Manifest) -> str:
    """The whole text of the error that building gives."""
    with pytest.raises(GraphError) as caught:
        build(manifest, REGISTRY)
    return str(caught.value)


def test_references_are_resolved_to_ports() -> None:
    """A node alone means its only output."""
    graph = build(loads(DIAMOND), REGISTRY)
    assert graph.nodes["split"].inputs == {"clip": Ref("film", "output")}
    assert graph.nodes["film"].inputs == {"prompt": Ref("inputs", "prompt")}
    assert graph.outputs == {"clip": Ref("join", "output")}
    assert graph.output_type(Ref("split", "sound")) is Sound
    assert graph.output_type(Ref("inputs", "prompt")) is str


def test_nodes_written_in_any_order_bind_equally() -> None:
    """The order of writing changes no wire and no plan of a chain."""
    written = loads(DIAMOND)
    as_plans = []
    for order in itertools.permutations(written.nodes):
        manifest = attrs.evolve(written, nodes={name: written.nodes[name] for name in order})
        as_plans.append(plans.make(build(manifest, REGISTRY)).as_dict())
    assert all(each == as_plans[0] for each in as_plans)
    assert [step["node"] for step in as_plans[0]["steps"]] == ["film", "split", "join"]


def test_the_order_keeps_the_order_of_writing_where_it_can() -> None:
    """Among nodes that could run next, the one that was written first does."""
    wires = {"d": "inputs.x", "c": "a", "b": "inputs.x", "a": "inputs.x", "e": "d"}
    nodes = {name: NodeDecl("fake.add", inputs={"a": wire}) for name, wire in wires.items()}
    manifest = Manifest(stagegraph=1, name="order", inputs={"x": InputDecl("int")}, nodes=nodes, outputs={})
    assert list(build(manifest, REGISTRY).nodes) == ["d", "b", "a", "c", "e"]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_ten_thousand_nodes_runs(backwards: bool) -> None:
    """No step of the way recurses or is quadratic."""
    began = time.process_time()
    plan = plans.make(build(chain(10_000, backwards=backwards), REGISTRY))
    assert serial.run(plan, {"x": 5})["y"] == 10_005
    assert time.process_time() - began < 10
    assert sys.getrecursionlimit() <= 10_000


def test_a_chain_runs_on_a_short_stack() -> None:
    """A thousand nodes bind, plan and run with a recursion limit of 200."""
    program = """
        import sys
        from stagegraph import Graph, stage

        @stage("test.inc", version=1)
        def inc(x: int) -> int:
            return x + 1

        def make(n):
            g = Graph("chain")
            wire = g.input("x", int)
            handles = [g.add(inc, name=f"n{i}") for i in reversed(range(n))][::-1]
            for handle in handles:
                handle.wire(x=wire)
                wire = handle.output
            g.output("y", wire)
            return g

        make(2).run(x=1)
        sys.setrecursionlimit(200)
        print(make(1000).run(x=1)["y"])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1001\n", "")


def test_a_fan_out_of_a_thousand_nodes_runs() -> None:
    """One value read by a thousand nodes, and a thousand outputs."""
    nodes = {f"n{i}": NodeDecl("fake.add", {"plus": i}, {"a": "source", "b": "inputs.x"}) for i in range(1000)}
    manifest = Manifest(
        stagegraph=1,
        name="fan",
        inputs={"x": InputDecl("int")},
        nodes={**nodes, "source": NodeDecl("fake.add", inputs={"a": "inputs.x"})},
        outputs={name: name for name in nodes},
    )
    run = serial.run(plans.make(build(manifest, REGISTRY)), {"x": 1})
    assert run.outputs == {f"n{i}": 2 + i for i in range(1000)}


def test_a_long_cycle_is_told_in_short() -> None:
    """Of ten thousand nodes the message draws the first and the last five."""
    began = time.process_time()
    error = error_of(chain(10_000, closed=True))
    assert time.process_time() - began < 10
    assert error == (
        "nodes.n0.inputs.a: error[cycle]: the nodes wait for each other: "
        "n0 -> n1 -> n2 -> n3 -> n4 -> (9991 more) -> n9996 -> n9997 -> n9998 -> n9999 -> n0\n"
        "  why: n0.output -> n1.a; n1.output -> n2.a; n2.output -> n3.a; n3.output -> n4.a; n4.output -> n5.a; "
        "(9990 more); n9995.output -> n9996.a; n9996.output -> n9997.a; n9997.output -> n9998.a; "
        "n9998.output -> n9999.a; n9999.output -> n0.a\n"
        "  fix: cut one of these wires"
    )


def test_every_knot_is_told() -> None:
    """Two cycles that have nothing in common are two faults."""
    wires = {"a": "b", "b": "a", "c": "c", "d": "a"}
    nodes = {name: NodeDecl("fake.add", inputs={"a": wire}) for name, wire in wires.items()}
    error = error_of(Manifest(stagegraph=1, name="knots", nodes=nodes))
    assert sorted(line for line in error.splitlines() if "error[" in line) == [
        "nodes.a.inputs.a: error[cycle]: the nodes wait for each other: a -> b -> a",
        "nodes.c.inputs.a: error[cycle]: the nodes wait for each other: c -> c",
    ]


def test_a_broken_node_does_not_hide_other_faults() -> None:
    """An unknown stage is reported once, with what is wrong elsewhere, and not again at its readers."""
    nodes = {
        "gone": NodeDecl("fake.gone"),
        "reader": NodeDecl("fake.add", inputs={"a": "gone.output"}),
        "encode": NodeDecl("fake.encode", inputs={"text": "inputs.x"}),
    }
    manifest = Manifest(stagegraph=1, name="broken", inputs={"x": InputDecl("str")}, nodes=nodes)
    assert error_of(manifest) == (
        'nodes.gone.stage: error[unknown_stage]: there is no stage "fake.gone"\n'
        '  fix: did you mean "fake.join"?\n'
        "nodes.encode: error[missing_component]: encode (fake.encode) is lent encoder Encoder, "
        "which no component of the graph provides\n"
        "  fix: add a component that provides it under components"
    )


def test_a_broken_component_is_not_missed_as_well() -> None:
    """Who would have been lent a part of it says nothing."""
    manifest = Manifest(
        stagegraph=1,
        name="broken",
        inputs={"x": InputDecl("str")},
        components={"model": ComponentDecl("fake.modle")},
        nodes={"encode": NodeDecl("fake.encode", inputs={"text": "inputs.x"}, components={"encoder": "model"})},
    )
    assert error_of(manifest) == (
        'components.model.kind: error[unknown_component]: there is no component kind "fake.modle"\n'
        '  fix: did you mean "fake.model"?'
    )


@pytest.mark.parametrize("name", ["list[" * 3000 + "int" + "]" * 3000, "int" + "| None" * 3000, "x" * 3000])
def test_an_endless_type_is_unknown(name: str) -> None:
    """A type's name is bounded before it is taken apart."""
    manifest = Manifest(stagegraph=1, name="deep", inputs={"x": InputDecl(name)}, nodes={})
    shown = json.dumps(name[:57] + "...")
    assert error_of(manifest) == f"inputs.x.type: error[unknown_type]: the type {shown} is too long to be one"


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("str", str),
        ("fake.image", Image),
        ("list[fake.image]", list[Image]),
        ("int | None", int | None),
        ("list[int | None] | None", list[int | None] | None),
        ("list[list[int]]", list[list[int]]),
    ],
)
def test_types_have_names_both_ways(name: str, type_: Any) -> None:
    """What a manifest may ask for can be written down again."""
    assert REGISTRY.type(name) == type_
    assert REGISTRY.type_name(type_) == name


@pytest.mark.parametrize("type_", [Join, dict[str, None], int | str, list[Paint], tuple[int, ...], list])
def test_other_types_have_no_name(type_: Any) -> None:
    """What no manifest can ask for has no name."""
    assert REGISTRY.type_name(type_) is None


def python_graph() -> Graph:
    """A graph with everything that a manifest can say."""
    g = Graph("all", "Everything at once.", registry=REGISTRY)
    prompt = g.input("prompt", str, help="What to see")
    images = g.input("images", list[Image], [])
    sound = g.input("sound", Sound | None, None)
    g.component("model", Model(path="here", dtype="fp32"))
    g.component("spare", Model(path="there"))
    code = g.add(Encode(), components={"encoder": "spare"}, text=prompt)
    film = g.add(Film(), name="film", prompt=code, seed=g.input("seed", int, 3))
    split = g.add(Split(), clip=film)
    g.add(Paint(frames=17, style="ink", sizes=[1, 2]), name="spare-paint", prompt=prompt)
    g.output("joined", g.add(Join(), name="join", image=split.image, sound=sound))
    g.output("count", g.add(Album(), images=images))
    return g


def test_a_graph_in_python_and_its_manifest_give_one_plan() -> None:
    """Writing a graph down and reading it again, as a value, as YAML and as JSON, loses nothing."""
    g = python_graph()
    wanted = g.plan().as_dict()
    for text in (g.dumps(), json.dumps(manifests.as_dict(g.to_manifest()))):
        again = Graph.from_manifest(loads(text), REGISTRY)
        assert again.plan().as_dict() == wanted
        assert again.to_manifest() == g.to_manifest()
        assert again.dumps() == g.dumps()
    json.dumps(wanted)


def test_a_bound_graph_can_be_written_down() -> None:
    """Also with every default, so that later releases make the same graph of it."""
    graph = python_graph().bind()
    full = to_manifest(to_drafts(graph), with_defaults=True)
    assert full.nodes["spare-paint"].params == {"frames": 17, "strength": 1.0, "style": "ink", "sizes": [1, 2]}
    assert full.nodes["join"].inputs == {"image": "split.image", "sound": "inputs.sound"}
    assert full.nodes["encode"].components == {"encoder": "spare"}
    again = build(loads(dumps(full)), REGISTRY)
    assert plans.make(again).as_dict() == plans.make(graph).as_dict()


def test_an_input_of_a_type_without_a_name_cannot_be_written() -> None:
    """The error says which, and how its type gets one."""
    g = Graph("nameless", registry=REGISTRY)
    g.input("table", dict[str, int])
    g.input("prompt", str)
    with pytest.raises(GraphError) as caught:
        g.to_manifest()
    assert str(caught.value) == (
        "error[unknown_type]: input table is of type dict[str, int], which no plugin names\n"
        "  fix: register it with the hook stagegraph_types"
    )


def test_a_manifest_read_and_written_is_the_same_text() -> None:
    """Comments, order and layout stay."""
    assert dumps(loads(DIAMOND)) == DIAMOND


def test_an_override_changes_only_what_it_names() -> None:
    """The rest of the text stays, and so does the manifest that was overridden."""
    manifest = loads(DIAMOND.replace("stage: fake.film", "stage: fake.paint\n    params: {frames: 9}"))
    changed = override(manifest, {"film.frames": 1, "film.strength": typed("0.5")})
    assert dumps(changed) == manifest.document.text.replace("{frames: 9}", "{frames: 1, strength: 0.5}")  # type: ignore[union-attr]
    assert manifest.nodes["film"].params == {"frames": 9}


def test_an_override_that_python_takes_for_equal_is_written() -> None:
    """1 and true, or 1 and 1.0, are different things to a stage."""
    manifest = loads(DIAMOND.replace("stage: fake.film", "stage: fake.paint\n    params: {frames: 1}"))
    assert "{frames: true}" in dumps(override(manifest, {"film.frames": True}))
    assert "{frames: 1.0}" in dumps(override(manifest, {"film.frames": 1.0}))


def test_a_fault_in_an_override_stands_where_it_was_typed() -> None:
    """The place is the setting, not a line of the file."""
    manifest = loads(DIAMOND.replace("fake.film", "fake.paint"), "d.yaml")
    assert error_of(override(manifest, {"film.frames": typed("50"), "film.colour": typed("red")})).startswith(
        '--set film.colour: error[unknown_param]: film (fake.paint) has no param "colour"\n'
        "  fix: use one of: frames, sizes, strength, style\n"
        "--set film.frames: error[invalid_value]: film (fake.paint): frames is 50\n"
        "  why: must be 8k+1\n"
        "  fix: use 49 or 57\n"
    )


def test_an_override_needs_a_node_and_a_param() -> None:
    """All that name neither are told at once."""
    with pytest.raises(manifests.ManifestError) as caught:
        override(loads(DIAMOND), {"flim.seed": 1, "film": 2})
    assert str(caught.value) == (
        'error[unknown_node]: --set flim.seed: there is no node or component "flim"\n'
        '  fix: did you mean "film"?\n'
        "error[unknown_node]: --set film names no param\n"
        "  fix: write --set NODE.PARAM=VALUE"
    )


@st.composite
def random_graphs(draw: st.DrawFn) -> tuple[Manifest, dict[str, tuple[str, str | None, int]]]:
    """A random acyclic graph of additions, written in random order, and its wires."""
    count = draw(st.integers(1, 12))
    names = [f"n{i}" for i in range(count)]
    wires: dict[str, tuple[str, str | None, int]] = {}
    for i, name in enumerate(names):
        sources = ["inputs.x", "inputs.y", *names[:i]]
        a = draw(st.sampled_from(sources))
        b = draw(st.none() | st.sampled_from(sources))
        wires[name] = (a, b, draw(st.integers(-9, 9)))
    order = draw(st.permutations(names))
    nodes = {
        name: NodeDecl(
            "fake.add", {"plus": wires[name][2]}, {k: v for k, v in zip("ab", wires[name], strict=False) if v}
        )
        for name in order
    }
    outputs = {f"out-{name}": name for name in draw(st.sets(st.sampled_from(names), min_size=1))}
    inputs = {"x": InputDecl("int"), "y": InputDecl("int", default=2)}
    return Manifest(stagegraph=1, name="random", inputs=inputs, nodes=nodes, outputs=outputs), wires


@given(random_graphs(), st.integers(-9, 9))
def test_running_a_plan_is_evaluating_the_graph(
    made: tuple[Manifest, dict[str, tuple[str, str | None, int]]], x: int
) -> None:
    """Steps come after those that feed them; outputs equal direct evaluation; only what is needed runs."""
    manifest, wires = made
    plan = plans.make(build(manifest, REGISTRY))
    position = {step.node.name: i for i, step in enumerate(plan.steps)}

    def value(source: str) -> int:
        if source.startswith("inputs."):
            return x if source == "inputs.x" else 2
        a, b, plus = wires[source]
        return value(a) + (value(b) if b else 0) + plus

    for name, (a, b, _) in wires.items():
        for source in (a, b):
            if name in position and source in wires:
                assert position[source] < position[name]
    run = serial.run(plan, {"x": x})
    assert run.outputs == {name: value(node) for name, node in manifest.outputs.items()}
    needed = {node for out in manifest.outputs.values() for node in ancestors(out, wires)}
    assert position.keys() == needed


def ancestors(name: str, wires: dict[str, tuple[str, str | None, int]]) -> set[str]:
    """A node and all that feed it."""
    found, waiting = set(), [name]
    while waiting:
        each = waiting.pop()
        if each in wires and each not in found:
            found.add(each)
            waiting += [source for source in wires[each][:2] if source]
    return found


@given(random_graphs(), st.randoms())
def test_the_order_of_writing_changes_nothing(
    made: tuple[Manifest, dict[str, tuple[str, str | None, int]]], shuffle: random.Random
) -> None:
    """A shuffled manifest has the same wires and the same results."""
    manifest, _ = made
    names = list(manifest.nodes)
    shuffle.shuffle(names)
    shuffled = attrs.evolve(manifest, nodes={name: manifest.nodes[name] for name in names})
    one, other = build(manifest, REGISTRY), build(shuffled, REGISTRY)
    assert one.nodes.keys() == other.nodes.keys()
    assert all(one.nodes[name].inputs == other.nodes[name].inputs for name in names)
    assert serial.run(plans.make(one), {"x": 1}).outputs == serial.run(plans.make(other), {"x": 1}).outputs
    again = loads(dumps(shuffled))
    assert again == shuffled


def test_a_registry_of_things_has_the_basic_types() -> None:
    """`Registry.of` serves tests and small programs."""
    assert Registry.of(Film).type("float") is float
    with pytest.raises(GraphError) as caught:
        Registry.of(3)
    assert str(caught.value) == (
        'error[invalid_stage]: 3 is not a component\n  fix: decorate its class with @component("...", version=1)'
    )
