"""Running a plan: events, progress, cancellation, errors and the record."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph import Cancellation, Graph, StageContext, derive_seed, events, outputs, param, stage
from stagegraph.errors import Cancelled, Fault, InputError, PlanError, StageError, StagegraphError
from stagegraph.events import Event
from stagegraph.executors.checks import check_inputs
from stagegraph.record import summary
from stagegraph.yaml import typed

from .fakes import REGISTRY, Album, Clip, Encode, Film, Image, Join, Model, Sound


class Busy(StagegraphError):
    """A typed error of a plugin."""

    exit_code: ClassVar[int] = 3
    retryable: ClassVar[bool] = True


class Shaped:
    """A value with a shape, as arrays have."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


class Unprintable:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


@outputs
class Pair:
    """Two outputs."""

    image: Image
    count: int


@stage("test.fail", version=2)
def fail(x: int, image: Image | None = None, *, how: str = param("value")) -> Any:
    """Fail in one of many ways."""
    if how == "typed":
        raise Busy(Fault("test.busy", "the device is busy", fix="wait"), Fault("test.hot", "and hot", where="gpu:0"))
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "exit":
        raise SystemExit(4)
    if how == "memory":
        raise MemoryError("of 8 GiB")
    raise ValueError("x is odd")


@stage("test.wrong", version=1)
def wrong(what: str) -> Image:
    """Return something else."""
    return {"text": "a text", "none": None, "sound": Sound("a")}[what]  # type: ignore[return-value]


@stage("test.wrong_pair", version=1)
def wrong_pair(what: str) -> Pair:
    """Return something else than the declared class, or a field of another type."""
    return {"none": None, "tuple": (Image(), 1), "field": Pair(Image(), "1")}[what]  # type: ignore[return-value, arg-type]


@stage("test.wrong_nothing", version=1)
def wrong_nothing(what: str) -> None:
    """Return something although nothing is declared."""
    return what  # type: ignore[return-value]


@stage("test.steps", version=1)
def steps(x: int, *, context: StageContext) -> int:
    """Tell of three steps."""
    for i in range(3):
        context.progress(i + 1, 3, f"step {i + 1}")
    return x


def single(stage: Any, **inputs: Any) -> Graph:
    """A graph of one stage fed by inputs of the graph."""
    g = Graph("single", registry=REGISTRY)
    node = g.add(stage, name="node", **{name: g.input(name, type_) for name, type_ in inputs.items()})
    g.output("y", node.output)
    return g


def failure(g: Graph, **inputs: Any) -> StageError:
    """The error that a run ends with."""
    with pytest.raises(StageError) as caught:
        g.run(**inputs)
    return caught.value


def test_events_come_in_order() -> None:
    """From the first to the last, typed, each with the id of the run."""
    g = Graph("told", registry=REGISTRY)
    g.component("model", Model(path="here"))
    g.output("y", g.add(steps, name="count", x=g.input("x", int)))
    g.output("code", g.add(Encode(), text=g.input("text", str)))
    heard: list[Event] = []
    run = g.run(x=1, text="a", on_event=heard.append)
    assert {event.run for event in heard} == {run.id}
    # seconds are not compared
    plain = [attrs.evolve(e, seconds=0.0) if "seconds" in attrs.fields_dict(type(e)) else e for e in heard]
    assert plain == [
        events.RunStarted(run.id, "told", 2),
        events.NodeStarted(run.id, "count", "test.steps@1", 1),
        events.NodeProgress(run.id, "count", 1, 3, "step 1"),
        events.NodeProgress(run.id, "count", 2, 3, "step 2"),
        events.NodeProgress(run.id, "count", 3, 3, "step 3"),
        events.NodeFinished(run.id, "count", 0.0),
        events.ComponentLoading(run.id, "model", "encoder"),
        events.ComponentLoaded(run.id, "model", "encoder", 0.0),
        events.NodeStarted(run.id, "encode", "fake.encode@1", 2),
        events.NodeProgress(run.id, "encode", 1, 1, "encoded"),
        events.ComponentReleased(run.id, "model", "encoder"),
        events.NodeFinished(run.id, "encode", 0.0),
        events.RunFinished(run.id, 0.0),
    ]
    lines = [json.dumps(events.as_dict(event)) for event in heard]
    assert json.loads(lines[1]) == {
        "event": "node_started",
        "run": run.id,
        "node": "count",
        "stage": "test.steps@1",
        "step": 1,
    }


def test_a_failure_ends_the_events() -> None:
    """The node's failure, then the run's, with the same faults; they are plain JSON."""
    heard: list[Event] = []
    with pytest.raises(StageError) as caught:
        single(fail, x=int).run(x=1, on_event=heard.append)
    assert [type(event) for event in heard] == [
        events.RunStarted,
        events.NodeStarted,
        events.NodeFailed,
        events.RunFailed,
    ]
    assert heard[2].faults == heard[3].faults == caught.value.faults  # type: ignore[attr-defined]
    assert events.as_dict(heard[2]) == {
        "event": "node_failed",
        "run": heard[0].run,
        "node": "node",
        "faults": [{"code": "stage_failed", "what": "node (test.fail) failed: ValueError: x is odd", "where": "node"}],
    }


def test_a_stage_error_tells_node_stage_inputs_and_cause() -> None:
    """What a person needs to find out why, as fields."""
    g = Graph("single", registry=REGISTRY)
    image = g.add(Film(), prompt=g.input("prompt", str))
    g.output("y", g.add(fail, name="node", x=g.input("x", int), image=image))
    error = failure(g, x=1, prompt="fox")
    assert str(error) == "node: error[stage_failed]: node (test.fail) failed: ValueError: x is odd"
    assert (error.node, error.stage) == ("node", "test.fail@2")
    assert error.inputs == {"x": "1", "image": "Clip(name='fox/0')"}
    assert isinstance(error.__cause__, ValueError)
    assert (error.exit_code, error.retryable) == (1, False)


def test_a_typed_cause_keeps_its_faults_and_its_exit_code() -> None:
    """The error of a plugin is not flattened into a text."""
    error = failure(single(fail.with_params(how="typed"), x=int), x=1)
    assert str(error) == ("node: error[test.busy]: the device is busy\n  fix: wait\ngpu:0: error[test.hot]: and hot")
    assert isinstance(error.__cause__, Busy)
    assert (error.exit_code, error.retryable, error.code) == (3, True, "test.busy")
    assert (StageError.exit_code, StageError.retryable) == (1, False)


def test_a_stage_without_memory_is_a_stage_error() -> None:
    """MemoryError is told like any other failure of a stage."""
    error = failure(single(fail.with_params(how="memory"), x=int), x=1)
    assert str(error) == "node: error[stage_failed]: node (test.fail) failed: MemoryError: of 8 GiB"


def test_a_stage_that_exits_does_not_look_finished() -> None:
    """SystemExit is the program's, but nothing says that the run succeeded."""
    heard: list[Event] = []
    with pytest.raises(SystemExit):
        single(fail.with_params(how="exit"), x=int).run(x=1, on_event=heard.append)
    assert not any(isinstance(event, events.RunFinished) for event in heard)


@pytest.mark.parametrize(
    ("stage", "what", "text"),
    [
        (wrong, "text", "node: error[stage_output]: node (test.wrong) declares output as Image but returned 'a text'"),
        (wrong, "none", "node: error[stage_output]: node (test.wrong) declares output as Image but returned None"),
        (
            wrong,
            "sound",
            "node: error[stage_output]: node (test.wrong) declares output as Image but returned Sound(name='a')",
        ),
    ],
)
def test_a_stage_must_return_what_it_declares(stage: Any, what: str, text: str) -> None:
    """The value is checked where it leaves the stage, not where it breaks the next."""
    error = failure(single(stage, what=str), what=what)
    assert str(error) == text
    assert error.inputs == {"what": f"'{what}'"}


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("none", "declares its result as Pair but returned None"),
        ("tuple", "declares its result as Pair but returned tuple of 2"),
        ("field", "declares count as int but returned '1'"),
    ],
)
def test_every_output_must_have_its_type(what: str, text: str) -> None:
    """The class and each of its fields are checked."""
    g = Graph("pair", registry=REGISTRY)
    g.output("y", g.add(wrong_pair, name="node", what=g.input("what", str)).image)
    assert str(failure(g, what=what)) == f"node: error[stage_output]: node (test.wrong_pair) {text}"


def test_progress_is_where_a_run_can_be_cancelled() -> None:
    """A flag that another thread sets stops the stage at its next word."""
    cancellation = Cancellation()
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, events.NodeProgress) and event.done == 2:
            thread = threading.Thread(target=cancellation.cancel)
            thread.start()
            thread.join()

    with pytest.raises(Cancelled) as caught:
        single(steps, x=int).run(x=1, on_event=listen, cancellation=cancellation)
    assert str(caught.value) == "node: error[cancelled]: the run was cancelled"
    assert caught.value.exit_code == 130
    assert [type(event).__name__ for event in heard] == [
        "RunStarted",
        "NodeStarted",
        "NodeProgress",
        "NodeProgress",
        "RunCancelled",
    ]


def test_a_run_is_cancelled_between_steps() -> None:
    """A stage that never looks is not followed by another."""
    cancellation = Cancellation()
    ran: list[str] = []

    @stage("test.note", version=1)
    def note(x: int, *, name: str = param("first")) -> int:
        ran.append(name)
        cancellation.cancel()
        return x

    g = Graph("two", registry=REGISTRY)
    first = g.add(note, name="first", x=g.input("x", int))
    g.output("y", g.add(note.with_params(name="second"), name="second", x=first))
    with pytest.raises(Cancelled) as caught:
        g.run(x=1, cancellation=cancellation)
    assert str(caught.value) == "second: error[cancelled]: the run was cancelled"
    assert ran == ["first"]


def test_a_run_cancelled_before_it_starts_runs_nothing() -> None:
    """The flag may be set early."""
    cancellation = Cancellation()
    cancellation.cancel()
    heard: list[Event] = []
    with pytest.raises(Cancelled):
        single(steps, x=int).run(x=1, cancellation=cancellation, on_event=heard.append)
    assert [type(event).__name__ for event in heard] == ["RunStarted", "RunCancelled"]


def test_an_interrupt_cancels_the_run() -> None:
    """Ctrl-C ends in the same error as the flag."""
    heard: list[Event] = []
    with pytest.raises(Cancelled) as caught:
        single(fail.with_params(how="interrupt"), x=int).run(x=1, on_event=heard.append)
    assert str(caught.value) == "error[cancelled]: the run was interrupted"
    assert isinstance(heard[-1], events.RunCancelled)


def test_inputs_are_checked_before_anything_runs() -> None:
    """Unknown, missing and wrong ones are told together."""
    g = Graph("fox", registry=REGISTRY)
    film = g.add(Film(), prompt=g.input("prompt", str, help="What to see"), seed=g.input("seed", int, 7))
    g.output("clip", g.add(Join(), image=film, sound=g.input("sound", Sound | None, None)))
    heard: list[Event] = []
    with pytest.raises(InputError) as caught:
        g.run(promt="a", seed="7", sound=Image("a"), on_event=heard.append)
    assert str(caught.value) == (
        'error[unknown_input]: fox has no input "promt"\n  fix: did you mean "prompt"?\n'
        "error[missing_input]: fox needs a value for its input prompt (str)\n"
        "  why: What to see\n"
        "  fix: give prompt, as in -i prompt=...\n"
        'error[invalid_type]: input seed is int, but was given str "7"\n'
        "error[invalid_type]: input sound is Sound | None, but was given Image \"Image(name='a')\""
    )
    assert heard == []


def test_an_input_that_no_asked_output_needs_need_not_be_given() -> None:
    """Asking for less needs less."""
    g = Graph("two", registry=REGISTRY)
    g.output("clip", g.add(Film(), prompt=g.input("prompt", str)))
    g.output("count", g.add(Album(), images=g.input("images", list[Image])))
    assert g.run(prompt="a", outputs=["clip"])["clip"] == Clip("a/0")
    with pytest.raises(PlanError) as caught:
        _ = g.run(prompt="a", outputs=["clip"])["count"]
    assert str(caught.value) == 'error[unknown_output]: output "count" was not asked for\n  fix: use one of: clip'


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [(str, "3", "3"), (int, "3", 3), (float, "3", 3.0), (bool, "true", True), (list[int], "[1, 2]", [1, 2])],
)
def test_texts_become_what_the_input_wants(type_: Any, text: str, value: Any) -> None:
    """Inputs typed on a command line are read by type."""
    g = Graph("typed", registry=REGISTRY)
    g.output("x", g.input("x", type_))
    assert g.run(x=typed(text))["x"] == value
    assert type(g.run(x=typed(text))["x"]) is type(value)


def test_a_text_that_does_not_fit_is_refused() -> None:
    """With the rule, and also where no text can be a value."""
    g = Graph("typed", registry=REGISTRY)
    g.output("n", g.input("n", int))
    g.output("image", g.input("image", Shaped))
    with pytest.raises(InputError) as caught:
        g.run(n=typed("three"), image=typed("a.png"))
    assert str(caught.value) == (
        'error[invalid_type]: input n: "three" is not an integer\n'
        "  why: must be an integer\n"
        'error[invalid_type]: input image: "a.png" is not of type Shaped\n'
        "  why: a value of this type cannot be written out"
    )


def test_an_integer_is_a_float_in_an_optional_input() -> None:
    """What may be wired may also be given."""
    g = Graph("optional", registry=REGISTRY)
    g.output("x", g.input("x", float | None))
    g.output("xs", g.input("xs", list[float]))
    assert g.run(x=3, xs=[1, 2.5])["x"] == 3


def test_values_of_all_inputs_are_collected() -> None:
    """Given ones and defaults, also those that no step reads."""
    g = Graph("fox", registry=REGISTRY)
    g.output("clip", g.add(Film(), prompt=g.input("prompt", str), seed=g.input("seed", int, 7)))
    g.input("unused", int, 1)
    assert check_inputs(g.plan(), {"prompt": "a"}) == {"prompt": "a", "seed": 7, "unused": 1}


def test_a_record_tells_what_was_run() -> None:
    """It is plain JSON: inputs, the whole manifest with every default, versions, times."""
    g = Graph("recorded", registry=REGISTRY)
    g.component("model", Model(path="here"))
    g.output("code", g.add(Encode(), text=g.input("text", str)))
    g.output("count", g.add(Album(), images=g.input("images", list[Image])))
    run = g.run(text="a", images=[Image("a")])
    record = json.loads(json.dumps(run.record.as_dict(), allow_nan=False))
    assert record["schema"] == "stagegraph.run/1"
    assert (record["id"], record["graph"], record["status"]) == (run.id, "recorded", "finished")
    assert record["inputs"] == {"text": "a", "images": "list of 1"}
    assert record["outputs"] == ["code", "count"]
    assert record["manifest"]["components"] == {
        "model": {"kind": "fake.model", "params": {"path": "here", "dtype": "bf16"}}
    }
    assert record["manifest"]["nodes"]["encode"] == {
        "stage": "fake.encode@1",
        "inputs": {"text": "inputs.text"},
        "components": {"encoder": "model"},
    }
    assert set(record["seconds"]) == {"encode", "album"}
    assert {"python", "stagegraph"} <= set(record["versions"])


def test_a_record_is_json_whatever_flows() -> None:
    """Numbers that JSON does not have, and values that cannot be shown, are described."""
    g = Graph("odd", registry=REGISTRY)
    g.output("x", g.input("x", float))
    g.output("odd", g.input("odd", Any))
    for value in (Unprintable(), Shaped((1, 2)), Shaped("round"), b"\x00" * 1000):
        record = g.run(x=float("nan"), odd=value).record.as_dict()
        json.dumps(record, allow_nan=False)
        assert record["inputs"]["x"] == "nan"
        assert record["manifest"] is None


def test_a_stage_may_read_the_record_so_far() -> None:
    """An output can carry what it takes to make it again."""
    seen: list[Any] = []

    @stage("test.read", version=1)
    def read(x: int, *, context: StageContext) -> int:
        seen.append(json.loads(json.dumps(context.record())))
        return x

    g = single(read, x=int)
    run = g.run(x=5)
    assert (seen[0]["id"], seen[0]["status"], seen[0]["inputs"]) == (run.id, "running", {"x": 5})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (None, "None"),
        ("a", "'a'"),
        ("x" * 61, f"'{'x' * 57}'... (61 characters)"),
        ([1, 2], "list of 2"),
        ({}, "dict of 0"),
        (Shaped((2, 3)), "Shaped(2, 3)"),
        (Unprintable(), "Unprintable"),
        (Image("x" * 100), "Image"),
        (Image("x"), "Image(name='x')"),
    ],
)
def test_values_are_summed_up(value: Any, text: str) -> None:
    """In a few words; a shape, if it is one; never by failing."""
    assert summary(value) == text


def test_a_value_whose_shape_is_no_tuple_does_not_hide_a_failure() -> None:
    """The stage's own error is told, whatever its inputs look like."""

    @stage("test.shape", version=1)
    def shape(x: Any) -> int:
        raise ValueError("bad shape")

    error = failure(single(shape, x=Any), x=Shaped(3))
    assert str(error) == "node: error[stage_failed]: node (test.shape) failed: ValueError: bad shape"


@stage("test.folder", version=1)
def folder(x: str, *, context: StageContext) -> str:
    """The folder of the run."""
    return str(context.directory)


@stage("test.same", version=1)
def same(x: str) -> str:
    """Does not ask for the folder."""
    return x


def test_the_folder_of_a_run_is_made_when_a_stage_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default below runs/, named after graph and run; not made if no stage asks."""
    monkeypatch.chdir(tmp_path)
    single(same, x=str).run(x="a")
    assert not (tmp_path / "runs").exists()
    run = single(folder, x=str).run(x="a")
    assert run["y"] == f"runs/single-{run.id}"
    assert (tmp_path / run["y"]).is_dir()


def test_the_name_of_a_graph_cannot_lead_out_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slash in a name is a dash in a path."""
    monkeypatch.chdir(tmp_path)
    g = Graph("../../evil", registry=REGISTRY)
    g.output("y", g.add(folder, x=g.input("x", str)))
    run = g.run(x="a")
    assert run["y"] == f"runs/..-..-evil-{run.id}"


def test_the_folder_may_be_given(tmp_path: Path) -> None:
    """As a path, or as what makes it from the run's id; that is asked once, however many stages ask."""
    assert single(folder, x=str).run(x="a", directory=tmp_path / "a" / "b")["y"] == str(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    made: list[str] = []

    def make(id: str) -> Path:
        made.append(id)
        return tmp_path / f"{id}-{len(made)}"

    g = Graph("two", registry=REGISTRY)
    first = g.add(folder, name="first", x=g.input("x", str))
    g.output("first", first)
    g.output("second", g.add(folder, name="second", x=first))
    run = g.run(x="a", directory=make)
    assert made == [run.id]
    assert run["first"] == run["second"] == str(tmp_path / f"{run.id}-1")


def test_a_context_alone_serves_a_test() -> None:
    """Progress goes nowhere, nothing cancels, the folder is the current one."""
    context = StageContext()
    context.progress(1, 2)
    context.check_cancelled()
    assert (context.directory, context.record(), context.node) == (Path(), {}, "")


def test_the_same_seed_gives_the_same_numbers() -> None:
    """Everywhere, and others for another purpose or another seed."""

    @stage("test.dice", version=1)
    def dice(seed: int, *, purpose: str = param("video"), context: StageContext) -> float:
        return context.generator(seed, purpose).random()

    g = single(dice, seed=int)
    assert g.run(seed=1)["y"] == g.run(seed=1)["y"] != g.run(seed=2)["y"]
    assert single(dice.with_params(purpose="audio"), seed=int).run(seed=1)["y"] != g.run(seed=1)["y"]


@pytest.mark.parametrize(
    ("seed", "purpose", "value"),
    [
        (42, (), 8090418980664729730),
        (42, ("video",), 5105448622792388648),
        (0, ("video", "0"), 3915879040110721122),
        (-1, ("ä",), 813149305761252649),
    ],
)
def test_derived_seeds_are_golden(seed: int, purpose: tuple[str, ...], value: int) -> None:
    """The numbers that old runs were made with never change."""
    assert derive_seed(seed, *purpose) == value


@given(st.integers(), st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_derived_seeds_follow_the_documented_rule(seed: int, purpose: list[str]) -> None:
    """The first 63 bits of SHA-256 over the seed and the purposes, each with a NUL after it."""
    digest = hashlib.sha256()
    for part in [str(seed), *purpose]:
        digest.update(part.encode("utf-8"))
        digest.update(bytes([0]))
    number = 0
    for byte in digest.digest()[:8]:
        number = number * 256 + byte
    assert derive_seed(seed, *purpose) == number // 2 < 2**63
