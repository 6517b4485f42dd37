"""Sessions: what is carried, what overlaps, what an error leaves, snapshots."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import stagegraph as sg
from stagegraph import ContinuationState, Registry, Segment, Session, events, manifest
from stagegraph.continuation import ContinuationCodec
from stagegraph.errors import (
    Cancelled,
    ContinuationError,
    GraphError,
    InputError,
    PlanError,
    SessionError,
    StageError,
)

WAIT = 20.0
"""Seconds after which a test that waits for another thread has failed."""


@attrs.frozen
class Tally:
    """What is carried: a sum, and how often it grew."""

    total: int
    times: int = 0


def encode(value: Tally, blobs: Any) -> ContinuationState:
    """A tally as an envelope."""
    return ContinuationState("tests.tally", {"total": value.total, "times": value.times})


def decode(state: ContinuationState, blobs: Any) -> Tally:
    """And back."""
    if set(state.payload) != {"total", "times"}:
        raise ContinuationError(sg.errors.Fault("unknown_key", "no tally"))
    return Tally(**state.payload)


REGISTRY = Registry(
    types={**Registry.of().types, "tests.tally": Tally},
    continuations={"tests.tally": ContinuationCodec("tests.tally", Tally, encode, decode, lambda state: ())},
)


@sg.stage("sessions.grow", version=1)
def grow(number: int, tally: Tally | None = None) -> Tally:
    """Add a number."""
    if number < 0:
        raise ValueError("no negative numbers")
    tally = tally or Tally(0)
    return Tally(tally.total + number, tally.times + 1)


@sg.stage("sessions.total", version=1)
def total(tally: Tally) -> int:
    """The sum so far."""
    return tally.total


def tallying(grown: Any = grow) -> sg.Graph:
    """A graph that carries a tally."""
    g = sg.Graph("tallying", registry=REGISTRY)
    tally = g.add(grown, name="grow", number=g.input("number", int), tally=g.input("tally", Tally | None, None))
    g.output("total", g.add(total, name="total", tally=tally))
    g.output("tally", tally)
    g.carry("tally", "tally")
    return g


def test_what_an_output_left_is_what_the_input_takes_next() -> None:
    """Three segments; the first takes the default."""
    session = Session(tallying())
    segments = [session.extend(number=n) for n in (1, 2, 3)]
    assert [s["total"] for s in segments] == [1, 3, 6]
    assert [s.index for s in segments] == [0, 1, 2]
    assert session.carried == {"tally": Tally(6, 3)}


def test_a_stream_gives_what_extend_gives() -> None:
    """However far it looks ahead."""
    for ahead in (0, 1, 3):
        session = Session(tallying())
        assert [s["total"] for s in session.stream([5, 6, 7, 8], ahead=ahead)] == [5, 11, 18, 26]
        assert session.segments == 4


def test_what_is_carried_can_be_given_in_its_place() -> None:
    """In the first segment, and in any other."""
    session = Session(tallying())
    assert session.extend(number=1, tally=Tally(10))["total"] == 11
    items = [{"number": 1}, {"number": 1, "tally": None}, {"number": 1}]
    assert [s["total"] for s in session.stream(items)] == [12, 1, 2]


def test_what_is_carried_is_made_even_if_it_is_not_asked_for() -> None:
    """And inputs of the session go to every segment."""
    session = Session(tallying(), outputs=["total"], number=4)
    assert [session.extend()["total"], session.extend()["total"], session.extend(number=1)["total"]] == [4, 8, 9]


class Overlap:
    """A graph of three steps, of which the last of a segment and the first of the next meet."""

    def __init__(self, first: str, last: str) -> None:
        barrier = threading.Barrier(2, timeout=WAIT)
        self.log: list[str] = []
        met: list[int] = []

        @sg.stage("sessions.read", version=1, lane="cpu")
        def read(number: int) -> int:
            """Needs nothing of the segment before."""
            if number == 1 and first == "read":
                barrier.wait()
            self.log.append(f"read {number}")
            return number

        @sg.stage("sessions.step", version=1, lane="device")
        def step(number: int, state: int) -> int:
            """Needs the state."""
            if number == 1 and first == "step":
                barrier.wait()
            self.log.append(f"step {number}")
            return state + number

        @sg.stage("sessions.write", version=1, lane=last)  # type: ignore[arg-type]
        def write(number: int, state: int) -> int:
            """Needs the step; nothing carried needs it."""
            if not met and first != "none":
                met.append(1)
                barrier.wait()
            self.log.append(f"write {number}")
            return state

        g = sg.Graph("overlap")
        number, state = g.input("number", int), g.input("state", int, 0)
        stepped = g.add(step, name="step", number=g.add(read, name="read", number=number), state=state)
        g.output("state", stepped)
        g.output("written", g.add(write, name="write", number=number, state=stepped))
        g.carry("state", "state")
        self.graph = g


@pytest.mark.parametrize("first", ["read", "step"])
def test_a_segment_begins_while_the_one_before_is_written(first: str) -> None:
    """The last step of the first segment waits for a step of the second; serially they would wait for good."""
    overlap = Overlap(first, "cpu")
    session = Session(overlap.graph, lanes=sg.Lanes(cpu=2))
    assert [s["written"] for s in session.stream([0, 1, 2])] == [0, 1, 3]


def test_what_has_begun_goes_first() -> None:
    """One lane: the end of a segment is not put off by the beginning of the next."""
    overlap = Overlap("none", "device")
    session = Session(overlap.graph, lanes=sg.Lanes(cpu=1))
    assert [s["written"] for s in session.stream(range(4), ahead=3)] == [0, 1, 3, 6]
    device = [line for line in overlap.log if not line.startswith("read")]
    assert device == [f"{what} {i}" for i in range(4) for what in ("step", "write")]


def test_a_failed_segment_leaves_the_session_as_it_was() -> None:
    """It can be tried again; what comes after it in a stream is not made."""
    session = Session(tallying())
    session.extend(number=1)
    with pytest.raises(StageError, match="no negative numbers"):
        session.extend(number=-1)
    assert (session.segments, session.carried) == (1, {"tally": Tally(1, 1)})
    made = []
    with pytest.raises(StageError, match="no negative numbers"):
        made += [s["total"] for s in session.stream([1, -1, 1])]
    assert session.segments == 2
    assert session.extend(number=1)["total"] == 3


def test_bad_inputs_are_told_when_their_turn_comes() -> None:
    """Nothing of the segment runs."""
    session = Session(tallying())
    stream = session.stream([1, "two"])
    assert next(stream)["total"] == 1
    with pytest.raises(InputError, match="input number is int"):
        next(stream)


def test_whoever_stops_has_what_was_given() -> None:
    """The segment that was begun is dropped, and its stages see that they are not wanted."""
    begun, stopped = threading.Event(), []

    @sg.stage("sessions.linger", version=1)
    def linger(number: int, tally: Tally | None = None, *, context: sg.StageContext) -> Tally:
        """Wait to be cancelled in the second segment."""
        if number == 2:
            begun.set()
            try:
                for _ in range(int(WAIT * 100)):
                    context.check_cancelled()
                    threading.Event().wait(0.01)
            except Cancelled:
                stopped.append(number)
                raise
        return grow(number, tally)

    session = Session(tallying(linger))
    for segment in session.stream([1, 2, 3]):
        assert segment["total"] == 1
        assert begun.wait(WAIT)
        break
    assert stopped == [2]
    assert (session.segments, session.carried) == (1, {"tally": Tally(1, 1)})
    assert session.extend(number=5)["total"] == 6


def test_two_segments_at_once_are_refused() -> None:
    """A session is one line of segments."""
    session = Session(tallying())
    stream = session.stream([1, 2])
    next(stream)
    with pytest.raises(SessionError, match="making a segment") as caught:
        session.extend(number=1)
    assert caught.value.code == "session_busy"
    stream.close()
    assert session.extend(number=1)["total"] == 2


def test_a_carried_output_that_was_skipped_is_an_error() -> None:
    """The next segment is not given something else in its place."""
    h = sg.Graph("maybe", registry=REGISTRY)
    number, tally = h.input("number", int), h.input("tally", Tally | None, None)
    grown = h.add(grow, name="grow", number=number, tally=tally, when=h.input("go", bool, True))
    h.output("tally", grown)
    h.carry("tally", "tally")
    session = Session(h)
    session.extend(number=1)
    with pytest.raises(SessionError, match='the output "tally", which was not made'):
        session.extend(number=1, go=False)
    assert session.carried == {"tally": Tally(1, 1)}
    with pytest.raises(SessionError, match="was not made"):
        list(session.stream([{"number": 1, "go": False}, {"number": 1}]))


def test_events_of_segments_come_one_at_a_time() -> None:
    """Told apart by their run."""
    heard: list[events.Event] = []
    session = Session(tallying(), on_event=heard.append)
    runs = [segment.run.id for segment in session.stream([1, 2, 3])]
    for run in runs:
        mine = [e for e in heard if e.run == run]
        assert isinstance(mine[0], events.RunStarted)
        assert isinstance(mine[-1], events.RunFinished)


def test_each_segment_has_a_folder(tmp_path: Any) -> None:
    """By its number over the whole session."""

    @sg.stage("sessions.note", version=1)
    def note(number: int, *, context: sg.StageContext) -> int:
        """Write a file."""
        (context.directory / "note").write_text(str(number))
        return number

    g = sg.Graph("noting")
    g.output(
        "past",
        g.add(
            note,
            name="note",
            number=g.input("number", int),
        ),
    )
    g.input("before", int, 0)
    g.carry("before", "past")
    session = Session(g, directory=tmp_path)
    list(session.stream([7, 8]))
    session.extend(number=9)
    assert {p.parent.name: p.read_text() for p in tmp_path.glob("*/note")} == {
        "segment-0000": "7",
        "segment-0001": "8",
        "segment-0002": "9",
    }


# What cannot be a session


def test_a_graph_that_carries_nothing() -> None:
    """Says how it would."""
    g = sg.Graph("plain")
    g.output("y", g.add(total, name="total", tally=g.input("tally", Tally)))
    with pytest.raises(SessionError, match="carries nothing") as caught:
        Session(g)
    assert caught.value.code == "no_carry"


def test_carry_is_checked_when_the_graph_is_bound() -> None:
    """Names and types; all faults at once."""
    g = tallying()
    g.carry("number", "tally")
    g.carry("none", "tally")
    g.output("other", g.node("total"))
    g.input("fresh", int, 0)
    g.carry("fresh", "nothing")
    with pytest.raises(GraphError) as caught:
        g.bind()
    assert [fault.code for fault in caught.value.faults] == ["type_mismatch", "unknown_input", "unknown_output"]
    with pytest.raises(GraphError, match='already has the carried input "number"'):
        g.carry("number", "total")


MANIFEST = """\
stagegraph: 1
name: counted
inputs:
  number: {type: int}
  before: {type: int, default: 0}
nodes:
  add: {stage: sessions.add, inputs: {a: inputs.number, b: inputs.before}}
outputs: {sum: add}
carry: {before: outputs.sum}
"""


@sg.stage("sessions.add", version=1)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_manifests_carry() -> None:
    """And are written as they were read; a graph in Python writes the same."""
    read = manifest.loads(MANIFEST)
    graph = sg.Graph.from_manifest(read, Registry.of(add))
    assert [s["sum"] for s in Session(graph).stream([1, 2, 3])] == [1, 3, 6]
    assert manifest.dumps(read) == MANIFEST
    assert "carry:" in graph.dumps()
    assert manifest.loads(graph.dumps()).carry == {"before": "outputs.sum"}


@pytest.mark.parametrize(
    ("carry", "text"),
    [
        ("{bfore: outputs.sum}", 'no input "bfore"'),
        ("{before: outputs.som}", '"outputs.som" is not an output'),
        ("{before: add.output}", '"add.output" is not an output'),
    ],
)
def test_wrong_carry_in_a_manifest_has_its_place(carry: str, text: str) -> None:
    """File, line and column."""
    written = MANIFEST.replace("{before: outputs.sum}", carry)
    with pytest.raises(GraphError, match=text) as caught:
        sg.Graph.from_manifest(manifest.loads(written, "m.yaml"), Registry.of(add))
    assert str(caught.value.faults[0].location).startswith("m.yaml:9:")


def test_values_that_are_not_said_to_be_for_an_input() -> None:
    """Are for the only one that is open."""
    g = tallying()
    g.input("other", int)
    g.output("o", g.add(add, a=g.node("total"), b=g.input("other", int)))
    with pytest.raises(SessionError, match="2 inputs of tallying have no value: number, other"):
        list(Session(g).stream([1]))
    assert [s["o"] for s in Session(g, other=1).stream([1, 2])] == [2, 4]
    with pytest.raises(SessionError, match='no input "othr"'):
        Session(g, othr=1)
    with pytest.raises(PlanError):
        Session(g, outputs=["none"])


# Snapshots


def test_a_snapshot_goes_on_elsewhere() -> None:
    """Through JSON, and with the inputs of the session."""
    import json

    session = Session(tallying(), number=2)
    session.extend()
    state = json.dumps(session.snapshot()).encode()
    there = Session.hydrate(tallying(), state)
    assert there.segments == 1
    assert there.carried == session.carried
    assert there.inputs == {"number": 2}
    assert there.extend()["total"] == session.extend()["total"] == 4
    assert Session.hydrate(tallying(), there.snapshot()).extend(number=1).index == 2


def test_a_snapshot_before_the_first_segment() -> None:
    """Carries nothing yet."""
    there = Session.hydrate(tallying(), Session(tallying()).snapshot())
    assert there.extend(number=3)["total"] == 3


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda s: s.update(graph="other"), SessionError, "of another graph than tallying"),
        (lambda s: s.update(carried={}), SessionError, "carries nothing"),
        (lambda s: s.update(stagegraph_session=2), SessionError, "stagegraph_session"),
        (lambda s: s.update(stagegraph_session=True), SessionError, "stagegraph_session"),
        (lambda s: s.update(segments=-1), SessionError, "out of range"),
        (lambda s: s.update(segments=True), SessionError, "segments"),
        (lambda s: s.update(more=1), SessionError, "more"),
        (lambda s: s.pop("segments"), SessionError, "segments"),
        (lambda s: s.update(inputs={"nmber": 1}), SessionError, 'no input "nmber"'),
        (lambda s: s.update(carried={"tally": {"value": 3}}), InputError, "input tally"),
        (lambda s: s["carried"]["tally"]["state"].update(kind="tests.none"), SessionError, "no installed plugin reads"),
        (lambda s: s["carried"]["tally"]["state"].update(payload={}), ContinuationError, "no tally"),
        (lambda s: s["carried"]["tally"]["state"].update(kind=""), SessionError, "kind"),
    ],
)
def test_snapshots_that_are_none(change: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    """Are refused with a typed error; nothing is taken from them."""
    session = Session(tallying())
    session.extend(number=1)
    state = session.snapshot()
    change(state)
    with pytest.raises(error, match=text):
        Session.hydrate(tallying(), state)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"stagegraph_session": 1, "stagegraph_session": 1}', b"\xff", b"NaN"]
)
def test_texts_that_are_no_snapshot(data: bytes) -> None:
    """As any other."""
    with pytest.raises(SessionError):
        Session.hydrate(tallying(), data)


def test_what_a_snapshot_cannot_hold() -> None:
    """Says what registers it."""
    g = tallying()
    g._registry = Registry.of()
    session = Session(g)
    session.extend(number=1)
    with pytest.raises(SessionError, match="carried to tally is of a type that a snapshot cannot hold: Tally"):
        session.snapshot()


class Machine(RuleBasedStateMachine):
    """A session beside the sum that it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.session, self.total, self.times = Session(tallying()), 0, 0

    @rule(number=st.integers(0, 9))
    def extend(self, number: int) -> None:
        """One segment."""
        self.total, self.times = self.total + number, self.times + 1
        assert self.session.extend(number=number)["total"] == self.total

    @rule(numbers=st.lists(st.integers(0, 9), max_size=4), ahead=st.integers(0, 3), taken=st.integers(0, 4))
    def stream(self, numbers: list[int], ahead: int, taken: int) -> None:
        """Some segments, of which the consumer takes some."""
        stream: Iterator[Segment] = self.session.stream(numbers, ahead=ahead)
        for number, segment in zip(numbers[:taken], stream, strict=False):
            self.total, self.times = self.total + number, self.times + 1
            assert segment["total"] == self.total
        stream.close()  # type: ignore[attr-defined]

    @rule()
    def fail(self) -> None:
        """A segment that fails."""
        with pytest.raises(StageError):
            self.session.extend(number=-1)

    @rule()
    def move(self) -> None:
        """Go on in another session."""
        self.session = Session.hydrate(tallying(), self.session.snapshot())

    @invariant()
    def agrees(self) -> None:
        """What is carried is what was added."""
        expected = {"tally": Tally(self.total, self.times)} if self.times else {}
        assert (self.session.carried, self.session.segments) == (expected, self.times)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=15, stateful_step_count=10, deadline=None)


@given(st.lists(st.integers(0, 99), max_size=6), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_streams_add_up(numbers: list[int], ahead: int) -> None:
    """For any numbers and any depth."""
    got = [s["total"] for s in Session(tallying()).stream(numbers, ahead=ahead)]
    assert got == [sum(numbers[: i + 1]) for i in range(len(numbers))]
