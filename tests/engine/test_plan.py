"""Plans: what runs in which order, and when every value and part dies."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest

from stagegraph import Graph, outputs, stage
from stagegraph.errors import PlanError

from .fakes import REGISTRY, Encode, Film, Image, Join, Model, Paint, Split


def film_graph() -> Graph:
    """A clip taken apart and put together, and a picture that nobody needs."""
    g = Graph("fox", registry=REGISTRY)
    prompt = g.input("prompt", str)
    g.component("model", Model(path="here"))
    code = g.add(Encode(), name="first", text=prompt)
    film = g.add(Film(), prompt=code)
    g.add(Paint(), prompt=prompt)
    split = g.add(Split(), clip=film)
    join = g.add(Join(), image=split.image)
    again = g.add(Encode(), name="again", text=code)
    g.output("clip", join)
    g.output("code", code)
    g.output("again", again)
    return g


def test_a_plan_tells_all_that_will_happen() -> None:
    """As plain JSON: steps, params, values, loads, releases and drops."""
    data = film_graph().plan(["clip", "again"]).as_dict()
    json.dumps(data)
    assert data["outputs"] == {"clip": "join.output", "again": "again.output"}
    assert [(s["node"], s["inputs"], s["loads"], s["releases"], s["drops"]) for s in data["steps"]] == [
        ("first", {"text": "inputs.prompt"}, ["model.encoder"], [], ["inputs.prompt"]),
        ("film", {"prompt": "first.output"}, [], [], []),
        ("split", {"clip": "film.output"}, [], [], ["film.output"]),
        ("join", {"image": "split.image"}, [], [], ["split.image"]),
        ("again", {"text": "first.output"}, [], ["model.encoder"], ["first.output"]),
    ]
    assert data["steps"][0] == {
        "node": "first",
        "stage": "fake.encode@1",
        "params": {},
        "inputs": {"text": "inputs.prompt"},
        "lent": {"encoder": "model.encoder"},
        "loads": ["model.encoder"],
        "releases": [],
        "drops": ["inputs.prompt"],
    }


def test_a_plan_can_be_read() -> None:
    """As text: a line a step, and what it loads, releases and drops."""
    assert str(film_graph().plan(["clip"])) == (
        "fox: 4 steps for clip\n"
        "  1. first  fake.encode@1  <- inputs.prompt\n"
        "            loads model.encoder\n"
        "            releases model.encoder\n"
        "            drops inputs.prompt\n"
        "  2. film   fake.film@3  <- first.output\n"
        "            drops first.output\n"
        "  3. split  fake.split@1  <- film.output\n"
        "            drops film.output\n"
        "  4. join   fake.join@1  <- split.image\n"
        "            drops split.image"
    )


def test_params_of_a_plan_are_plain_data() -> None:
    """Values of params are written as a manifest would."""
    g = Graph("fox", registry=REGISTRY)
    g.output("image", g.add(Paint(sizes=[1, 2]), prompt=g.input("prompt", str)))
    assert g.plan().as_dict()["steps"][0]["params"] == {
        "frames": 9,
        "strength": 1.0,
        "style": "oil",
        "sizes": [1, 2],
    }


def test_only_what_an_output_needs_is_planned() -> None:
    """An output costs its own ancestors."""
    assert [step.node.name for step in film_graph().plan(["code"]).steps] == ["first"]
    assert [step.node.name for step in film_graph().plan().steps] == ["first", "film", "split", "join", "again"]


def test_an_output_nobody_makes_is_refused() -> None:
    """All unknown names at once, and none at all."""
    with pytest.raises(PlanError) as caught:
        film_graph().plan(["clp", "code", "sound"])
    assert str(caught.value) == (
        'error[unknown_output]: fox has no output "clp"\n'
        '  fix: did you mean "clip"?\n'
        'error[unknown_output]: fox has no output "sound"\n'
        "  fix: use one of: again, clip, code"
    )
    with pytest.raises(PlanError) as caught:
        film_graph().plan([])
    assert str(caught.value) == "error[unknown_output]: fox is asked for no output"
    with pytest.raises(PlanError) as caught:
        Graph("empty", registry=REGISTRY).plan()
    assert str(caught.value) == (
        "error[unknown_output]: empty is asked for no output\n  fix: declare one under outputs"
    )


def test_an_input_may_be_an_output() -> None:
    """A graph can hand a value through."""
    g = Graph("through", registry=REGISTRY)
    g.output("same", g.input("x", int))
    assert g.plan().as_dict()["steps"] == []
    assert g.run(x=3)["same"] == 3


class Value:
    """Something whose life can be watched."""


@outputs
class Two:
    """Two values."""

    left: Value
    right: Value


class Watch:
    """Stages over values, and which values were alive when each step began."""

    def __init__(self) -> None:
        self.made: dict[str, weakref.ref[Value]] = {}
        self.alive: dict[str, set[str]] = {}

    def look(self, node: str) -> None:
        """Note what is alive before a step begins."""
        gc.collect()
        self.alive[node] = {name for name, ref in self.made.items() if ref() is not None}

    def value(self, name: str) -> Value:
        """A value that is watched."""
        value = Value()
        self.made[name] = weakref.ref(value)
        return value


def test_values_die_after_their_last_reader() -> None:
    """Each value is gone when the step after its last reader begins; outputs stay; unread ones never count."""
    watch = Watch()

    @stage("test.make", version=1)
    def make() -> Two:
        return Two(watch.value("left"), watch.value("right"))

    @stage("test.both", version=1)
    def both(a: Value, b: Value) -> Value:
        return watch.value("both")

    @stage("test.last", version=1)
    def last(a: Value) -> Value:
        return watch.value("last")

    g = Graph("lives", registry=REGISTRY)
    source = g.add(make, name="make")
    twice = g.add(both, name="twice", a=source.left, b=source.left)  # read twice in one step
    kept = g.add(last, name="kept", a=twice)
    end = g.add(last, name="end", a=kept)
    g.output("kept", kept)
    g.output("end", end)

    def listen(event: Any) -> None:
        if type(event).__name__ == "NodeStarted":
            watch.look(event.node)
        if type(event).__name__ == "RunFinished":
            watch.look("finish")

    run = g.run(on_event=listen)
    assert watch.alive == {
        "make": set(),
        "twice": {"left"},
        "kept": {"both"},
        "end": {"last"},
        "finish": {"last"},
    }
    assert run["kept"] is not run["end"]
    del run
    gc.collect()
    assert all(ref() is None for ref in watch.made.values())


def test_nodes_without_outputs_run_only_if_something_needs_them() -> None:
    """A stage that gives nothing cannot be asked for, so it is not planned."""
    g = Graph("quiet", registry=REGISTRY)
    paint = g.add(Paint(), prompt=g.input("prompt", str))
    g.add("fake.show", image=paint)
    g.output("image", paint)
    assert [step.node.name for step in g.plan().steps] == ["paint"]
    assert g.run(prompt="a")["image"] == Image("a")
