"""Components that hold others, and parts that are laid over parts: one thing in memory, in one form at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

import stagegraph as sg
from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph import record as records
from stagegraph.artifacts import Codecs
from stagegraph.cli.ranks import spread
from stagegraph.components import component_spec_of, exchanged
from stagegraph.errors import ComponentError, GraphError
from stagegraph.graph import build, to_drafts, to_manifest
from stagegraph.keys import KeyMaker
from stagegraph.memory import Estimate
from stagegraph.preflight import examine
from stagegraph.schema.types import schema
from stagegraph.views.cards import param_texts

WAIT = 20.0
"""Seconds after which a test that waits for another thread has failed."""
LOG: list[str] = []


@pytest.fixture(autouse=True)
def log() -> list[str]:
    """What was loaded and changed, in order."""
    LOG.clear()
    return LOG


@attrs.define
class Engine:
    """A part that remembers what was done to it."""

    number: int
    laid: list[str] = attrs.field(factory=list)


@sg.component("laid.model", version=1)
class Model:
    """An engine of 40 bytes."""

    path: str = sg.param(default="a")
    nproc: int = sg.param(default=1)

    @sg.part
    def engine(self) -> Engine:
        """The engine."""
        LOG.append(f"load {self.path}")
        return Engine(len(LOG))

    def fingerprint(self) -> str:
        """The last letter of the path."""
        return self.path[-1]

    def placement(self) -> Mapping[str, str]:
        """The same for all."""
        return {}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """Its size."""
        return {"bytes": 40}

    def offload(self, part: str, value: Engine) -> Engine:
        """Move it out."""
        LOG.append("offload")
        return value

    def restore(self, part: str, kept: Engine) -> Engine:
        """Bring it back."""
        LOG.append("restore")
        return kept


@sg.component("laid.style", version=1)
class Style:
    """A model in another style."""

    base: Model = sg.param(help="What it is laid over.")
    name: str = sg.param(default="style")
    failing: str = sg.param(default="")

    @sg.part
    def engine(self, base: Engine, *, keep: bool) -> Engine:
        """The engine, in this style."""
        LOG.append(f"lay {self.name}{'' if keep else ' for good'}")
        base.laid.append(self.name)
        if self.failing == "lay":
            raise OSError("the disk is gone")
        return base

    def lift(self, part: str, value: Engine) -> None:
        """Without it."""
        LOG.append(f"lift {self.name}")
        if self.failing == "lift":
            raise OSError("the disk is gone")
        value.laid.remove(self.name)

    def fingerprint(self) -> str:
        """Of both."""
        return f"{self.base.fingerprint()}+{self.name}"

    def placement(self) -> Mapping[str, str]:
        """That of the model."""
        return self.base.placement()

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """The size of the model."""
        return self.base.part_facts(part)


@sg.component("laid.other", version=1)
class Other:
    """Another kind of component."""

    @sg.part
    def word(self) -> str:
        """A word."""
        return "word"


@sg.stage("laid.use", version=1)
class Use:
    """Use the engine."""

    def run(self, x: str, *, engine: Engine) -> str:
        """Say what was done to it."""
        LOG.append("use")
        return f"{x} {'+'.join(engine.laid) or 'plain'}"


@sg.stage("laid.compare", version=1)
class Compare:
    """Use two engines."""

    def run(self, *, one: Engine, two: Engine) -> bool:
        """Whether they are one."""
        return one is two


REGISTRY = sg.Registry.of(Model, Style, Other, Use, Compare)


def chain(*lent: str, model: Model | None = None, residency: Any = None, **styles: Style) -> sg.Graph:
    """Nodes one after another, each lent the component of a name."""
    g = sg.Graph("laid", registry=REGISTRY)
    g.component("model", model or Model(), residency=residency)
    for name, style in styles.items():
        g.component(name, style)
    wire: Any = g.input("x", str, "")
    for number, name in enumerate(lent):
        wire = g.add(Use(), name=f"n{number}", components={"engine": name} if name else {}, x=wire)
    g.output("said", wire)
    return g


def styled(**params: Any) -> Style:
    return Style(base=Model(), **params)


def told(g: sg.Graph, **how: Any) -> str:
    """What the nodes say."""
    return str(g.run(**how)["said"]).strip()


def test_nodes_that_name_no_component_are_lent_what_is_not_changed(log: list[str]) -> None:
    """A style is lent to those that name it, and to no other; it is loaded once for both."""
    assert told(chain("", "style", style=styled())) == "plain style"
    assert log == ["load a", "use", "lay style for good", "use"]


def test_a_style_cannot_leak_into_what_it_is_laid_over(log: list[str]) -> None:
    """It is lifted before anybody is lent the plain thing, and laid once for all that follow each other."""
    assert told(chain("model", "style", "style", "model", style=styled())) == "plain style style plain"
    assert log == ["load a", "use", "lay style", "use", "use", "lift style", "use"]


def test_styles_follow_each_other(log: list[str]) -> None:
    """Each over the plain thing, not over the one before."""
    g = chain("bold", "thin", "", bold=styled(name="bold"), thin=styled(name="thin"))
    assert told(g) == "bold thin plain"
    assert log == ["load a", "lay bold", "use", "lift bold", "lay thin", "use", "lift thin", "use"]


def test_what_nobody_waits_for_is_not_kept_and_comes_back_by_being_loaded_again(log: list[str]) -> None:
    """In a pool in which nothing is left, a later run finds the thing loaded anew."""
    pool = sg.Pool()
    g = chain("", "style", style=styled(), residency="release-after-last-use")
    assert (told(g, pool=pool), told(g, pool=pool)) == ("plain style", "plain style")
    assert log == ["load a", "use", "lay style for good", "use", "load a", "use", "lay style for good", "use"]


def test_what_is_left_in_a_pool_can_be_had_again(log: list[str]) -> None:
    """The next run lifts what this one laid."""
    pool = sg.Pool()
    g = chain("", "style", style=styled())
    assert (told(g, pool=pool), told(g, pool=pool)) == ("plain style", "plain style")
    assert log == ["load a", "use", "lay style", "use", "lift style", "use", "lay style", "use"]
    assert len(pool) == 1


def test_what_is_laid_goes_with_its_last_use(log: list[str]) -> None:
    """Memory holds nothing after the run; events tell of one thing that was released, by the name of its last user."""
    told_of: list[str] = []

    def hear(event: object) -> None:
        if type(event).__name__.startswith("Component"):
            told_of.append(f"{type(event).__name__} {event.component}")  # type: ignore[attr-defined]

    told(chain("", "style", style=styled()), on_event=hear)
    assert told_of == [
        "ComponentLoading model",
        "ComponentLoaded model",
        "ComponentLoading style",
        "ComponentLoaded style",
        "ComponentReleased style",
    ]


def test_what_was_moved_away_comes_back_before_it_is_changed(log: list[str]) -> None:
    """And is not moved away while it is changed."""
    g = chain("model", residency="offload", style=styled())
    g.component("apart", Model(path="b"))
    between = g.add(Use(), name="between", components={"engine": "apart"}, x=g.input("y", str, ""))
    g.output("last", g.add(Use(), name="last", components={"engine": "style"}, x=between))
    assert str(g.run()["last"]) == " plain style"
    assert log == ["load a", "use", "offload", "load b", "use", "restore", "lay style for good", "use"]


@pytest.mark.parametrize("later", [True, False])
def test_what_is_laid_is_lifted_before_it_is_moved_away(log: list[str], later: bool) -> None:
    """If somebody comes for the plain thing; if nobody does, it goes, and memory is free all the same."""
    g = sg.Graph("laid", registry=REGISTRY)
    g.component("model", Model())
    g.component("style", styled(), residency="offload")
    g.component("apart", Model(path="b"))
    wire = g.add(Use(), name="n0", components={"engine": "model"}, x=g.input("x", str, ""))
    for number, name in enumerate(("style", "apart", "style", *(["model"] if later else []))):
        wire = g.add(Use(), name=f"m{number}", components={"engine": name}, x=wire)
    g.output("said", wire)
    assert told(g) == "plain style plain style" + " plain" * later
    kept = [
        "lay style",
        "use",
        "lift style",
        "offload",
        "load b",
        "use",
        "restore",
        "lay style",
        "use",
        "lift style",
        "use",
    ]
    gone = ["lay style for good", "use", "load b", "use", "load a", "lay style for good", "use"]
    assert log == ["load a", "use", *(kept if later else gone)]


@pytest.mark.parametrize("failing", ["lay", "lift"])
def test_what_fails_half_way_is_never_lent(log: list[str], failing: str) -> None:
    """Who wants the thing afterwards finds it loaded anew."""
    pool = sg.Pool()
    style, model = styled(failing=failing), Model()
    claim = pool.claim(model, "engine", resident=True)
    with claim.borrowed("model"):
        pass
    what = "engine of component style (laid.style) could not be loaded: OSError: the disk is gone"
    if failing == "lay":
        with pytest.raises(ComponentError) as caught, pool.claim(style, "engine").borrowed("style"):
            pass
    else:
        with pool.claim(style, "engine").borrowed("style"):
            pass
        with pytest.raises(ComponentError) as caught, claim.borrowed("model"):
            pass
        what = what.replace("style (laid.style)", "model (laid.model)")
    assert caught.value.faults[0].what == what
    with claim.borrowed("model") as engine:
        assert engine.laid == []
    assert log.count("load a") == 2


def test_nobody_is_lent_the_one_while_somebody_has_the_other() -> None:
    """Another thread waits until it is done; two that want the same form do not wait for each other."""
    pool, seen = sg.Pool(), threading.Event()
    plain, style = pool.claim(Model(), "engine"), pool.claim(styled(), "engine")
    got: list[list[str]] = []

    def borrow() -> None:
        with style.borrowed() as engine:
            got.append(list(engine.laid))
            seen.set()

    with plain.borrowed() as engine, plain.borrowed() as same:
        assert engine is same
        thread = threading.Thread(target=borrow)
        thread.start()
        assert not seen.wait(0.05)
        assert engine.laid == []
    assert seen.wait(WAIT)
    thread.join(WAIT)
    assert got == [["style"]]


def test_two_paths_to_one_model_are_one_thing_also_beneath_a_style(log: list[str]) -> None:
    """They are known by the identity of what they load."""
    pool = sg.Pool()
    with pool.claim(Model(path="a"), "engine").borrowed() as one:
        pass
    with pool.claim(Style(base=Model(path="./a")), "engine").borrowed() as other:
        assert other is one
    assert log == ["load a", "lay style"]


def test_memory_counts_it_once_and_until_its_last_form_goes() -> None:
    """The plan releases nothing between the plain pass and the other."""
    plan = plans.make(chain("", "style", "", style=styled()).bind())
    assert [[str(ref) for ref in step.loads] for step in plan.steps] == [["model.engine"], ["style.engine"], []]
    assert [[str(ref) for ref in step.releases] for step in plan.steps] == [[], [], ["model.engine"]]
    assert [step.held for step in Estimate(plan).steps] == [40, 40, 40]


TEXT = """\
stagegraph: 1
name: laid
inputs: {x: {type: str, default: ""}}
components:
  style: {kind: laid.style, params: {base: model}}
  model: {kind: laid.model}
nodes:
  n0: {stage: laid.use, inputs: {x: inputs.x}}
  n1: {stage: laid.use, inputs: {x: n0}, components: {engine: style}}
outputs: {said: n1}
"""


def test_a_manifest_names_the_component_that_another_holds() -> None:
    """In any order; and Python writes the same manifest."""
    graph = build(manifests.loads(TEXT), REGISTRY)
    assert graph.components["style"].base is graph.components["model"]
    again = to_manifest(to_drafts(graph))
    assert again.components["style"].params == {"base": "model"}
    assert build(again, REGISTRY).components == graph.components
    full = to_manifest(to_drafts(graph), with_defaults=True).components["style"].params
    assert full == {"base": "model", "name": "style", "failing": ""}
    assert param_texts(graph.components["style"], graph.components)["base"] == "model"
    assert param_texts(graph.components["style"])["base"] == "laid.model"


def test_a_param_set_for_a_component_counts_for_those_that_hold_it() -> None:
    """As by --set; so does the number of processes."""
    manifest = manifests.override(manifests.loads(TEXT), {"model.path": "b"})
    graph = build(manifest, REGISTRY)
    assert graph.components["style"].base.path == "b"
    spread_out = spread(graph, 2).components
    assert spread_out["style"].base is spread_out["model"]
    assert spread_out["model"].nproc == 2


@pytest.mark.parametrize(
    ("old", "new", "told_as"),
    [
        (
            "base: model}",
            "base: modle}",
            (
                "5:44: error[unknown_component]: component style (laid.style): base: the graph has no "
                'component "modle"\n'
                '  fix: did you mean "model"?'
            ),
        ),
        (
            "base: model}",
            "base: 3}",
            "5:44: error[invalid_type]: component style (laid.style): base: 3 is not the name of a component",
        ),
        (
            "base: model}",
            "name: x}",
            (
                '5:37: error[missing_param]: component style (laid.style): the param "base" is not set\n'
                "  why: it is required\n  fix: add base: ..."
            ),
        ),
        (
            "model: {kind: laid.model}",
            "model: {kind: laid.other}",
            (
                "5:44: error[type_mismatch]: component style (laid.style): base is model, of kind laid.other\n"
                "  why: it takes a component of kind laid.model\n  fix: add one"
            ),
        ),
        (
            "base: model}",
            "base: style}",
            "5:44: error[cycle]: the components hold each other: style -> style\n  fix: name another component",
        ),
        (
            "model: {kind: laid.model}",
            "model: {kind: laid.model, params: {path: 3}}",
            "6:44: error[invalid_type]: component model (laid.model): path: 3 is not a string\n  why: must be a string",
        ),
    ],
)
def test_what_is_wrong_with_a_held_component_is_told_once(old: str, new: str, told_as: str) -> None:
    """With its place."""
    with pytest.raises(GraphError) as caught:
        build(manifests.loads(TEXT.replace(old, new), "m.yaml"), REGISTRY)
    assert str(caught.value.faults[0]) == f"m.yaml:{told_as}"
    assert {fault.location.line for fault in caught.value.faults if fault.location} <= {5, 6, 8, 9}
    codes = [fault.code for fault in caught.value.faults]
    assert len(codes) == len(set(codes))


def test_a_component_is_added_to_a_graph_before_those_that_hold_it() -> None:
    """Otherwise a manifest could not name it."""
    g = sg.Graph("laid", registry=REGISTRY)
    with pytest.raises(GraphError) as caught:
        g.component("style", styled())
    assert str(caught.value) == (
        "error[unknown_component]: base of style is Model(path='a', nproc=1), which is no component of laid\n"
        "  fix: add it with g.component(...) before"
    )


def test_one_node_cannot_have_two_forms_of_one_thing() -> None:
    """It would wait for itself."""
    g = chain("", style=styled())
    g.output("same", g.add(Compare(), name="both", components={"one": "model", "two": "style"}))
    with pytest.raises(GraphError) as caught:
        g.bind()
    assert str(caught.value) == (
        "nodes.both.components.two: error[ambiguous_component]: both (laid.compare) is lent model.engine as one, and "
        "style.engine as two\n"
        "  why: they are one thing in memory, which has one form at a time\n"
        "  fix: lend it one of them, or a copy with other params"
    )


def test_a_style_that_no_node_is_lent_is_told_of() -> None:
    """It would be easy to forget, and change nothing."""
    report = examine(manifests.loads(TEXT.replace(", components: {engine: style}", ""), "m.yaml"), REGISTRY)
    (warning,) = report.warnings
    assert str(warning) == (
        "m.yaml:5:37: error[orphan]: no node is lent style (laid.style), so it changes nothing\n"
        "  why: what is laid over another component is lent only to nodes that name it\n"
        "  fix: give a node components: {engine: style}"
    )
    assert not examine(manifests.loads(TEXT), REGISTRY).warnings


def test_within_another_graph_what_is_held_can_be_exchanged() -> None:
    """The style of the inner graph is laid over the model of the outer one; of another kind, it is refused."""
    inner = chain("", "style", style=styled())
    outer = sg.Graph("outer", registry=REGISTRY)
    outer.component("mine", Model(path="b"))
    outer.component("word", Other())
    node = outer.add(inner, name="in", components={"model": "mine"}, x=outer.input("x", str, ""))
    outer.output("said", node.said)
    bound = outer.bind()
    assert bound.components["in/style"].base is bound.components["mine"]
    assert str(outer.run()["said"]) == " plain style"
    with pytest.raises(GraphError) as caught:
        outer.add(inner, name="no", components={"model": "word"}, x=outer.input("x", str, ""))
    assert str(caught.value) == (
        "error[type_mismatch]: word is to be base of style in no, but is of kind laid.other\n"
        "  why: base is a component of kind laid.model"
    )


def test_records_and_keys_know_what_is_held() -> None:
    """A record of a run in which a model is lent only beneath a style names both; the key is that of the style."""
    graph = chain("style", style=styled()).bind()
    plan = plans.make(graph)
    assert records.start("1", plan, {}).record().components == {"model": "a", "style": "a+style"}
    assert graph.with_held({"style"}) == {"style", "model"}
    keys = KeyMaker(Codecs({}), graph.components)
    key = keys.key(plan.steps[0], {"x": "1"})
    assert key.ingredients["components.engine.fingerprint"] == "a+style"  # type: ignore[union-attr]


def test_a_schema_says_that_a_name_is_wanted() -> None:
    """Of a component of the kind."""
    wanted = schema(Style)["properties"]["base"]
    assert wanted == {"type": "string", "description": "What it is laid over."}


def test_exchanged_components_are_exchanged_wherever_they_are_held() -> None:
    """The others stay the same objects."""
    model, other = Model(), Other()
    before = {"model": model, "style": Style(base=model), "other": other}
    after = exchanged(before, {"model": Model(path="b")})
    assert (after["model"].path, after["style"].base is after["model"], after["other"] is other) == ("b", True, True)
    assert exchanged(before, {})["style"] is before["style"]


def wrong_parts() -> Iterator[Any]:
    def no_such_param(self: Any, elsewhere: Engine, *, keep: bool) -> Engine:
        """Nothing."""
        raise AssertionError

    def another_type(self: Any, base: str, *, keep: bool) -> Engine:
        """Nothing."""
        raise AssertionError

    def two(self: Any, base: Engine, more: Engine, *, keep: bool) -> Engine:
        """Nothing."""
        raise AssertionError

    for method, takes in ((no_such_param, "elsewhere"), (another_type, "base"), (two, "base, more")):
        yield pytest.param(method, takes, id=method.__name__)


@pytest.mark.parametrize(("method", "takes"), list(wrong_parts()))
def test_a_part_that_is_laid_over_nothing_is_refused_where_it_is_declared(method: Any, takes: str) -> None:
    """Its argument is a component in a param, and its type one of its parts."""
    body = {
        "__annotations__": {"base": Model},
        "base": sg.param(),
        "lift": Style.lift,
        method.__name__: sg.part(method),
    }
    with pytest.raises(GraphError) as caught:
        sg.component("laid.wrong", version=1)(type("Wrong", (), body))
    assert caught.value.faults[0].what == f"component laid.wrong: part {method.__name__} takes {takes}"


def test_a_style_cannot_be_laid_over_a_style() -> None:
    """There is one thing beneath, which one component loads."""

    def engine(self: Any, base: Engine, *, keep: bool) -> Engine:
        """Nothing."""
        raise AssertionError

    body = {"__annotations__": {"base": Style}, "base": sg.param(), "lift": Style.lift, "engine": sg.part(engine)}
    with pytest.raises(GraphError, match="part engine takes base"):
        sg.component("laid.wrong", version=1)(type("Wrong", (), body))
    assert component_spec_of(Style).parts["engine"].over is not None
