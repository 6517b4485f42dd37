"""A stage is called with what its signature asks for, and a graph runs on fakes."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from stagegraph import Graph, Registry, StageContext, component, part, stage
from stagegraph.errors import Cancelled, GraphError
from stagegraph.testing import Example, fake_component, run_stage


@attrs.frozen
class Encoder:
    """What the model lends."""

    name: str


@component("kit.model", version=1)
class Model:
    """A model."""

    @part
    def encoder(self) -> Encoder:
        """Text to features."""
        return Encoder("real")


@stage("kit.encode", version=1)
class Encode:
    """Encode a text."""

    def run(self, text: str, *, encoder: Encoder, context: StageContext) -> str:
        """Name the encoder and the node."""
        context.progress(1, 2, "half")
        context.progress(2, 2)
        return f"{text} by {encoder.name} in {context.node} of {context.directory}"


def test_a_stage_is_lent_what_it_asks_for_and_its_progress_is_kept(tmp_path: Path) -> None:
    """A part of a component by type, or what is given in its place."""
    call = run_stage(Encode(), components=[Model()], directory=tmp_path, text="fox")
    assert call.result == f"fox by real in encode of {tmp_path}"
    assert [(e.node, e.done, e.total, e.message) for e in call.progress] == [
        ("encode", 1, 2, "half"),
        ("encode", 2, 2, ""),
    ]
    fake = run_stage(Encode(), lent={"encoder": Encoder("fake")}, components=[Model()], text="fox")
    assert fake.result == "fox by fake in encode of ."


def test_what_nothing_provides_is_told() -> None:
    """With the argument, its type and what to write."""
    with pytest.raises(GraphError) as caught:
        run_stage(Encode(), text="fox")
    assert str(caught.value) == (
        "error[missing_component]: kit.encode is lent encoder (Encoder), but nothing provides it\n"
        '  fix: give lent={"encoder": ...}, or a component that has such a part'
    )


def test_a_cancelled_stage_raises_where_it_looks() -> None:
    """As in a run that somebody has cancelled before."""
    with pytest.raises(Cancelled):
        run_stage(Encode(), components=[Model()], cancelled=True, text="fox")


def test_a_graph_runs_on_fakes() -> None:
    """In place of the real component, found by the same types; two fakes of one graph are two."""
    graph = Graph("fakes", registry=Registry.of(Encode, Model))
    graph.component("one", fake_component({Encoder: Encoder("first")}))
    graph.component("two", fake_component({Encoder: Encoder("second"), int: 3}))
    text = graph.input("text", str)
    for name in ("one", "two"):
        graph.output(name, graph.add(Encode(), name=f"encode_{name}", text=text, components={"encoder": name}))
    run = graph.run(text="fox", directory=Path())
    assert [run["one"].split()[2], run["two"].split()[2]] == ["first", "second"]


def test_inputs_of_an_example_may_be_made_for_each_run() -> None:
    """So that one run cannot spoil the next; components are loaded once a pool."""
    from stagegraph.pool import Pool

    pool = Pool()
    example = Example(Encode(), inputs=lambda: {"text": []}, components=[Model()], name="fox")
    (first, lent), (second, lent_again) = example.made(pool), example.made(pool)
    assert first["text"] is not second["text"]
    assert lent["encoder"] is lent_again["encoder"]
    assert str(example) == "kit.encode-fox"


@stage("kit.join", version=1)
def join(first: str, sign: str = "-", *others: str) -> str:
    """Join texts."""
    return sign.join([first, *others])


def test_a_variadic_input_is_given_a_list() -> None:
    """What comes before it keeps its default."""
    assert run_stage(join, first="a", others=["b", "c"]).result == "a-b-c"
    assert run_stage(join, first="a", sign="+", others=["b"]).result == "a+b"
    assert run_stage(join, first="a").result == "a"
