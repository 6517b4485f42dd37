"""Runs that keep outputs: what has not changed is not done again, in both executors; and nothing wrong is ever used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import stagegraph as sg
from stagegraph import Lanes, events, history
from stagegraph.artifacts import Codec, Codecs
from stagegraph.caching import Caching
from stagegraph.errors import ComponentError, Fault, StoreError
from stagegraph.store import Store
from stagegraph.store import runs as stored

CALLS: list[str] = []


@sg.stage("cached.shout", version=1)
class Shout:
    """Say it louder."""

    times: int = sg.param(default=1)

    def run(self, text: str) -> str:
        """Shout."""
        CALLS.append("shout")
        return text.upper() + "!" * self.times


@sg.stage("cached.join", version=1)
def join(*texts: str) -> str:
    """Join texts."""
    CALLS.append("join")
    return " ".join(texts)


@sg.stage("cached.save", version=1, cache=False)
def save(text: str) -> int:
    """Do something outside."""
    CALLS.append("save")
    return len(text)


@pytest.fixture(params=[None, Lanes(cpu=2)], ids=["serial", "threads"])
def lanes(request: pytest.FixtureRequest) -> Lanes | None:
    """Both executors."""
    return request.param


@pytest.fixture
def caching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caching]:
    """A store of the test's own."""
    monkeypatch.chdir(tmp_path)
    CALLS.clear()
    with Store(tmp_path / "store") as store:
        yield Caching(store, Codecs())


def graph(times: int = 1) -> sg.Graph:
    """Two texts are shouted, joined and saved."""
    g = sg.Graph("cached")
    a = g.add(Shout(times=times), name="a", text=g.input("a", str))
    b = g.add(Shout(), name="b", text=g.input("b", str))
    both = g.add(join, name="both", texts=[a, b, sg.constant("end")])
    g.output("text", both)
    g.output("length", g.add(save, name="save", text=both))
    return g


def calls() -> list[str]:
    """The stages that were called since the last look."""
    seen = sorted(CALLS)
    CALLS.clear()
    return seen


def test_a_second_run_calls_only_what_opts_out(caching: Caching, lanes: Lanes | None) -> None:
    """The outputs are the same; events tell what was reused."""
    first = graph().run(a="x", b="y", lanes=lanes, caching=caching)
    assert calls() == ["join", "save", "shout", "shout"]
    told: list[events.Event] = []
    second = graph().run(a="x", b="y", lanes=lanes, caching=caching, on_event=told.append)
    assert calls() == ["save"]
    assert dict(second.outputs) == dict(first.outputs) == {"text": "X! Y! end", "length": 9}
    assert {event.node for event in told if isinstance(event, events.NodeReused)} == {"a", "b", "both"}


def test_what_depends_on_a_change_runs_again_and_nothing_else(caching: Caching, lanes: Lanes | None) -> None:
    """An input, then a param."""
    graph().run(a="x", b="y", lanes=lanes, caching=caching)
    calls()
    assert graph().run(a="x", b="z", lanes=lanes, caching=caching)["text"] == "X! Z! end"
    assert calls() == ["join", "save", "shout"]
    assert graph(times=2).run(a="x", b="z", lanes=lanes, caching=caching)["text"] == "X!! Z! end"
    assert calls() == ["join", "save", "shout"]


def test_an_equal_output_of_other_nodes_is_the_same_value(caching: Caching) -> None:
    """Nodes are known by what they do, not by their names: the same stage with the same inputs runs once."""
    graph().run(a="x", b="y", caching=caching)
    calls()
    g = sg.Graph("another")
    g.output("text", g.add(Shout(), name="other", text=g.input("text", str)))
    assert g.run(text="x", caching=caching)["text"] == "X!"
    assert calls() == []


def test_mapped_nodes_are_kept_as_a_whole(caching: Caching, lanes: Lanes | None) -> None:
    """Lists come back as lists; another item makes another key."""
    g = sg.Graph("mapped")
    g.output("texts", g.add(Shout(), map=["text"], text=g.input("texts", list[str])))
    for expected in (["shout", "shout"], []):
        assert g.run(texts=["a", "b"], lanes=lanes, caching=caching)["texts"] == ["A!", "B!"]
        assert calls() == expected
    assert g.run(texts=["a"], lanes=lanes, caching=caching)["texts"] == ["A!"]
    assert calls() == ["shout"]


def test_damaged_outputs_are_made_again_with_a_warning(caching: Caching, tmp_path: Path) -> None:
    """Whatever stands in the files of the store, wrong bytes are never used."""

    @sg.stage("cached.bytes", version=1)
    def make(text: str) -> bytes:
        """Make bytes that are stored in a file."""
        CALLS.append("bytes")
        return text.encode() * 100_000

    g = sg.Graph("bytes")
    g.output("data", g.add(make, text=g.input("text", str)))
    first = g.run(text="abc", caching=caching)["data"]
    objects = [path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.stat().st_size == len(first)]
    assert objects
    for path in objects:
        path.chmod(0o644)
        path.write_bytes(b"x" * len(first))
    calls()
    assert g.run(text="abc", caching=caching)["data"] == first
    assert calls() == ["bytes"]


def big(caching: Caching) -> tuple[sg.Graph, Callable[[], list[Path]]]:
    """A chain of two stages whose outputs are files of the store, and the files that are there."""

    @sg.stage("cached.first", version=1)
    def first(text: str) -> bytes:
        """Make bytes."""
        CALLS.append("first")
        return text.encode() * 100_000

    @sg.stage("cached.second", version=1)
    def second(data: bytes) -> bytes:
        """Make other bytes."""
        CALLS.append("second")
        return data[::-1]

    g = sg.Graph("big")
    made = g.add(first, name="first", text=g.input("text", str))
    g.output("data", g.add(second, name="second", data=made))
    folder = caching.store.folder
    return g, lambda: [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == 300_000]


def test_what_feeds_a_kept_output_is_neither_read_nor_made_again(caching: Caching, lanes: Lanes | None) -> None:
    """Gone or damaged, it does not matter: nothing needs it."""
    g, files = big(caching)
    wanted = g.run(text="abc", caching=caching)["data"]
    calls()
    for path in files():
        if path.read_bytes() != wanted:
            path.unlink()
    told: list[events.Event] = []
    run = g.run(text="abc", caching=caching, lanes=lanes, on_event=told.append)
    assert run["data"] == wanted
    assert calls() == []
    assert [e.node for e in told if isinstance(e, events.NodeReused)] == ["first", "second"]
    rows = {row.node: (row.outcome, row.note) for row in stored.nodes(caching.store, run.id)}
    assert rows == {"first": ("reused", "nothing had to read it"), "second": ("reused", "")}


def test_a_run_begins_again_if_the_store_loses_what_it_promised(caching: Caching, lanes: Lanes | None) -> None:
    """The file goes between the look and the reading; what feeds it was left out, and is made after all."""
    g, files = big(caching)
    wanted = g.run(text="abc", caching=caching)["data"]
    calls()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.RunStarted):
            for path in files():
                path.unlink()

    run = g.run(text="abc", caching=caching, lanes=lanes, on_event=listen)
    assert run["data"] == wanted
    assert calls() == ["first", "second"]
    assert {row.node: row.outcome for row in stored.nodes(caching.store, run.id)} == {"first": "ran", "second": "ran"}


def test_a_condition_decides_at_run_time(caching: Caching, lanes: Lanes | None) -> None:
    """What a conditional node feeds is looked up when it is known whether the node ran."""

    @sg.stage("cached.long", version=1)
    def is_long(text: str) -> bool:
        """Whether it has more than two letters."""
        CALLS.append("long")
        return len(text) > 2

    g = sg.Graph("conditional")
    text = g.input("text", str)
    loud = g.add(Shout(), name="loud", text=text, when=g.add(is_long, text=text))
    g.output("text", g.add(join, texts=[text, loud]))
    for value, expected in (("abc", "abc ABC!"), ("ab", "ab"), ("abc", "abc ABC!"), ("ab", "ab")):
        assert g.run(text=value, lanes=lanes, caching=caching)["text"] == expected
    assert calls() == ["join", "join", "long", "long", "shout"]


def test_fresh_nodes_run_again_with_all_that_follow(caching: Caching, lanes: Lanes | None) -> None:
    """What comes before and beside them is taken from the store; the record says why they ran."""
    graph().run(a="x", b="y", lanes=lanes, caching=caching)
    calls()
    run = graph().run(a="x", b="y", lanes=lanes, caching=caching, fresh=["a"])
    assert calls() == ["join", "save", "shout"]
    told = history.explain(caching.store, run.id, "a")
    assert (told.outcome, told.why) == ("ran", "it was asked to run again")
    told = history.explain(caching.store, run.id, "both")
    assert (told.outcome, told.why) == ("ran", "it was asked to run again")


def test_a_fresh_node_does_not_go_on_at_a_checkpoint(caching: Caching) -> None:
    """It begins at the beginning."""
    g = sg.Graph("count")
    g.output("n", g.add(Count(), start=g.input("start", int)))
    with pytest.raises(sg.StagegraphError):
        g.run(start=10, caching=caching)
    assert calls() == ["1", "2", "3"]
    CALLS.append("3")
    assert g.run(start=10, caching=caching, fresh=["count"])["n"] == 15
    assert calls() == ["1", "2", "3", "3", "4", "5"]


class Refusing:
    """Whatever it is asked, the disk is full."""

    def __call__(self, *_: Any) -> Any:
        """Refuse."""
        raise StoreError(Fault("store_full", "the store failed: no space"))

    writing = reading = __call__


class FailingStore:
    """A store parts of which fail, as on a full disk."""

    def __init__(self, store: Store, *failing: str) -> None:
        self._store = store
        self.failing = set(failing)

    def __getattr__(self, name: str) -> Any:
        return Refusing() if name in self.failing else getattr(self._store, name)


def test_a_store_that_fails_costs_only_what_it_keeps(caching: Caching, lanes: Lanes | None) -> None:
    """The run has the same outputs, and one warning, not one a node; the next run finds what was kept."""
    failing = attrs.evolve(caching, store=FailingStore(caching.store))
    told: list[events.Event] = []

    def lose(event: events.Event) -> None:
        told.append(event)
        if isinstance(event, events.NodeFinished) and event.node == "both":
            failing.store.failing = {"put", "get", "index"}

    run = graph().run(a="x", b="y", lanes=lanes, caching=failing, on_event=lose)
    assert dict(run.outputs) == {"text": "X! Y! end", "length": 9}
    warnings = [event for event in told if isinstance(event, events.CacheWarning)]
    assert [[fault.code for fault in event.faults] for event in warnings] == [["store_full"]]
    assert type(told[-1]) is events.RunFinished
    assert stored.find(caching.store, run.id).status == "interrupted"
    calls()
    graph().run(a="x", b="y", lanes=lanes, caching=caching)
    assert calls() == ["save"]


class Weights:
    """What a component lends."""


@sg.component("cached.model", version=1)
class Model:
    """A component whose files have gone."""

    def fingerprint(self) -> str:
        """It cannot be told."""
        raise OSError("the disk was taken out")

    @sg.part
    def weights(self) -> Weights:
        """Weights."""
        return Weights()


@sg.stage("cached.weigh", version=1)
def weigh(text: str, *, weights: Weights) -> str:
    """Use them."""
    CALLS.append("weigh")
    return text


def test_weights_whose_identity_cannot_be_told_end_the_run_before_it_calls_anything(
    caching: Caching, lanes: Lanes | None
) -> None:
    """With a typed error, and without leaving the run behind as if it went on."""
    g = sg.Graph("weights")
    g.component("model", Model())
    g.output("text", g.add(weigh, text=g.input("text", str)))
    with pytest.raises(ComponentError) as caught:
        g.run(text="x", lanes=lanes, caching=caching)
    assert str(caught.value) == (
        "error[component_failed]: the fingerprint of cached.model cannot be told: OSError: the disk was taken out"
    )
    assert calls() == []
    assert [row.status for row in stored.recent(caching.store)] in ([], ["failed"])


class Ring:
    """A value whose codec has a bug."""


@sg.stage("cached.ring", version=1)
def make_ring(text: str) -> Ring:
    """Make one."""
    CALLS.append("ring")
    return Ring()


@sg.stage("cached.look", version=1)
def look(ring: Ring) -> str:
    """Look at it."""
    CALLS.append("look")
    return "a ring"


@pytest.mark.parametrize("broken", ["encode", "decode"])
def test_a_codec_that_fails_costs_only_what_it_keeps(
    caching: Caching, lanes: Lanes | None, broken: str, tmp_path: Path
) -> None:
    """The run goes on; what it could not write or read is made again."""

    def fail(_: object) -> Any:
        raise ZeroDivisionError("a bug")

    functions = {"encode": lambda ring: [b"ring"], "decode": lambda data: Ring(), broken: fail}
    codec = Codec("cached.ring", Ring, 1, "application/x-ring", **functions)
    caching = attrs.evolve(caching, codecs=Codecs([codec]))
    g = sg.Graph("rings")
    g.output("ring", g.add(make_ring, name="ring", text=g.input("text", str)))
    g.output("seen", g.add(look, ring=g.node("ring")))
    for expected in (["look", "ring"], ["ring"]):
        assert g.run(text="x", lanes=lanes, caching=caching)["seen"] == "a ring"
        assert calls() == expected


class Forgetful:
    """A store that has everything until somebody asks for it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def has(self, name: str) -> bool:
        """It was there a moment ago."""
        return True

    def get(self, name: str) -> None:
        """It has just been removed."""


def test_a_store_that_loses_everything_does_not_keep_a_run_from_its_end(caching: Caching, lanes: Lanes | None) -> None:
    """It begins again a few times, and then does without looking ahead."""
    forgetful = attrs.evolve(caching, store=Forgetful(caching.store), recorded=False)
    assert graph().run(a="x", b="y", lanes=lanes, caching=forgetful)["text"] == "X! Y! end"


def test_a_checkpoint_that_cannot_be_read_is_a_warning(caching: Caching, lanes: Lanes | None) -> None:
    """The stage starts from the beginning."""
    g = sg.Graph("count")
    g.output("n", g.add(Count(), start=g.input("start", int)))
    with pytest.raises(sg.StagegraphError):
        g.run(start=10, lanes=lanes, caching=caching)
    told: list[events.Event] = []
    failing = attrs.evolve(caching, store=FailingStore(caching.store, "get"))
    CALLS.append("3")
    assert g.run(start=10, lanes=lanes, caching=failing, on_event=told.append)["n"] == 15
    assert [type(event) for event in told].count(events.CacheWarning) == 1


def test_a_run_that_cannot_be_recorded_is_told_before_anything_runs(
    caching: Caching, lanes: Lanes | None, tmp_path: Path
) -> None:
    """Its events would stand in a folder of the store; a run that may do without goes on, with a warning."""
    folder = tmp_path / "store" / "runs"
    folder.touch()
    with pytest.raises(StoreError) as caught:
        graph().run(a="x", b="y", lanes=lanes, caching=caching)
    assert caught.value.code == "store_failed"
    assert str(folder) in str(caught.value)
    assert calls() == []
    told: list[events.Event] = []
    optional = attrs.evolve(caching, optional=True)
    assert graph().run(a="x", b="y", lanes=lanes, caching=optional, on_event=told.append)["text"] == "X! Y! end"
    (warning,) = (event for event in told if isinstance(event, events.CacheWarning))
    assert warning.faults[0].code == "store_failed"


def test_the_folder_that_stages_write_to_is_made_when_one_asks(
    caching: Caching, lanes: Lanes | None, tmp_path: Path
) -> None:
    """And not to record the run."""
    graph().run(a="x", b="y", lanes=lanes, caching=caching, directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert stored.recent(caching.store, 1)[0].folder == tmp_path / "run"


@pytest.mark.parametrize("event", [events.RunStarted, events.NodeFinished, events.RunFinished])
def test_a_listener_that_raises_ends_the_run_and_lets_go_of_it(
    caching: Caching, lanes: Lanes | None, event: type[events.Event]
) -> None:
    """Whenever it raises, its error is raised; the run has failed, or has finished, and can be taken up."""

    def listen(told: events.Event) -> None:
        if isinstance(told, event):
            raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        graph().run(a="x", b="y", lanes=lanes, caching=caching, on_event=listen)
    row = stored.recent(caching.store, 1)[0]
    assert row.status == ("finished" if event is events.RunFinished else "failed")
    stored.load(caching.store, caching.codecs, row.id).take_up().close()


def test_runs_are_recorded_with_their_nodes(caching: Caching, lanes: Lanes | None) -> None:
    """What ran, what was reused, how it ended; also of a run that failed."""
    graph().run(a="x", b="y", lanes=lanes, caching=caching)
    second = graph().run(a="x", b="y", lanes=lanes, caching=caching)
    assert {row.node: row.outcome for row in stored.nodes(caching.store, second.id)} == {
        "a": "reused",
        "b": "reused",
        "both": "reused",
        "save": "ran",
    }
    assert stored.find(caching.store, second.id).status == "finished"

    @sg.stage("cached.fail", version=1)
    def fail(text: str) -> str:
        """Fail."""
        raise ValueError("no")

    g = sg.Graph("failing")
    g.output("text", g.add(fail, text=g.input("text", str)))
    with pytest.raises(sg.StagegraphError):
        g.run(text="x", lanes=lanes, caching=caching)
    assert stored.recent(caching.store, 1)[0].status == "failed"


@sg.stage("cached.count", version=1)
class Count:
    """Count up, keeping how far it came."""

    to: int = sg.param(default=5)

    def run(self, start: int, *, context: sg.StageContext) -> int:
        """Count; the third step fails the first time."""
        done, value = context.restored() or (0, start)
        for step in range(done + 1, self.to + 1):
            CALLS.append(str(step))
            if step == 3 and CALLS.count("3") == 1:
                raise ValueError("the power went out")
            value += 1
            context.checkpoint(step, value)
        return value


def test_a_stage_goes_on_at_its_last_checkpoint(caching: Caching, lanes: Lanes | None) -> None:
    """Steps before it are not done again; when the stage has ended the checkpoint is gone."""
    g = sg.Graph("count")
    g.output("n", g.add(Count(), start=g.input("start", int)))
    with pytest.raises(sg.StagegraphError):
        g.run(start=10, lanes=lanes, caching=caching)
    assert calls() == ["1", "2", "3"]
    CALLS.append("3")
    assert g.run(start=10, lanes=lanes, caching=caching)["n"] == 15
    assert calls() == ["3", "3", "4", "5"]
    CALLS.append("3")
    assert g.run(start=20, lanes=lanes, caching=caching)["n"] == 25
    assert calls() == ["1", "2", "3", "3", "4", "5"]


def test_without_a_store_checkpoints_cost_nothing(lanes: Lanes | None) -> None:
    """Nothing is kept, and every run starts from the beginning."""
    CALLS[:] = ["3"]
    g = sg.Graph("count")
    g.output("n", g.add(Count(to=2), start=g.input("start", int)))
    assert g.run(start=0, lanes=lanes)["n"] == 2
    assert g.run(start=0, lanes=lanes)["n"] == 2
    assert calls() == ["1", "1", "2", "2", "3"]
