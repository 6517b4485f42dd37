"""Variadic inputs, constants, conditions, maps, graphs within graphs, targets and given values; in Python and YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

import stagegraph as sg
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.errors import GraphError, InputError, PlanError, StageError, StagegraphError
from stagegraph.events import NodeSkipped
from stagegraph.executors import serial, threads
from stagegraph.graph import build
from stagegraph.registry import Registry


@sg.stage("power.add", version=1)
def add(first: int, *others: int) -> int:
    """Add numbers."""
    return first + sum(others)


@sg.stage("power.scale", version=1)
class Scale:
    """Multiply a number."""

    by: int = sg.param(default=2)

    def run(self, value: int, extra: int = 0) -> int:
        """Multiply."""
        return value * self.by + extra


@sg.stage("power.is_large", version=1)
def is_large(value: int) -> bool:
    """Whether a number is above 10."""
    return value > 10


@sg.stage("power.total", version=1)
def total(values: list[int]) -> int:
    """Sum a list."""
    return sum(values)


@sg.outputs
class Halves:
    """A number in two."""

    low: int
    high: int


@sg.stage("power.split", version=1)
def split(value: int) -> Halves:
    """Halve a number."""
    return Halves(value // 2, value - value // 2)


@sg.stage("power.even_half", version=1)
def even_half(value: int) -> int | None:
    """Half of an even number."""
    return value // 2 if value % 2 == 0 else None


REGISTRY = Registry.of(add, Scale, is_large, total, split, even_half)

RUNNERS = [
    pytest.param(serial.run, id="serial"),
    pytest.param(threads.run, id="threads"),
]


def run_text(text: str, runner: object = serial.run, outputs: list[str] | None = None, **inputs: object) -> dict:
    """Run a manifest."""
    plan = plans.make(build(manifests.loads(text, "m.yaml"), REGISTRY), outputs)
    return dict(runner(plan, inputs).outputs)


HEAD = "stagegraph: 1\nname: m\ninputs: {x: {type: int}, xs: {type: 'list[int]', default: [1, 2, 3]}}\nnodes:\n"


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_variadic_input_takes_any_number_of_wires_and_constants(runner: object) -> None:
    """In the order of writing; a single wire needs no list; none at all is fine."""
    text = HEAD + (
        "  two: {stage: power.scale, inputs: {value: inputs.x}}\n"
        "  none: {stage: power.add, inputs: {first: two}}\n"
        "  one: {stage: power.add, inputs: {first: two, others: inputs.x}}\n"
        "  many: {stage: power.add, inputs: {first: {value: 100}, others: [two, inputs.x, {value: 5}]}}\n"
        "outputs: {none: none, one: one, many: many}\n"
    )
    assert run_text(text, runner, x=3) == {"none": 6, "one": 9, "many": 114}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("x", "made"), [(3, {"y": 3}), (20, {"big": 40, "y": 43, "after": 80})])
def test_a_condition_decides_whether_a_node_runs(runner: object, x: int, made: dict[str, int]) -> None:
    """What needs a skipped output is skipped as well; an optional input takes its default, a list is shorter."""
    text = HEAD + (
        "  large: {stage: power.is_large, inputs: {value: inputs.x}}\n"
        "  big: {stage: power.scale, when: large, inputs: {value: inputs.x}}\n"
        "  after: {stage: power.scale, inputs: {value: big}}\n"
        "  y: {stage: power.add, inputs: {first: {value: 3}, others: [big]}}\n"
        "outputs: {big: big, y: y, after: after}\n"
    )
    assert run_text(text, runner, x=x) == made


def test_an_output_that_was_skipped_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """As an event, and as an error for whoever asks for it."""
    g = sg.Graph("c")
    x = g.input("x", int)
    large = g.add(is_large, value=x)
    g.output("y", g.add(Scale(), name="big", value=x, when=large))
    seen = []
    run = g.run(x=1, on_event=seen.append)
    assert [(event.node, event.why) for event in seen if isinstance(event, NodeSkipped)] == [
        ("big", "is_large.output is false")
    ]
    assert run.outputs == {}
    with pytest.raises(PlanError) as error:
        run["y"]
    assert str(error.value) == 'error[skipped]: output "y" was not made\n  why: is_large.output is false'


MAYBE = (
    "stagegraph: 1\nname: m\ninputs: {x: {type: int}, maybe: {type: int | None, default: null}}\nnodes:\n"
    "  scaled: {stage: power.scale, when: inputs.maybe, inputs: {value: inputs.maybe}}\n"
    "  y: {stage: power.add, inputs: {first: inputs.x, others: scaled}}\n"
    "outputs: {y: y}\n"
)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_node_that_runs_by_what_may_be_none_may_take_it(runner: object) -> None:
    """It is skipped for None, and for nothing else: 0 is there."""
    assert run_text(MAYBE, runner, x=1) == {"y": 1}
    assert run_text(MAYBE, runner, x=1, maybe=0) == {"y": 1}
    assert run_text(MAYBE, runner, x=1, maybe=0, outputs=["scaled"]) == {"scaled.output": 0}
    assert run_text(MAYBE, runner, x=1, maybe=4) == {"y": 9}


def test_what_may_be_none_is_taken_only_by_the_node_that_looks() -> None:
    """Another node, or another wire of the same one, would be fed None."""
    wrong = "nodes:\n  other: {stage: power.scale, inputs: {value: inputs.maybe}}\n"
    with pytest.raises(GraphError) as error:
        build(manifests.loads(MAYBE.replace("nodes:\n", wrong), "m.yaml"), REGISTRY)
    assert str(error.value) == (
        "m.yaml:5:47: error[type_mismatch]: inputs.maybe is int | None, but other.value takes int\n"
        "  why: other (power.scale) takes: value int, extra int?\n"
        "  fix: wire value: inputs.x or scaled.output or y.output"
    )


def test_what_a_graph_within_a_graph_gives_may_be_looked_at(tmp_path: Path) -> None:
    """By the name that the outer graph has for it."""
    (tmp_path / "inner.yaml").write_text(
        "stagegraph: 1\nname: inner\ninputs: {x: {type: int}}\n"
        "nodes: {half: {stage: power.even_half, inputs: {value: inputs.x}}}\noutputs: {half: half}\n"
    )
    (tmp_path / "outer.yaml").write_text(
        "stagegraph: 1\nname: outer\ninputs: {x: {type: int}}\nnodes:\n"
        "  a: {graph: inner.yaml, inputs: {x: inputs.x}}\n"
        "  y: {stage: power.scale, when: a.half, inputs: {value: a.half}}\n"
        "outputs: {y: y}\n"
    )
    plan = plans.make(build(manifests.load(tmp_path / "outer.yaml"), REGISTRY), None)
    assert dict(serial.run(plan, {"x": 6}).outputs) == {"y": 6}
    assert serial.run(plan, {"x": 5}).outputs.skipped == {"y": "a/half.output is None"}


def test_a_graph_within_a_graph_looks_whether_its_input_is_there(tmp_path: Path) -> None:
    """Fed by a wire, by a constant, by its default, and by nothing at all."""
    (tmp_path / "inner.yaml").write_text(MAYBE)
    (tmp_path / "outer.yaml").write_text(
        "stagegraph: 1\nname: outer\ninputs: {x: {type: int}, given: {type: int | None, default: null}}\nnodes:\n"
        "  wired: {graph: inner.yaml, inputs: {x: inputs.x, maybe: inputs.given}}\n"
        "  there: {graph: inner.yaml, inputs: {x: inputs.x, maybe: {value: 0}}}\n"
        "  none: {graph: inner.yaml, inputs: {x: inputs.x, maybe: {value: null}}}\n"
        "  default: {graph: inner.yaml, inputs: {x: inputs.x}}\n"
        "outputs: {wired: wired, zero: there/scaled, none: none, default: default}\n"
    )
    plan = plans.make(build(manifests.load(tmp_path / "outer.yaml"), REGISTRY), None)
    assert dict(serial.run(plan, {"x": 1}).outputs) == {"wired": 1, "zero": 0, "none": 1, "default": 1}
    assert serial.run(plan, {"x": 1, "given": 4})["wired"] == 9


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_optional_input_of_a_skipped_node_takes_its_default(runner: object) -> None:
    """`extra` is 0 if its node did not run."""
    text = HEAD + (
        "  large: {stage: power.is_large, inputs: {value: inputs.x}}\n"
        "  extra: {stage: power.scale, when: large, inputs: {value: inputs.x}}\n"
        "  y: {stage: power.scale, inputs: {value: inputs.x, extra: extra}}\n"
        "outputs: {y: y}\n"
    )
    assert run_text(text, runner, x=2) == {"y": 4}
    assert run_text(text, runner, x=11) == {"y": 44}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_map_calls_the_stage_for_each_item(runner: object) -> None:
    """Outputs are lists, which may be mapped again or collected; other inputs are the same in every call."""
    text = HEAD + (
        "  each: {stage: power.scale, map: [value], inputs: {value: inputs.xs, extra: inputs.x}}\n"
        "  halves: {stage: power.split, map: [value], inputs: {value: each}}\n"
        "  both: {stage: power.scale, map: [value, extra], inputs: {value: halves.low, extra: halves.high}}\n"
        "  sum: {stage: power.total, inputs: {values: both}}\n"
        "outputs: {each: each, both: both, sum: sum}\n"
    )
    each = [2 + 1, 4 + 1, 6 + 1]
    both = [(e // 2) * 2 + (e - e // 2) for e in each]
    assert run_text(text, runner, x=1) == {"each": each, "both": both, "sum": sum(both)}
    assert run_text(text, runner, x=1, xs=[]) == {"each": [], "both": [], "sum": 0}


def test_maps_over_lists_of_different_lengths_are_an_error() -> None:
    """Nothing is cut or repeated."""
    g = sg.Graph("m")
    node = g.add(Scale(), map=["value", "extra"], value=g.input("a", list[int]), extra=g.input("b", list[int]))
    g.output("y", node)
    with pytest.raises(StageError) as error:
        g.run(a=[1, 2], b=[1])
    assert str(error.value) == (
        "scale: error[invalid_value]: scale maps over lists of different lengths: value has 2, extra has 1"
    )


INNER = """\
stagegraph: 1
name: inner
inputs: {value: {type: int}, extra: {type: int, default: 7}}
nodes:
  scale: {stage: power.scale, params: {by: 10}, inputs: {value: inputs.value, extra: inputs.extra}}
  halves: {stage: power.split, inputs: {value: scale}}
outputs: {all: scale, low: halves.low}
"""


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_manifest_is_a_node_of_another(tmp_path: Path, runner: object) -> None:
    """Its inputs and outputs are ports, its defaults hold; used twice, it is there twice."""
    (tmp_path / "inner.yaml").write_text(INNER)
    (tmp_path / "outer.yaml").write_text(
        HEAD
        + (
            "  a: {graph: inner.yaml, inputs: {value: inputs.x}}\n"
            "  b: {graph: inner.yaml, inputs: {value: a.low, extra: {value: 0}}}\n"
            "  y: {stage: power.add, inputs: {first: a.all, others: [b.all, b.low]}}\n"
            "outputs: {y: y, low: b.low}\n"
        )
    )
    graph = build(manifests.load(tmp_path / "outer.yaml"), REGISTRY)
    assert list(graph.nodes) == ["a/scale", "a/halves", "b/scale", "b/halves", "y"]
    assert dict(runner(plans.make(graph), {"x": 1}).outputs) == {"y": 17 + 80 + 40, "low": 40}


def test_faults_of_an_embedded_manifest_stand_in_its_own_file(tmp_path: Path) -> None:
    """All at once, each with its file; how it is used is told in the outer file."""
    inner = INNER.replace("by: 10", "by: ten").replace("halves.low", "halves.lower")
    (tmp_path / "inner.yaml").write_text(inner)
    (tmp_path / "outer.yaml").write_text(
        HEAD + "  a: {graph: inner.yaml, inputs: {valu: inputs.x}}\n  y: {stage: power.scale, inputs: {value: a.al}}\n"
        "outputs: {y: y}\n"
    )
    with pytest.raises(GraphError) as error:
        build(manifests.load(tmp_path / "outer.yaml"), REGISTRY)
    told = str(error.value).replace(f"{tmp_path}/", "")
    assert told.splitlines()[0] == (
        'inner.yaml:5:44: error[invalid_type]: scale (power.scale): by: "ten" is not an integer'
    )
    assert 'outer.yaml:5:35: error[unknown_port]: a (inner) has no input "valu"' in told
    assert "outer.yaml:5:6: error[missing_input]: a (inner): nothing feeds the input value int" in told


def test_a_graph_that_contains_itself_is_refused(tmp_path: Path) -> None:
    """Also through another one."""
    (tmp_path / "a.yaml").write_text("stagegraph: 1\nname: a\nnodes: {b: {graph: b.yaml}}\noutputs: {y: b.y}\n")
    (tmp_path / "b.yaml").write_text("stagegraph: 1\nname: b\nnodes: {a: {graph: a.yaml}}\noutputs: {y: a.y}\n")
    with pytest.raises(GraphError) as error:
        build(manifests.load(tmp_path / "a.yaml"), REGISTRY)
    assert error.value.faults[0].code == "cycle"
    assert error.value.faults[0].what == 'the graph "a.yaml" contains itself'


def test_a_graph_in_python_is_a_node_of_another() -> None:
    """With its outputs as attributes; the flat manifest of the whole reads back as the same plan."""
    inner = sg.Graph("inner")
    scaled = inner.add(Scale(by=10), value=inner.input("value", int), extra=inner.input("extra", int, 7))
    inner.output("all", scaled)
    inner.output("low", inner.add(split, value=scaled).low)
    outer = sg.Graph("outer")
    a = outer.add(inner, name="a", value=outer.input("x", int))
    b = outer.add(inner, name="b", value=a.low, extra=sg.constant(0))
    outer.output("y", outer.add(add, first=a.all, others=[b.all, b.low]))
    assert outer.run(x=1)["y"] == 17 + 80 + 40
    again = sg.Graph.from_manifest(manifests.loads(outer.dumps()), REGISTRY)
    assert again.plan().as_dict() == outer.plan().as_dict()


def test_any_node_is_a_target_and_any_output_can_be_given() -> None:
    """Only what the target needs runs; what is given stands in for the nodes that would make it."""
    g = sg.Graph("t")
    first = g.add(Scale(by=3), name="first", value=g.input("x", int))
    halves = g.add(split, name="halves", value=first)
    g.output("y", g.add(add, name="y", first=halves.low, others=[halves.high, first]))
    assert dict(g.run(x=5, outputs=["halves"]).outputs) == {"halves.low": 7, "halves.high": 8}
    assert dict(g.run(x=5, outputs=["first.output"]).outputs) == {"first.output": 15}
    plan = plans.make(g.bind(), None, ["first.output"])
    assert [step.node.name for step in plan.steps] == ["halves", "y"]
    assert g.run(given={"first.output": 4})["y"] == 2 + 2 + 4
    with pytest.raises(InputError) as error:
        g.run(given={"first.output": "four"})
    assert str(error.value) == 'error[invalid_type]: first.output is int, but was given str "four"'


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (
            "  a: {stage: power.scale, inputs: {value: [inputs.x, inputs.x]}}\n",
            (
                "m.yaml:5:43: error[duplicate_producer]: the input value of node a is fed from 2 places\n"
                "  why: power.scale takes one value there\n  fix: keep one of them"
            ),
        ),
        (
            "  a: {stage: power.scale, inputs: {value: {value: three}}}\n",
            (
                'm.yaml:5:51: error[invalid_type]: the constant for a.value: "three" is not an integer\n'
                "  why: must be an integer"
            ),
        ),
        (
            "  a: {stage: power.scale, when: inputs.x, inputs: {value: inputs.x}}\n",
            (
                "m.yaml:5:33: error[type_mismatch]: inputs.x is int, but a runs by a bool, or by what may be None\n"
                "  fix: give when a wire of type bool, or of one such as Image | None"
            ),
        ),
        (
            "  a: {stage: power.scale, map: [value], inputs: {value: inputs.x}}\n",
            (
                "m.yaml:5:57: error[type_mismatch]: inputs.x is int, but a.value takes list[int]\n"
                "  why: a (power.scale) takes: value int, extra int?\n  fix: wire value: inputs.xs"
            ),
        ),
        (
            "  a: {stage: power.scale, map: [valu], inputs: {value: inputs.x}}\n",
            (
                'm.yaml:5:33: error[unknown_port]: a (power.scale) has no input "valu" to take items\n'
                '  fix: did you mean "value"?'
            ),
        ),
        (
            "  a: {stage: power.add, map: [others], inputs: {first: inputs.x, others: inputs.xs}}\n",
            (
                "m.yaml:5:31: error[missing_input]: a takes items on others, which is variadic\n"
                "  fix: map inputs that are fed a list"
            ),
        ),
        (
            "  a: {stage: power.scale, graph: power.scale, inputs: {value: inputs.x}}\n",
            "m.yaml:5:6: error[invalid_value]: nodes.a: a node names either a stage or a graph",
        ),
    ],
    ids=["two places", "constant", "when", "map type", "map port", "map variadic", "stage and graph"],
)
def test_mistakes_are_found_before_anything_runs(nodes: str, text: str) -> None:
    """The whole text."""
    with pytest.raises(StagegraphError) as error:
        build(manifests.loads(HEAD + nodes + "outputs: {y: a}\n", "m.yaml"), REGISTRY)
    assert str(error.value) == text


def test_an_example_of_everything_is_written_and_read_without_loss() -> None:
    """Python to YAML to Python: conditions, maps, constants, lists of wires."""
    g = sg.Graph("all")
    x = g.input("x", int)
    large = g.add(is_large, value=x)
    each = g.add(Scale(), name="each", map=["value"], value=g.input("xs", list[int]), extra=sg.constant(1), when=large)
    g.output("y", g.add(add, first=x, others=[x, sg.constant(2)]))
    g.output("each", each)
    text = g.dumps()
    again = sg.Graph.from_manifest(manifests.loads(text), REGISTRY)
    assert again.dumps() == text
    assert again.plan().as_dict() == g.plan().as_dict()
    assert dict(again.run(x=11, xs=[1, 2]).outputs) == {"y": 24, "each": [3, 5]}


@sg.stage("power.pass", version=1)
def pass_on(output: int, extra: int = 0) -> int:
    """Its input is called like its output."""
    return output + extra


def test_any_input_can_be_given_in_place_of_what_feeds_it() -> None:
    """Of this node only; what fed it does not run if nobody else needs it."""
    g = sg.Graph("given")
    x = g.input("x", int)
    first = g.add(pass_on, name="first", output=x)
    left = g.add(pass_on, name="left", output=first)
    right = g.add(pass_on, name="right", output=first)
    g.output("left", left)
    g.output("right", right)
    run = g.run(x=1, given={"left.extra": 100})
    assert dict(run.outputs) == {"left": 101, "right": 1}
    run = g.run(x=1, given={"left.inputs.output": 10})
    assert dict(run.outputs) == {"left": 10, "right": 1}
    run = g.run(outputs=["left"], given={"left.inputs.output": 10})
    assert list(run.record.seconds) == ["left"]
    assert dict(g.run(given={"first": 5}).outputs) == {"left": 5, "right": 5}
    assert "<- given left.output" in str(plans.make(g.bind(), ["left"], ["left.inputs.output"]))


def test_what_cannot_be_given_is_refused_all_at_once() -> None:
    """Unknown nodes and ports, ports that two have, inputs that take many."""
    g = sg.Graph("given")
    x = g.input("x", int)
    g.output("y", g.add(pass_on, name="node", output=g.add(add, name="sum", first=x, others=[x])))
    with pytest.raises(PlanError) as caught:
        g.run(x=1, given={"nod.output": 1, "node.output": 1, "node.outptu": 1, "sum.others": 1})
    assert str(caught.value) == (
        'error[unknown_node]: given has no node "nod" to be given a value\n'
        '  fix: did you mean "node"?\n'
        "error[ambiguous_port]: node (power.pass) has both an input and an output output\n"
        "  fix: write node.inputs.output or node.outputs.output\n"
        'error[unknown_port]: node (power.pass) has no port "outptu" to be given a value\n'
        '  fix: did you mean "output"?\n'
        "error[unknown_port]: sum (power.add) takes any number of values on others, which cannot be given as one\n"
        "  fix: give the outputs that feed it"
    )
    with pytest.raises(InputError) as error:
        g.run(x=1, given={"node.extra": "two"})
    assert str(error.value) == 'error[invalid_type]: node.extra is int, but was given str "two"'
    with pytest.raises(PlanError) as caught:
        g.run(x=1, fresh=["nodes"])
    assert str(caught.value) == (
        'error[unknown_node]: there is no node "nodes" to run again\n  fix: did you mean "node"?'
    )


def test_inputs_may_have_the_names_of_options() -> None:
    """Then they are given as a mapping."""
    g = sg.Graph("names")
    g.output("y", g.add(pass_on, output=g.input("pool", int)))
    assert g.run({"pool": 3})["y"] == 3
