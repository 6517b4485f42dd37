"""Heavy things are loaded once, lent, and released after their last use."""

from __future__ import annotations

import gc
import weakref

import attrs
import pytest

from stagegraph import Graph, Pool, Registry, component, param, part, stage
from stagegraph.components import component_spec_of, faults_of, fingerprint_of
from stagegraph.errors import ComponentError, Fault, GraphError
from stagegraph.events import ComponentLoaded, ComponentLoading, ComponentReleased, Event, NodeStarted

from .fakes import Encoder, Model, OtherModel


class Weights:
    """Something heavy."""


class Bias:
    """Something light."""


LOADS: list[str] = []


@pytest.fixture(autouse=True)
def loads() -> list[str]:
    """What was loaded, in order."""
    LOADS.clear()
    return LOADS


@component("test.net", version=1)
class Net:
    """A component that tells when it loads."""

    path: str = param("a")
    loras: list[str] = param(factory=list)

    @part
    def weights(self) -> Weights:
        """Heavy."""
        LOADS.append(f"weights {self.path}{self.loras}")
        return Weights()

    @part
    def bias(self) -> Bias:
        """Light."""
        LOADS.append(f"bias {self.path}")
        return Bias()


@component("test.broken", version=1)
class Broken:
    """A component whose weights are not there."""

    error: str = param("FileNotFoundError")

    @part
    def weights(self) -> Weights:
        """Fails."""
        if self.error == "ComponentError":
            raise ComponentError(
                Fault("test.weights", "the weights are for another model", fix="download the right ones")
            )
        raise FileNotFoundError("no weights.safetensors")


@stage("test.use", version=1)
def use(x: int, *, weights: Weights) -> int:
    """Use the heavy part."""
    return x + 1


@stage("test.use_both", version=1)
def use_both(x: int, *, weights: Weights, bias: Bias) -> int:
    """Use both parts."""
    return x + 1


REGISTRY = Registry.of(Net, Broken, use, use_both)


def graph_of(*stages: object, net: object | None = None) -> Graph:
    """A chain of stages over one component."""
    g = Graph("nets", registry=REGISTRY)
    g.component("net", net or Net())
    wire = g.input("x", int)
    for number, each in enumerate(stages):
        wire = g.add(each, name=f"n{number}", x=wire).output
    g.output("y", wire)
    return g


def test_a_component_declares_its_parts() -> None:
    """Each method marked `part` lends what its return type says."""
    spec = component_spec_of(Net)
    assert (spec.kind, spec.version, spec.summary) == ("test.net", 1, "A component that tells when it loads.")
    assert {name: (p.type, p.summary) for name, p in spec.parts.items()} == {
        "weights": (Weights, "Heavy."),
        "bias": (Bias, "Light."),
    }
    assert list(spec.params) == ["path", "loras"]
    assert component_spec_of(OtherModel()).version == 2


def test_a_part_is_loaded_at_its_first_use_and_released_after_its_last() -> None:
    """Three steps share the weights; the bias lives for one step only."""
    events: list[Event] = []
    graph_of(use, use_both, use).run(x=1, on_event=events.append)
    told = [e for e in events if isinstance(e, (ComponentLoading, ComponentLoaded, ComponentReleased, NodeStarted))]
    assert [(type(e).__name__, getattr(e, "node", None) or getattr(e, "part", None)) for e in told] == [
        ("ComponentLoading", "weights"),
        ("ComponentLoaded", "weights"),
        ("NodeStarted", "n0"),
        ("ComponentLoading", "bias"),
        ("ComponentLoaded", "bias"),
        ("NodeStarted", "n1"),
        ("ComponentReleased", "bias"),
        ("NodeStarted", "n2"),
        ("ComponentReleased", "weights"),
    ]
    assert LOADS == ["weights a[]", "bias a"]


def test_a_released_part_is_gone() -> None:
    """After its last use nothing of the engine holds a part, while the run goes on."""
    alive: list[bool] = []
    held: list[weakref.ref[Weights]] = []

    @stage("test.watch", version=1)
    def watch(x: int, *, weights: Weights) -> int:
        """Remember the weights weakly."""
        held.append(weakref.ref(weights))
        return x

    @stage("test.look", version=1)
    def look(x: int) -> int:
        """See whether they are there."""
        gc.collect()
        alive.append(held[0]() is not None)
        return x

    g = Graph("gone", registry=Registry.of(Net))
    g.component("net", Net())
    g.output("y", g.add(look, x=g.add(watch, x=g.input("x", int))))
    g.run(x=1)
    assert alive == [False]


def test_a_pool_outlives_runs() -> None:
    """Two runs with one pool load once; nothing is released."""
    pool = Pool()
    events: list[Event] = []
    g = graph_of(use_both, use)
    g.run(x=1, pool=pool, on_event=events.append)
    g.run(x=2, pool=pool, on_event=events.append)
    assert LOADS == ["weights a[]", "bias a"]
    assert not [e for e in events if isinstance(e, ComponentReleased)]
    assert len(pool) == 2
    pool.release(Net(), "bias")
    assert len(pool) == 1


def test_a_pool_knows_components_by_value() -> None:
    """Equal settings are one component in two graphs; other settings are another."""
    pool = Pool()
    assert pool.lend(Net(path="a"), "weights") is pool.lend(Net(path="a"), "weights")
    assert pool.lend(Net(path="a", loras=["x"]), "weights") is pool.lend(Net(path="a", loras=["x"]), "weights")
    assert pool.lend(Net(path="b"), "weights") is not pool.lend(Net(path="a"), "weights")
    assert LOADS == ["weights a[]", "weights a['x']", "weights b[]"]


def test_without_a_pool_every_run_loads() -> None:
    """Nothing stays behind when no pool was given."""
    g = graph_of(use)
    g.run(x=1)
    g.run(x=1)
    assert LOADS == ["weights a[]", "weights a[]"]


def test_a_loader_that_fails_is_named_and_chained() -> None:
    """The error says which part of which component, and carries what the loader raised."""
    with pytest.raises(ComponentError) as caught:
        graph_of(use, net=Broken()).run(x=1)
    assert str(caught.value) == (
        "components.net: error[component_failed]: weights of component net (test.broken) could not be loaded: "
        "FileNotFoundError: no weights.safetensors"
    )
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert caught.value.exit_code == 3


def test_a_loader_may_raise_errors_of_its_own() -> None:
    """What is an error of the engine's kind already passes as it is."""
    with pytest.raises(ComponentError) as caught:
        graph_of(use, net=Broken(error="ComponentError")).run(x=1)
    assert str(caught.value) == (
        "error[test.weights]: the weights are for another model\n  fix: download the right ones"
    )


def test_components_are_checked_before_anything_runs() -> None:
    """What a component's own check finds about the parts that are needed stops the run; nothing is loaded."""

    @component("test.checked", version=1)
    class Checked:
        """A component that looks before it loads."""

        @part
        def weights(self) -> Weights:
            LOADS.append("weights")
            return Weights()

        @part
        def bias(self) -> Bias:
            LOADS.append("bias")
            return Bias()

        def check(self, parts: frozenset[str]) -> list[Fault]:
            return [Fault("test.missing", f"{name} is missing") for name in sorted(parts)]

    with pytest.raises(ComponentError) as caught:
        graph_of(use, net=Checked()).run(x=1)
    assert str(caught.value) == "components.net: error[test.missing]: weights is missing"
    assert LOADS == []
    assert [f.what for f in faults_of(Checked(), ["bias", "weights"])] == ["bias is missing", "weights is missing"]
    assert faults_of(Net(), ["weights"]) == []


def test_a_component_may_have_a_fingerprint() -> None:
    """The identity of what would be loaded; empty if the component does not say."""

    @component("test.finger", version=1)
    class Finger:
        """A component that knows its weights."""

        @part
        def weights(self) -> Weights:
            return Weights()

        def fingerprint(self) -> str:
            return "abc"

    assert fingerprint_of(Finger()) == "abc"
    assert fingerprint_of(Net()) == ""
    assert graph_of(use, net=Finger()).run(x=1).record.components == {"net": "abc"}
    assert graph_of(use).run(x=1).record.components == {"net": "test.net"}


def test_a_component_needs_parts_with_types() -> None:
    """A class that lends nothing, or does not say what, is refused when it is defined."""

    def empty() -> None:
        @component("test.empty", version=1)
        class Empty:
            pass

    def untyped() -> None:
        @component("test.untyped", version=1)
        class Untyped:
            @part
            def weights(self):  # type: ignore[no-untyped-def]
                return Weights()

    with pytest.raises(GraphError) as caught:
        empty()
    assert str(caught.value) == (
        "error[invalid_stage]: component test.empty has no parts\n  fix: mark its loaders with @part"
    )
    with pytest.raises(GraphError) as caught:
        untyped()
    assert str(caught.value) == (
        "error[invalid_stage]: component test.untyped: part weights has no return type\n"
        "  fix: annotate it: the type says what is lent"
    )


def test_what_is_not_a_component_has_no_spec() -> None:
    """The error says how to make it one; a subclass of a component is none either."""

    class Sub(Model):
        pass

    for thing in (Encoder("x"), Sub(path="x")):
        with pytest.raises(GraphError) as caught:
            component_spec_of(thing)
        assert str(caught.value) == (
            f"error[invalid_stage]: {thing!r} is not a component\n"
            '  fix: decorate its class with @component("...", version=1)'
        )


def test_types_of_the_enclosing_function_are_found() -> None:
    """Parts and params may have types that exist only where the component is defined."""

    @attrs.frozen
    class Local:
        size: int = 0

    @component("test.local", version=1)
    class Holder:
        local: Local = param(factory=Local)

        @part
        def it(self) -> Local:
            return self.local

    assert component_spec_of(Holder).parts["it"].type is Local
    assert component_spec_of(Holder).params["local"].type is Local
    assert Pool().lend(Holder(), "it") == Local()
