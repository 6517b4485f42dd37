"""Keys and the cache: what is the same is not done again, what differs is, and why can be told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from stagegraph import history
from stagegraph.artifacts import Codecs
from stagegraph.caching import RunCache
from stagegraph.errors import ArtifactError, Fault, UsageError
from stagegraph.keys import Keyless, NodeKey, difference
from stagegraph.store import Store, runs

from .running import Anonymous, Weights, execute, opt_out, plan, record_of, run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def cache_of(store: Store, plan: Any) -> RunCache:
    return RunCache(store, Codecs(), plan.graph.components)


def test_a_second_run_does_nothing_again(store: Store) -> None:
    """But for stages whose outputs cannot be stored; what they feed is known by their key."""
    first, second = plan(), plan()
    assert list(execute(first, cache_of(store, first), "hello")) == ["split", "join", "grab", "use"]
    assert list(execute(second, cache_of(store, second), "hello")) == ["grab"]


@pytest.mark.parametrize(
    ("changed", "ran"),
    [
        ({"at": 2}, ["split", "join"]),
        ({"weights": Weights(print="beef")}, ["join"]),
        ({"weights": Weights(dtype="bf16")}, ["join"]),
        ({"weights": Weights(path="copy")}, []),
    ],
)
def test_what_matters_is_in_the_key(store: Store, changed: dict[str, Any], ran: list[str]) -> None:
    """Params, weights and how they run; not where the weights are."""
    before, after = plan(wanted="joined"), plan(wanted="joined", **changed)
    list(execute(before, cache_of(store, before), "hello"))
    assert list(execute(after, cache_of(store, after), "hello")) == ran
    assert list(execute(before, cache_of(store, before), "other")) == ["split", "join"]


def test_a_component_that_does_not_say_what_it_is_makes_no_keys(store: Store) -> None:
    """Nothing is guessed; the key says why there is none."""
    anonymous = plan(weights=Anonymous(), wanted="joined")
    cache = cache_of(store, anonymous)
    key = cache.node_key(anonymous.steps[1], {"first": "1", "second": "2"})
    assert key == Keyless("component weights (run.anonymous) has no fingerprint")
    assert cache.node_key(anonymous.steps[0], {"text": None}) == Keyless("its input text has neither a key nor a codec")


def test_a_key_names_its_ingredients(store: Store) -> None:
    """Two keys can be compared, ingredient by ingredient."""
    made = plan(wanted="joined")
    cache = cache_of(store, made)
    one, other = (cache.node_key(made.steps[1], {"first": a, "second": "2"}) for a in ("node:x.first", '"y"'))
    assert isinstance(one, NodeKey)
    assert isinstance(other, NodeKey)
    assert [str(change) for change in difference(one.ingredients, other.ingredients)] == [
        'inputs.first: node:x.first -> "y"'
    ]
    names = {name for name in one.ingredients if not name.startswith("versions.")}
    assert names == {
        *("stage", "code", "inputs.first", "inputs.second"),
        *(f"components.model.{name}" for name in ("kind", "code", "part", "fingerprint", "dtype")),
    }
    assert one.ingredients["stage"] == "run.join@2"
    assert {"versions.python", "versions.stagegraph"} <= one.ingredients.keys()


def test_ports_that_gather_have_an_ingredient_for_each(store: Store) -> None:
    """Their number and order count, and that they are several."""
    made = plan(wanted="joined")
    cache = cache_of(store, made)
    gathered: list[Any] = [("1", "2"), ("2", "1"), ("1",), "1", ()]
    keys = [cache.node_key(made.steps[0], {"text": identity}) for identity in gathered]
    assert len({key.digest for key in keys if isinstance(key, NodeKey)}) == 5


def test_what_a_stage_that_opts_out_returns_is_known_by_its_content(store: Store) -> None:
    """It runs each time; what it feeds runs again only if that differs."""
    made = opt_out(plan(wanted="joined"), "split")
    assert list(execute(made, cache_of(store, made), "hello")) == ["split", "join"]
    assert list(execute(made, cache_of(store, made), "hello")) == ["split"]
    assert list(execute(made, cache_of(store, made), "hallo")) == ["split"]
    assert list(execute(made, cache_of(store, made), "Hallo")) == ["split", "join"]


def test_an_entry_that_no_longer_fits_is_made_again(store: Store) -> None:
    """A value of another type than the port's, whoever wrote it, is told and not used."""
    told: list[Fault] = []
    made = plan(wanted="joined")
    cache = RunCache(store, Codecs(), made.graph.components, on_warning=told.append)
    key = cache.node_key(made.steps[0], {"text": '"hello"'})
    assert isinstance(key, NodeKey)
    bundle = Codecs().bundle([1, "x"], [int, str])
    store.put(f"node/{key.digest}", bundle.trees, bundle.objects)
    assert cache.fetch(made.steps[0], key) is None
    assert [fault.code for fault in told] == ["bad_artifact"]
    cache.save(made.steps[0], key, ("h", 4))
    assert cache.fetch(made.steps[0], key) == ("h", 4)


def test_a_checkpoint_lasts_until_the_stage_is_done(store: Store) -> None:
    """The latest takes the place of the one before; a stage with another key does not see it."""
    made = plan(wanted="joined")
    step = made.steps[0]
    key = cache_of(store, made).node_key(step, {"text": '"hello"'})
    for number in (1, 2):
        cache_of(store, made).checkpoint(step, key, number, {"state": [number, "x"]})
    cache = cache_of(store, made)
    assert cache.latest_checkpoint(step, cache.node_key(step, {"text": '"other"'})) is None
    assert cache.latest_checkpoint(step, key) == (2, {"state": [2, "x"]})
    with pytest.raises(ArtifactError):
        cache.checkpoint(step, key, 3, object())
    assert cache.latest_checkpoint(step, key) == (2, {"state": [2, "x"]})
    cache.save(step, key, ("h", 4))
    assert cache.latest_checkpoint(step, key) is None


def explained(store: Store, run: str, node: str) -> list[str]:
    told = history.explain(store, run, node)
    return [told.why, *map(str, told.causes)]


def test_explain_tells_why_a_node_ran(store: Store, tmp_path: Path) -> None:
    """The ingredients that changed, in the node and in what feeds it, against the latest run before."""
    first, _ = run(store, plan(), tmp_path)
    assert explained(store, first, "join") == ["no earlier run of this graph has this node"]
    second, _ = run(store, plan(weights=Weights(print="beef")), tmp_path)
    assert explained(store, second, "join") == [
        "its key changed",
        "join: components.model.fingerprint: f00d -> beef",
    ]
    assert explained(store, second, "split") == ["its key is the same as when it ran"]
    assert history.explain(store, second, "split").against == first
    changed = opt_out(plan(at=2, weights=Weights(print="beef")), "grab")
    third, _ = run(store, changed, tmp_path, "hallo")
    assert explained(store, third, "join") == [
        "its key changed",
        "split: params.at: 1 -> 2",
        'split: inputs.text: "hello" -> "hallo"',
    ]
    assert history.explain(store, third, "join").against == second
    assert explained(store, third, "use") == ["it has no key: its input handle has neither a key nor a codec"]
    with pytest.raises(UsageError, match='has completed no node "joyn"'):
        history.explain(store, third, "joyn")


def test_explain_tells_when_the_key_is_not_the_reason(store: Store, tmp_path: Path) -> None:
    """Outputs that were evicted, that no codec writes, and stages that opt out."""
    made = opt_out(plan(wanted="joined"), "split")
    run(store, made, tmp_path)
    second, _ = run(store, made, tmp_path)
    assert explained(store, second, "split") == ["its stage opts out of caching"]
    store.gc(0)
    third, ran = run(store, made, tmp_path)
    assert ran == ["split", "join"]
    assert explained(store, third, "join") == [
        "its key is the same, but its outputs were not in the store: they have been evicted, damaged or never stored"
    ]
    run(store, plan(), tmp_path)
    last, _ = run(store, plan(), tmp_path)
    assert explained(store, last, "grab") == [
        "its key is the same, but its outputs were not in the store: no codec writes Handle"
    ]


def test_diff_groups_what_changed(store: Store, tmp_path: Path) -> None:
    """Each cause once, with the nodes that it is in; and nodes that only one of the runs has."""
    first, _ = run(store, plan(), tmp_path)
    second, _ = run(store, plan(at=3, wanted="joined"), tmp_path, "hallo")
    then, now = (history.rows_of_run(store, id) for id in (first, second))
    found = history.differences(then, now)
    assert [str(cause) for cause in found.causes] == [
        "split: params.at: 1 -> 3",
        'split: inputs.text: "hello" -> "hallo"',
    ]
    assert (found.removed, found.added) == (("grab", "use"), ())
    assert history.differences(then, then) == history.Differences((), (), ())


def test_a_node_and_its_outputs_are_recorded_together(store: Store, tmp_path: Path) -> None:
    """With time, memory, ingredients, and why something has no key."""
    id, _ = run(store, opt_out(plan(), "grab"), tmp_path)
    rows = {row.node: row for row in runs.nodes(store, id)}
    assert [(row.outcome, row.seconds, row.peak_bytes) for row in rows.values()] == [("ran", 0.25, 7)] * 4
    assert rows["split"].entry == f"node/{rows['split'].key}"
    assert rows["split"].ingredients["inputs.text"] == '"hello"'
    assert (rows["grab"].entry, rows["grab"].note) == (None, "no codec writes Handle")
    assert (rows["use"].key, rows["use"].note) == (None, "its input handle has neither a key nor a codec")


def test_an_interrupted_run_is_taken_up_where_it_stopped(store: Store, tmp_path: Path) -> None:
    """What it has completed is not run again, of stages that opt out neither; its entries survive collections."""
    made = opt_out(plan(wanted="joined"), "split")
    record = record_of(made, "hello")
    log = runs.begin(store, Codecs(), record.as_dict(), {"text": "hello"}, {"text": str}, tmp_path / "run")
    running = execute(made, RunCache(store, Codecs(), made.graph.components, log), "hello")
    assert [next(running), next(running)] == ["split", "join"]
    assert runs.find(store, record.id).status == "running"
    log.close()  # as when its process dies
    assert runs.find(store, record.id).status == "interrupted"
    store.gc(0)
    loaded = runs.load(store, Codecs(), record.id[:4])
    assert (set(loaded.complete), loaded.outputs) == ({"split"}, ("joined",))
    assert loaded.manifest is not None
    inputs = loaded.inputs({"text": str})
    assert inputs == {"text": "hello"}
    log = loaded.take_up()
    ran = list(execute(made, RunCache(store, Codecs(), made.graph.components, log), inputs["text"]))
    assert ran == ["join"]
    log.finish(attrs.evolve(record, status="finished").as_dict())
    assert [(row.node, row.outcome) for row in runs.nodes(store, record.id)] == [("split", "ran"), ("join", "ran")]
