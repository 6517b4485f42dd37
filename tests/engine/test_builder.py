"""The Python builder checks a graph as it grows, and says the same as a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagegraph import Graph, Registry, load
from stagegraph.builder import constant, find
from stagegraph.errors import GraphError, InputError, ManifestError
from stagegraph.manifest import Value, loads

from .fakes import REGISTRY, Album, Clip, Encode, Encoder, Film, Image, Join, Model, OtherModel, Paint, Scale, Split
from .fakes import add as add_numbers


def graph() -> Graph:
    """An empty graph over the fakes."""
    return Graph("fox", registry=REGISTRY)


def error_of(do: Any, kind: type[GraphError] = GraphError) -> str:
    """The whole text of the error that a call gives."""
    with pytest.raises(kind) as caught:
        do()
    return str(caught.value)


def test_a_graph_runs() -> None:
    """Wires are what `input` and the outputs of nodes are."""
    g = graph()
    film = g.add(Film(), prompt=g.input("prompt", str), seed=g.input("seed", int, 7))
    parts = g.add(Split, clip=film)
    g.output("clip", g.add(Join(), image=parts.image, sound=parts.sound))
    g.output("image", parts.image)
    run = g.run(prompt="fox")
    assert run["clip"] == Clip("fox/7+fox/7")
    assert run.outputs["image"] == Image("fox/7")
    assert g.run(prompt="fox", seed=1, outputs=["image"]).outputs == {"image": Image("fox/1")}


def test_nodes_are_named_after_their_stage() -> None:
    """The last word of the id, numbered where it is taken."""
    g = graph()
    prompt = g.input("prompt", str)
    assert [g.add(Film(), prompt=prompt).name for _ in range(3)] == ["film", "film_2", "film_3"]
    assert g.add(Film(), name="mine", prompt=prompt).name == "mine"
    assert repr(g.node("mine")) == "<node mine: fake.film>"
    assert repr(g) == "<graph fox: 4 nodes>"
    assert repr(g.node("film").output) == "Wire(ref=Ref(node='film', port='output'), type=Clip)"


def test_a_name_is_given_once() -> None:
    """Nodes, components and outputs cannot be declared twice."""
    g = graph()
    film = g.add(Film(), name="a", prompt=g.input("prompt", str))
    g.component("a", OtherModel())
    g.output("a", film)
    assert error_of(lambda: g.add(Film(), name="a")) == (
        'error[invalid_name]: fox already has the node "a"\n  fix: use another name'
    )
    assert error_of(lambda: g.component("a", OtherModel())) == (
        'error[invalid_name]: fox already has the component "a"\n  fix: use another name'
    )
    assert error_of(lambda: g.output("a", film)) == (
        'error[invalid_name]: fox already has the output "a"\n  fix: use another name'
    )


def test_an_input_may_be_named_again_if_it_is_the_same() -> None:
    """The same name and type is the same value; another type or default is an error."""
    g = graph()
    assert g.input("seed", int, 7) == g.input("seed", int) == g.input("seed", int, 7)
    assert error_of(lambda: g.input("seed", str)) == (
        "error[type_mismatch]: input seed is declared as int and as str\n  fix: use one type, or another name"
    )
    assert error_of(lambda: g.input("seed", int, 8)) == (
        "error[invalid_value]: input seed is declared with two defaults, 7 and 8\n"
        "  fix: use one default, or another name"
    )


def test_the_default_of_an_input_has_its_type() -> None:
    """A wrong default is found when it is declared, not when a run uses it."""
    assert error_of(lambda: graph().input("seed", int, "seven")) == (
        "error[invalid_type]: input seed is int, but its default is 'seven'\n  fix: use a default of its type"
    )
    assert graph().input("strength", float | None, 1).type == float | None


def test_a_wire_of_the_wrong_type_is_refused_where_it_is_made() -> None:
    """Both ends are named with their types."""
    g = graph()
    paint = g.add(Paint(), prompt=g.input("prompt", str))
    assert error_of(lambda: g.add(Split(), clip=paint)) == (
        "error[type_mismatch]: paint.output is Image, but split.clip takes Clip"
    )
    assert error_of(lambda: g.add(Album(), images=g.input("seed", int))) == (
        "error[type_mismatch]: inputs.seed is int, but album.images takes list[Image]"
    )


def test_a_port_that_does_not_exist_is_refused() -> None:
    """With the nearest port, or a word on params."""
    g = graph()
    prompt = g.input("prompt", str)
    film = g.add(Film(), prompt=prompt)
    assert error_of(lambda: g.add(Film(), promt=prompt)) == (
        'error[unknown_port]: film_2 (fake.film) has no input "promt"\n  fix: did you mean "prompt"?'
    )
    assert error_of(lambda: g.add(Paint(), frames=prompt)) == (
        'error[unknown_port]: paint (fake.paint) has no input "frames"\n  fix: frames is a param: give it to the stage'
    )
    with pytest.raises(AttributeError) as caught:
        _ = film.image
    assert str(caught.value) == (
        'error[unknown_port]: film (fake.film) has no output "image"\n  fix: use one of: output'
    )


def test_a_refused_node_is_not_added() -> None:
    """The name stays free, so that a notebook's cell can be run again."""
    g = graph()
    prompt = g.input("prompt", str)
    error_of(lambda: g.add(Film(), name="film", promt=prompt))
    assert g.add(Film(), name="film", prompt=prompt).name == "film"


def test_what_does_not_flow_is_refused() -> None:
    """Values are params or inputs of the graph, not wires."""
    g = graph()
    assert error_of(lambda: g.add(Film(), prompt="a fox")) == (  # type: ignore[arg-type]
        "error[invalid_type]: 'a fox' is not something that flows\n"
        "  fix: wire a g.input(...), the output of a node or constant(...); set params on the stage"
    )


def test_a_node_with_several_outputs_must_be_told_which() -> None:
    """A node stands for its output only if there is one."""
    g = graph()
    split = g.add(Split(), clip=g.add(Film(), prompt=g.input("prompt", str)))
    assert error_of(lambda: g.add(Join(), image=split)) == (
        "error[ambiguous_port]: split (fake.split) has 2 outputs, so name one\n  fix: use split.image or split.sound"
    )
    show = g.add("fake.show", image=split.image)
    assert error_of(lambda: g.output("shown", show)) == (
        "error[ambiguous_port]: show (fake.show) has no outputs, so name one"
    )


def test_an_input_is_fed_once() -> None:
    """Wiring it again names both producers."""
    g = graph()
    film = g.add(Film(), prompt=g.input("prompt", str))
    assert error_of(lambda: film.wire(prompt=g.input("other", str))) == (
        "error[duplicate_producer]: the input prompt of node film is fed from two places\n"
        "  why: inputs.prompt and inputs.other"
    )


def test_a_cycle_made_afterwards_is_found() -> None:
    """`wire` can close a circle; binding draws it."""
    g = graph()
    first = g.add(add_numbers, name="first")
    second = g.add(add_numbers, name="second", a=first)
    first.wire(a=second)
    g.output("sum", second)
    assert error_of(g.bind) == (
        "nodes.first.inputs.a: error[cycle]: the nodes wait for each other: first -> second -> first\n"
        "  why: first.output -> second.a; second.output -> first.a\n"
        "  fix: cut one of these wires"
    )


def test_a_graph_is_bound_and_planned_once_until_it_grows() -> None:
    """The same value while nothing changes, another one after each way of adding to the graph."""
    g = graph()
    first = g.add(add_numbers, name="first", a=g.input("x", int))
    g.output("sum", first)
    grow: dict[str, Callable[[], object]] = {
        "input": lambda: g.input("y", int, 0),
        "component": lambda: g.component("spare", OtherModel()),
        "node": lambda: g.add(add_numbers, name="second", a=first),
        "wire": lambda: g.node("second").wire(b=first),
        "output": lambda: g.output("twice", g.node("second")),
        "graph": lambda: g.add(inner_graph(), name="inner", x=first),
    }
    for what, change in grow.items():
        bound, plan = g.bind(), g.plan()
        assert g.bind() is bound, what
        assert g.plan() is plan, what
        change()
        assert g.bind() is not bound, what
        assert g.plan() is not plan, what
    assert [g.run(x=3)["twice"] for _ in range(2)] == [6, 6]


def inner_graph() -> Graph:
    """A graph to be put into another."""
    g = graph()
    g.output("y", g.add(add_numbers, a=g.input("x", int)))
    return g


def test_plans_are_kept_by_what_they_make_and_take() -> None:
    """Asking for other outputs, or bringing values, is another plan of the same graph."""
    g = graph()
    first = g.add(add_numbers, name="first", a=g.input("x", int))
    g.output("sum", first)
    g.output("more", g.add(add_numbers, name="second", a=first, b=first))
    both = g.plan()
    assert g.plan(["sum"]) is g.plan(["sum"]) is not both
    assert g.plan(given=["first.output"]) is not both
    assert g.run(x=1).outputs == {"sum": 1, "more": 2}
    assert g.run(x=1, outputs=["sum"]).outputs == {"sum": 1}
    assert g.run(x=1, outputs=["more"], given={"first.output": 5}).outputs == {"more": 10}
    assert g.plan() is both


def test_a_constant_is_what_it_was_when_it_was_given() -> None:
    """A list that grows afterwards does not change the graph."""
    texts = ["a"]
    fed = constant({"texts": texts})
    texts.append("b")
    assert fed == Value({"texts": ["a"]})


def test_a_free_name_is_neither_a_node_nor_a_graph_within() -> None:
    """Numbers count from 2, past names that were given by hand."""
    g = graph()
    x = g.input("x", int)
    g.add(inner_graph(), name="add", x=x)
    g.add(add_numbers, name="add_3", a=x)
    assert [g.add(add_numbers, a=x).name for _ in range(3)] == ["add_2", "add_4", "add_5"]


def test_what_is_left_open_is_told_when_the_graph_is_bound() -> None:
    """All faults of the whole graph come at once, in the order in which it was made."""
    g = graph()
    g.add(Film(), name="a b")
    g.add(Encode(), components={"decoder": "model", "code": "model"}, text=g.input("text", str))
    assert error_of(g.bind) == (
        'nodes.a b: error[invalid_name]: "a b" cannot be used as a name\n'
        '  why: ASCII letters, digits, "_" and "-", not starting with a digit; no node is called "inputs"\n'
        "nodes.a b: error[missing_input]: a b (fake.film): nothing feeds the input prompt str\n"
        "  why: it has no default\n"
        "  fix: wire prompt: inputs.text or encode.output\n"
        'nodes.encode.components.decoder: error[unknown_component]: encode (fake.encode) is lent no "decoder"\n'
        '  fix: did you mean "encoder"?\n'
        'nodes.encode.components.code: error[unknown_component]: encode (fake.encode) is lent no "code"\n'
        '  fix: did you mean "encoder"?\n'
        "nodes.encode: error[missing_component]: encode (fake.encode) is lent encoder Encoder, "
        "which no component of the graph provides\n"
        "  fix: add a component that provides it under components"
    )


def test_a_stage_may_be_given_by_its_id() -> None:
    """Params are then checked as those of a manifest are."""
    g = graph()
    g.output("scaled", g.add("fake.scale@1", params={"factor": 2}, value=g.input("value", float)))
    assert g.run(value=3)["scaled"] == 6
    assert error_of(lambda: g.add("fake.scala")) == (
        'nodes.scala.stage: error[unknown_stage]: there is no stage "fake.scala"\n  fix: did you mean "fake.scale"?'
    )
    assert error_of(lambda: g.add("fake.paint", name="big", params={"frames": "9", "stile": "oil"})) == (
        'nodes.big.params.stile: error[unknown_param]: big (fake.paint) has no param "stile"\n'
        '  fix: did you mean "style"?\n'
        'nodes.big.params.frames: error[invalid_type]: big (fake.paint): frames: "9" is not an integer\n'
        "  why: must be an integer"
    )
    assert error_of(lambda: g.add(Scale(factor=1), params={"factor": 2})) == (
        "error[invalid_stage]: params= goes with a stage given by its id\n"
        "  fix: give an instance: g.add(Stage(param=...))"
    )


def test_an_unknown_node_is_refused() -> None:
    """`node` finds what was added before."""
    g = graph()
    g.add(Film(), name="film")
    assert error_of(lambda: g.node("flim")) == (
        'error[unknown_node]: fox has no node "flim"\n  fix: did you mean "film"?'
    )


def test_components_are_lent_by_type_or_by_name() -> None:
    """Where two components provide the same, the node says which."""
    g = graph()
    text = g.input("text", str)
    g.component("model", Model(path="here"))
    encode = g.add(Encode(), text=text)
    g.output("code", encode)
    assert g.run(text="a")["code"] == "a@here"
    other = g.component("other", OtherModel())
    assert error_of(g.bind) == (
        "nodes.encode: error[ambiguous_component]: encode (fake.encode) is lent encoder Encoder, "
        "which 2 components provide: model.encoder, other.encoder\n"
        "  fix: add components: {encoder: ...} to the node, with model or other"
    )
    h = graph()
    h.component("model", Model(path="here"))
    h.component(other, OtherModel())
    h.output("code", h.add(Encode(), components={"encoder": other}, text=h.input("text", str)))
    assert h.run(text="a")["code"] == "a@other"
    assert Encoder("other") == OtherModel().encoder()


MANIFEST = """\
stagegraph: 1
name: fox
inputs:
  prompt: {type: str}
  seed: {type: int, default: 7, help: Which fox}
components:
  model: {kind: fake.model, params: {path: here}}
nodes:
  film:
    stage: fake.film
    inputs: {prompt: inputs.prompt, seed: inputs.seed}
  split:
    stage: fake.split
    inputs: {clip: film}
  text:
    stage: fake.encode
    inputs: {text: inputs.prompt}
outputs:
  image: split.image
  code: text
"""


def test_a_manifest_can_be_grown_in_python() -> None:
    """A graph from a manifest takes more nodes, wired to those that it has."""
    g = Graph.from_manifest(loads(MANIFEST), REGISTRY)
    g.output("clip", g.add(Join(), image=g.node("split").image, sound=g.node("split").sound))
    assert g.run(prompt="a", outputs=["clip", "code"]).outputs == {"clip": Clip("a/7+a/7"), "code": "a@here"}


def test_a_manifest_that_does_not_bind_gives_no_graph() -> None:
    """The faults of the manifest come with their places."""
    broken = loads(MANIFEST.replace("clip: film", "clip: flim"), "fox.yaml")
    assert error_of(lambda: Graph.from_manifest(broken, REGISTRY)) == (
        'fox.yaml:14:20: error[unknown_node]: there is no node "flim"\n'
        '  why: the wire is "flim"\n'
        '  fix: did you mean "film"?'
    )


def test_manifests_are_found_by_path_and_by_name(tmp_path: Path) -> None:
    """A file wins; a shipped name is looked up in the registry."""
    file = tmp_path / "fox.yaml"
    file.write_text(MANIFEST)
    registry = Registry(REGISTRY.stages, REGISTRY.components, REGISTRY.types, manifests={"fakes/fox": file})
    assert load(file, registry).name == "fox"
    assert load("fakes/fox", registry).run(prompt="a")["code"] == "a@here"
    with pytest.raises(ManifestError) as caught:
        find("fakes/fax", registry)
    assert str(caught.value) == (
        'error[unknown_manifest]: there is no manifest "fakes/fax"\n'
        "  why: nor is there a file of this name\n"
        '  fix: did you mean "fakes/fox"?'
    )
    with pytest.raises(ManifestError) as caught:
        find(tmp_path / "none.yaml", registry)
    assert str(caught.value) == (
        f"error[unknown_manifest]: {tmp_path}/none.yaml cannot be read: No such file or directory"
    )


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Manifests are UTF-8; a folder is none."""
    file = tmp_path / "fox.yaml"
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ManifestError) as caught:
        find(file, REGISTRY)
    assert str(caught.value) == f"error[unknown_manifest]: {file} cannot be read: it is not UTF-8 text"
    with pytest.raises(ManifestError) as caught:
        find(tmp_path, REGISTRY)
    assert str(caught.value) == f"error[unknown_manifest]: {tmp_path} cannot be read: Is a directory"


def test_inputs_are_checked_when_a_graph_runs() -> None:
    """`run` takes the inputs by name."""
    g = Graph.from_manifest(loads(MANIFEST), REGISTRY)
    assert error_of(lambda: g.run(seed="7", promt="a"), InputError) == (  # type: ignore[arg-type]
        'error[unknown_input]: fox has no input "promt"\n  fix: did you mean "prompt"?\n'
        "error[missing_input]: fox needs a value for its input prompt (str)\n  fix: give prompt, as in -i prompt=...\n"
        'error[invalid_type]: input seed is int, but was given str "7"'
    )


@pytest.mark.parametrize("setting", ["params", "when", "map", "timeout"])
def test_an_embedded_graph_has_no_settings_of_its_own(setting: str) -> None:
    """Whoever gives one is told, not ignored."""
    inner = Graph("inner", registry=REGISTRY)
    inner.output("sum", inner.add(add_numbers, a=inner.input("a", int)))
    g = Graph("outer", registry=REGISTRY)
    given = {"params": {"plus": 1}, "when": g.input("yes", bool), "map": ["a"], "timeout": 3.0}
    with pytest.raises(GraphError) as error:
        g.add(inner, a=g.input("a", int), **{setting: given[setting]})
    assert str(error.value) == (
        f"error[invalid_value]: a node that is a graph has no {setting} of its own\n  fix: give {setting} to its nodes"
    )
