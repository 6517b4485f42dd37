"""Preflight: what can be known to fail is told before anything heavy loads, all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

import stagegraph as sg
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.errors import ComponentError, Fault, GraphError, InputError, PlanError
from stagegraph.executors import serial, threads
from stagegraph.facts import FactError, Facts, facts_of_each
from stagegraph.graph import Ref, build
from stagegraph.preflight import examine, facts, preflight
from stagegraph.registry import Registry


class Weights:
    """Something heavy."""


@sg.component("flight.model", version=1)
class Model:
    """A model in a folder."""

    path: str = sg.param(default="absent")

    def check(self, parts: frozenset[str]) -> Iterable[Fault]:
        """Whether the files are there."""
        if self.path == "absent":
            yield Fault("flight.absent", f"there is no {self.path}/{', '.join(sorted(parts))}", fix="download it")

    @sg.part
    def weights(self) -> Weights:
        """Weights."""
        raise AssertionError("preflight loads nothing")

    @sg.part
    def others(self) -> int:
        """What nobody is lent."""
        raise AssertionError("preflight loads nothing")


@sg.stage("flight.size", version=1)
class Size:
    """Make something of a size."""

    width: int = sg.param(default=64)

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size."""
        return {"output": {"width": self.width}}

    def run(self) -> str:
        """Make it."""
        return "x" * self.width


@sg.stage("flight.half", version=1)
class Half:
    """Halve it."""

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """Half the size, which must be even."""
        width = inputs.get("text", {}).get("width")
        if width is None:
            return {}
        if width % 2:
            raise FactError(f"the text is {width} wide", port="text", why="must be even", fix=f"use {width + 1}")
        return {"output": {"width": width // 2}}

    def run(self, text: str, *, weights: Weights) -> str:
        """Halve it."""
        return text[::2]


@sg.stage("flight.save", version=1)
class Save:
    """Save it."""

    path: str = sg.param(default="out.txt")

    def check(self) -> Iterable[Fault]:
        """Whether the format is known."""
        if not self.path.endswith(".txt"):
            yield Fault("flight.format", f"{self.path} is no text file", fix="use .txt")

    def writes(self) -> Iterable[str]:
        """The path."""
        return [self.path]

    def run(self, text: str) -> str:
        """Save it."""
        Path(self.path).write_text(text)
        return self.path


@sg.stage("flight.next", version=1)
def following(value: int) -> int:
    """One more."""
    return value + 1


@sg.stage("flight.join", version=1)
class Join:
    """Join texts."""

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The sum of the widths, none of which may be above 64."""
        widths = [part.get("width") for part in facts_of_each(inputs, "texts")]
        for number, width in enumerate(widths):
            if width is not None and width > 64:
                raise FactError(f"text {number} is {width} wide", port=f"texts[{number}]", why="at most 64")
        known = [width for width in widths if width is not None]
        return {"output": {"width": sum(known)} if len(known) == len(widths) else {}}

    def run(self, *texts: str) -> str:
        """Join them."""
        return "".join(texts)


REGISTRY = Registry.of(Size, Half, Save, Join, following, Model)

MANIFEST = """\
stagegraph: 1
name: flight
components: {model: {kind: flight.model, params: {path: here}}}
nodes:
  size: {stage: flight.size, params: {width: 64}}
  half: {stage: flight.half, inputs: {text: size}}
  save: {stage: flight.save, inputs: {text: half}}
outputs: {file: save}
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(text: str) -> plans.Plan:
    """The plan of a manifest."""
    return plans.make(build(manifests.loads(text, "m.yaml"), REGISTRY))


def test_facts_flow_through_the_graph() -> None:
    """What is known of each value before it is there."""
    plan = planned(MANIFEST)
    assert facts(plan) == {Ref("size", "output"): {"width": 64}, Ref("half", "output"): {"width": 32}}
    preflight(plan)


def test_everything_that_is_wrong_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    """A component without files, a stage's own objection, a file that can't be written, a size that does not fit."""
    (tmp_path / "folder.doc").mkdir()
    text = MANIFEST.replace("{path: here}", "{path: absent}").replace("width: 64", "width: 63")
    text = text.replace("save: {stage: flight.save, ", "save: {stage: flight.save, params: {path: folder.doc}, ")
    with pytest.raises(ComponentError) as error:
        preflight(planned(text))
    assert str(error.value) == (
        "m.yaml:3:50: error[flight.absent]: there is no absent/weights\n"
        "  fix: download it\n"
        "m.yaml:6:3: error[fact_mismatch]: half (flight.half): the text is 63 wide (from size.output)\n"
        "  why: must be even\n"
        "  fix: use 64\n"
        "m.yaml:7:3: error[flight.format]: folder.doc is no text file\n"
        "  fix: use .txt\n"
        "m.yaml:7:3: error[unwritable]: save cannot write folder.doc\n"
        "  why: it is a folder\n"
        "  fix: give another path"
    )


def test_nothing_runs_when_preflight_fails() -> None:
    """No event, no stage, no load."""
    told: list[object] = []
    with pytest.raises(GraphError):
        serial.run(planned(MANIFEST.replace("width: 64", "width: 63")), {}, on_event=told.append)
    assert told == []


def test_two_nodes_that_write_one_file_are_found() -> None:
    """However the path is spelt."""
    text = MANIFEST.replace(
        "outputs: {file: save}",
        "  again: {stage: flight.save, params: {path: ./out.txt}, inputs: {text: half}}\n"
        "outputs: {file: save, again: again}",
    )
    with pytest.raises(GraphError) as error:
        preflight(planned(text))
    assert str(error.value) == (
        "m.yaml:8:3: error[duplicate_producer]: save and again both write ./out.txt\n"
        "  fix: give one of them another path"
    )


def test_only_what_the_plan_needs_is_looked_at() -> None:
    """A target that does without the broken component is fine."""
    graph = build(manifests.loads(MANIFEST.replace("here", "absent"), "m.yaml"), REGISTRY)
    preflight(plans.make(graph, ["size"]))
    with pytest.raises(ComponentError):
        preflight(plans.make(graph, ["half"]))


def reported(text: str, outputs: list[str] | None = None) -> list[str]:
    """What a report says, each fault by its line and code, after the warnings."""
    report = examine(manifests.loads(text, "m.yaml"), REGISTRY, outputs)
    faults = (*report.warnings, *report.faults)
    return [f"{fault.location.line if fault.location else 0} {fault.code}" for fault in faults]


def test_nodes_that_no_output_needs_are_a_warning() -> None:
    """With their place; they keep nothing from running."""
    text = MANIFEST.replace("outputs:", "  left: {stage: flight.size}\noutputs:")
    report = examine(manifests.loads(text, "m.yaml"), REGISTRY)
    assert [str(fault) for fault in report.warnings] == [
        (
            "m.yaml:8:3: error[orphan]: no output needs left (flight.size), so it does not run\n"
            "  fix: declare an output of it, or remove it"
        )
    ]
    preflight(plans.make(report.check()))


BROKEN = MANIFEST.replace("here", "absent").replace(
    "stage: flight.save, ", "stage: flight.save, params: {path: a.doc}, "
)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("text: size", "text: sze", "6 unknown_node"),
        ("text: size", "text: {value: 3}", "6 invalid_type"),
        ("text: half", "txt: half", "7 unknown_port"),
        ("width: 64", "width: wide", "5 invalid_type"),
        ("flight.size", "flight.siz", "5 unknown_stage"),
        ("{text: size}", "{text: half}", "6 cycle"),
        ("file: save", "file: sav", "8 unknown_node"),
        ("text: size", "text: {value: x}, more: size", "6 unknown_port"),
    ],
)
def test_what_can_be_bound_is_looked_at_although_the_rest_cannot(old: str, new: str, found: str) -> None:
    """The absent checkpoint and the stage's own objection are told with what is wrong with the wires."""
    told = reported(BROKEN.replace(old, new, 1))
    assert found in told
    assert {"3 flight.absent", "7 flight.format"} <= set(told)


def test_a_wire_that_leads_nowhere_is_taken_for_what_was_meant() -> None:
    """So neither is a node an orphan because of a slip, nor is what really is one looked at on this machine."""
    text = BROKEN.replace("file: save", "file: svae")
    assert reported(text) == ["3 flight.absent", "7 flight.format", "8 unknown_node"]
    assert reported(text.replace("file: svae", "file: size.out")) == [
        "6 orphan",
        "7 orphan",
        "8 unknown_port",
    ]


def test_only_what_is_asked_for_is_looked_at_in_a_broken_graph() -> None:
    """As in one that can run; and a graph that is asked for nothing says so beside the rest."""
    text = BROKEN.replace("text: half", "text: hal")
    assert reported(text, ["half"]) == ["3 flight.absent", "7 unknown_node"]
    told = reported(BROKEN.replace("outputs: {file: save}", ""))
    assert told == ["1 unknown_output", "3 flight.absent", "7 flight.format"]


def test_what_the_error_is_tells_what_to_do_first() -> None:
    """A graph that is wrong is a wrong graph, whatever is missing; only then something is missing."""
    wrong, absent = manifests.loads(BROKEN.replace("text: size", "text: sze")), manifests.loads(BROKEN)
    with pytest.raises(GraphError):
        examine(wrong, REGISTRY).check()
    with pytest.raises(ComponentError):
        examine(absent, REGISTRY).check()
    with pytest.raises(GraphError):
        examine(manifests.loads(BROKEN.replace("absent", "here")), REGISTRY).check()
    with pytest.raises(PlanError):
        examine(absent, REGISTRY, ["nothing"]).check()


def test_the_file_that_a_component_misses_is_told_beside_the_place_in_the_manifest() -> None:
    """The fault has both; the text begins with the place."""

    @sg.component("flight.files", version=1)
    class Files:
        """Weights in a file."""

        def check(self, parts: frozenset[str]) -> Iterable[Fault]:
            """It is never whole."""
            yield Fault("flight.torn", "the header is cut off", where="/models/a.bin")

        @sg.part
        def weights(self) -> Weights:
            """Weights."""
            raise AssertionError("preflight loads nothing")

    registry = Registry.of(Size, Half, Save, Files)
    text = MANIFEST.replace("kind: flight.model, params: {path: here}", "kind: flight.files")
    (fault,) = examine(manifests.loads(text, "m.yaml"), registry).faults
    assert str(fault) == "m.yaml:3:21: error[flight.torn]: /models/a.bin: the header is cut off"
    assert fault.where == "/models/a.bin"


@pytest.mark.parametrize("run", [serial.run, threads.run])
def test_values_that_are_missing_are_told_with_what_the_machine_lacks(run: Callable[..., object]) -> None:
    """One report for everything that keeps a run from beginning."""
    text = BROKEN.replace("name: flight\n", "name: flight\ninputs: {seed: {type: int}}\n").replace(
        "outputs:", "  more: {stage: flight.next, inputs: {value: inputs.seed}}\noutputs:"
    )
    plan = plans.make(build(manifests.loads(text, "m.yaml"), REGISTRY), ["save", "more"], ["half"])
    with pytest.raises(InputError) as error:
        run(plan, {"sed": 1}, given={"half": 3})
    assert [fault.code for fault in error.value.faults] == [
        *("unknown_input", "missing_input", "invalid_type", "flight.format")
    ]


FIX = "  fix: tell the author of its plugin"


@pytest.mark.parametrize("method", ["check", "writes", "facts"])
def test_a_stage_that_fails_to_say_something_is_named(method: str) -> None:
    """It is a mistake of its plugin; the other faults are told as well."""

    class Failing:
        def check(self) -> Iterable[Fault]:
            """Fail if it is to."""
            return self.fail("check")

        def writes(self) -> Iterable[str]:
            """Fail if it is to."""
            return self.fail("writes")

        def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
            """Fail if it is to."""
            self.fail("facts")
            return {}

        def fail(self, name: str) -> list[str]:
            """As a plugin may."""
            if name == method:
                raise KeyError("width")
            return []

    @sg.stage("flight.failing", version=1)
    class Stage(Failing):
        """Fail before it runs."""

        def run(self, text: str) -> str:
            """Never."""
            return text

    registry = Registry.of(Size, Half, Save, Model, Stage)
    text = BROKEN.replace("flight.half", "flight.failing").replace("here", "absent")
    report = examine(manifests.loads(text, "m.yaml"), registry)
    assert [str(fault) for fault in report.faults] == [
        f"m.yaml:6:3: error[invalid_stage]: {method} of half (flight.failing) failed: KeyError: 'width'\n{FIX}",
        "m.yaml:7:3: error[flight.format]: a.doc is no text file\n  fix: use .txt",
    ]


@pytest.mark.parametrize("path", ["x" * 5000 + ".txt", "a\0.txt"])
def test_a_path_that_no_file_can_have_is_told(path: str) -> None:
    """Before the system refuses it in the middle of a run."""
    g = sg.Graph("odd", registry=REGISTRY)
    g.output("file", g.add(Save(path=path), text=g.input("text", str)))
    with pytest.raises(GraphError) as error:
        preflight(g.plan())
    assert [fault.code for fault in error.value.faults] == ["unwritable"]


JOINED = """\
stagegraph: 1
name: joined
inputs: {both: {type: bool, default: true}}
nodes:
  one: {stage: flight.size, params: {width: 3}}
  two: {stage: flight.size, params: {width: 64}}
  joined: {stage: flight.join, inputs: {texts: [two, one, two]}}
outputs: {text: joined}
"""


def test_the_values_of_a_variadic_input_are_told_apart() -> None:
    """In the order of the wires, the same one twice if it is wired twice."""
    assert facts(planned(JOINED))[Ref("joined", "output")] == {"width": 131}
    single = JOINED.replace("[two, one, two]", "one")
    assert facts(planned(single))[Ref("joined", "output")] == {"width": 3}
    constant = JOINED.replace("[two, one, two]", "[two, {value: abc}]")
    assert facts(planned(constant))[Ref("joined", "output")] == {}


@pytest.mark.parametrize("line", ["two: {", "one: {"])
def test_nothing_is_known_of_what_may_be_left_out(line: str) -> None:
    """A node with a condition: then the length of the whole is not known."""
    text = JOINED.replace(line, f"{line}when: inputs.both, ")
    assert facts(planned(text))[Ref("joined", "output")] == {}


def test_what_follows_from_what_may_be_skipped_may_be_left_out_too() -> None:
    """Behind another node."""
    text = JOINED.replace("one: {", "one: {when: inputs.both, ").replace("[two, one, two]", "[two, three]")
    text = text.replace("nodes:", "nodes:\n  three: {stage: flight.join, inputs: {texts: one}}")
    # a variadic input needs nothing: this node runs, and joins nothing
    assert facts(planned(text))[Ref("joined", "output")] == {}


def test_a_fault_names_the_wire_of_a_variadic_input() -> None:
    """Its place, and what feeds it."""
    text = JOINED.replace("width: 64", "width: 65").replace("[two, one, two]", "[one, two]")
    with pytest.raises(GraphError) as error:
        preflight(planned(text))
    assert str(error.value) == (
        "m.yaml:7:3: error[fact_mismatch]: joined (flight.join): text 1 is 65 wide (from two.output)\n  why: at most 64"
    )
