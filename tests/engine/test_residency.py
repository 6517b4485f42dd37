"""Where parts of components stay between uses, and who shares them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

import stagegraph as sg
from stagegraph import Lanes, Pool, events
from stagegraph.errors import Fault, FitError, GraphError, UsageError
from stagegraph.executors import meter
from stagegraph.graph import PartRef
from stagegraph.memory import Estimate, bytes_of, fit, fitted, room_ahead, size_text

WAIT = 20.0
"""Seconds after which a test that waits for another thread has failed."""
LOG: list[str] = []


@pytest.fixture(autouse=True)
def log() -> list[str]:
    """What was loaded and moved, in order."""
    LOG.clear()
    return LOG


class Big:
    """A part that takes 40 bytes."""


class Small:
    """A part that takes 10 bytes."""


@sg.component("residency.model", version=1)
class Model:
    """Two parts, on a device of which some bytes are free."""

    path: str = sg.param(default="a")
    device: str = sg.param(default="gpu")
    free: int | None = sg.param(default=None)

    @sg.part
    def big(self) -> Big:
        """Big."""
        LOG.append("load big")
        return Big()

    @sg.part
    def small(self) -> Small:
        """Small."""
        LOG.append("load small")
        return Small()

    def fingerprint(self) -> str:
        """Both paths lead to the same weights."""
        return {"a": "weights", "./a": "weights"}.get(self.path, self.path)

    def placement(self) -> Mapping[str, str]:
        """What else tells one loaded part from another."""
        return {"device": self.device}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """How large the parts are."""
        return {"bytes": {"big": 40, "small": 10}[part], "width": 4, "device": self.device}

    def free_memory(self) -> int | None:
        """What is free, as a param says."""
        return self.free

    def peak_memory(self) -> int:
        """As if 77 bytes had been in use."""
        return 77

    def offload(self, part: str, value: object) -> tuple[str, object]:
        """Move it out."""
        LOG.append(f"offload {part}")
        return ("kept", value)

    def restore(self, part: str, kept: tuple[str, object]) -> object:
        """Bring it back."""
        LOG.append(f"restore {part}")
        assert kept[0] == "kept"
        return kept[1]


@sg.component("residency.plain", version=1)
class Plain:
    """A part that cannot be moved."""

    @sg.part
    def big(self) -> Big:
        """Big."""
        LOG.append("load big")
        return Big()


@sg.stage("residency.use_big", version=1)
class UseBig:
    """Use the big part."""

    def run(self, x: int, *, big: Big) -> int:
        """Add one."""
        LOG.append("use big")
        return x + 1

    def memory(self, inputs: Mapping[str, Any]) -> int:
        """By the width of the part."""
        return int(5 * inputs["big"]["width"])


@sg.stage("residency.use_small", version=1)
class UseSmall:
    """Use the small part."""

    def run(self, x: int, *, small: Small) -> int:
        """Add one."""
        LOG.append("use small")
        return x + 1

    def memory(self, inputs: Mapping[str, Any]) -> int:
        """Little."""
        return 3


@sg.stage("residency.use_varyingly", version=1)
class UseVaryingly:
    """Use the big part in one of several ways."""

    passes: int = sg.param(default=4)
    tiles: bool = sg.param(default=False)

    def run(self, x: int, *, big: Big) -> int:
        """Add one."""
        return x + 1

    def memory(self, inputs: Mapping[str, Any]) -> tuple[int, int]:
        """By the settings."""
        least = 16 + self.passes
        return least, least + 10

    def lighter(self) -> list[tuple[dict[str, Any], str]]:
        """Fewer passes, at last tiles."""
        return [({"passes": 2}, "slower"), ({"passes": 1, "tiles": True}, "another result")]


@sg.stage("residency.use_plain", version=1)
class UsePlain:
    """Use a part of which nothing is known."""

    def run(self, x: int, *, big: Big) -> int:
        """Add one."""
        return x + 1


@sg.stage("residency.plus", version=1)
def plus(x: int) -> int:
    """Add one."""
    LOG.append("plus")
    return x + 1


REGISTRY = sg.Registry.of(Model, Plain, UseBig, UseSmall, plus)


def chain(*stages: Any, model: object | None = None, residency: Any = None) -> sg.Graph:
    """Nodes one after another over one component."""
    g = sg.Graph("residency", registry=REGISTRY)
    g.component("model", model or Model(), residency=residency)
    wire = g.input("x", int)
    for number, each in enumerate(stages):
        wire = g.add(each, name=f"n{number}", x=wire).output
    g.output("y", wire)
    return g


def told(kind: type[events.Event], seen: list[events.Event]) -> list[str]:
    """The parts that events of a kind name."""
    return [e.part for e in seen if isinstance(e, kind)]  # type: ignore[attr-defined]


def test_an_offloaded_part_is_out_of_the_way_of_other_parts_and_comes_back() -> None:
    """It is loaded once; a step that is lent nothing moves nothing."""
    seen: list[events.Event] = []
    g = chain(UseBig(), plus, UseBig(), UseSmall(), UseBig(), residency={"big": "offload"})
    assert g.run(x=0, on_event=seen.append)["y"] == 5
    assert [
        *("load big", "use big", "plus", "use big", "offload big"),
        *("load small", "use small", "restore big", "use big"),
    ] == LOG
    assert told(events.ComponentOffloaded, seen) == ["big"]
    assert told(events.ComponentLoaded, seen) == ["big", "small", "big"]
    assert told(events.ComponentReleased, seen) == ["small", "big"]


def test_in_a_pool_parts_stay_as_the_graph_says() -> None:
    """For good by default; gone after the last use; or moved out, and back for the next run."""
    for residency, second in (
        (None, ["use big", "use small"]),
        ("release-after-last-use", ["load big", "use big", "load small", "use small"]),
        ("offload", ["restore big", "use big", "offload big", "restore small", "use small", "offload small"]),
    ):
        pool = Pool()
        g = chain(UseBig(), UseSmall(), residency=residency)
        g.run(x=0, pool=pool)
        LOG.clear()
        g.run(x=0, pool=pool)
        assert second == LOG


def test_resident_wins_over_release_in_a_pool() -> None:
    """One graph wants the part to stay, another is done with it."""
    pool = Pool()
    chain(UseBig(), residency="resident").run(x=0, pool=pool)
    chain(UseBig(), residency="release-after-last-use").run(x=0, pool=pool)
    assert LOG == ["load big", "use big", "use big"]
    assert len(pool) == 1


def test_a_part_that_another_run_still_needs_is_not_dropped() -> None:
    """A run ends in the middle of another that shares its pool."""
    pool = Pool()
    inner = chain(UseBig(), residency="release-after-last-use")

    @sg.stage("residency.inner", version=1)
    def run_inner(x: int) -> int:
        """Run the other graph to its end."""
        return int(inner.run(x=x, pool=pool)["y"])

    seen: list[events.Event] = []
    chain(UseBig(), run_inner, UseBig(), residency="release-after-last-use").run(x=0, pool=pool, on_event=seen.append)
    assert LOG == ["load big", "use big", "use big", "use big"]
    assert len(pool) == 0
    assert told(events.ComponentReleased, seen) == ["big"]


def test_claims_of_a_run_that_failed_are_given_up() -> None:
    """So that what is to be released is."""

    @sg.stage("residency.fail", version=1)
    def fail(x: int) -> int:
        """Fail."""
        raise ValueError("no")

    pool = Pool()
    with pytest.raises(sg.StagegraphError):
        chain(UseBig(), fail, UseBig(), residency="release-after-last-use").run(x=0, pool=pool)
    assert len(pool) == 0


def test_the_same_weights_under_two_paths_are_loaded_once() -> None:
    """By fingerprint and placement; on another device they are another thing."""
    pool = Pool()
    chain(UseBig(), model=Model(path="a")).run(x=0, pool=pool)
    chain(UseBig(), model=Model(path="./a")).run(x=0, pool=pool)
    assert LOG == ["load big", "use big", "use big"]
    chain(UseBig(), model=Model(path="a", device="cpu")).run(x=0, pool=pool)
    assert LOG[3:] == ["load big", "use big"]
    assert len(pool) == 2


def test_what_cannot_be_moved_is_refused_when_the_graph_is_bound() -> None:
    """With the place in the manifest; so is a part that is not there."""
    text = """\
stagegraph: 1
name: residency
inputs: {x: {type: int}}
components:
  model: {kind: residency.model, residency: {bigg: offload}}
  plain: {kind: residency.plain, residency: offload}
nodes: {n: {stage: residency.use_big, components: {big: plain}, inputs: {x: inputs.x}}}
outputs: {y: n}
"""
    with pytest.raises(GraphError) as caught:
        sg.Graph.from_manifest(sg.manifest.loads(text), REGISTRY)
    assert str(caught.value) == (
        'manifest:5:46: error[unknown_part]: component model (residency.model) has no part "bigg"\n'
        '  fix: did you mean "big"?\n'
        "manifest:6:45: error[invalid_value]: component plain (residency.plain) cannot be offloaded\n"
        "  why: it has no offload and restore\n"
        "  fix: use release-after-last-use"
    )


def test_residency_is_written_and_read_without_loss() -> None:
    """For a whole component and by part, also of a graph within a graph."""
    for residency in ("offload", {"big": "offload", "small": "resident"}):
        inner = chain(UseBig(), residency=residency)
        outer = sg.Graph("outer", registry=REGISTRY)
        outer.output("y", outer.add(inner, name="in", x=outer.input("x", int)))
        for g in (inner, outer):
            again = sg.Graph.from_manifest(sg.manifest.loads(g.dumps()), REGISTRY)
            assert again.bind().residency == g.bind().residency
            assert list(again.bind().residency.values()) == [residency]


def test_the_next_part_is_loaded_while_a_step_runs_if_it_fits_beside() -> None:
    """The step waits until it sees the other part being loaded; and it is loaded once."""
    loading = threading.Event()

    @sg.component("residency.slow", version=1)
    class Slow(Model):  # type: ignore[misc]
        """Tells when its small part loads."""

        @sg.part
        def big(self) -> Big:
            """Big."""
            return Big()

        @sg.part
        def small(self) -> Small:
            """Small."""
            LOG.append("load small")
            loading.set()
            return Small()

    @sg.stage("residency.wait", version=1)
    class Wait:
        """Wait until the next part loads."""

        def run(self, x: int, *, big: Big) -> int:
            """Wait."""
            assert loading.wait(WAIT)
            return x + 1

        def memory(self, inputs: Mapping[str, Any]) -> int:
            """20 bytes."""
            return 20

    assert chain(Wait(), UseSmall(), model=Slow(free=30)).run(x=0, lanes=Lanes())["y"] == 2
    assert LOG == ["load small", "use small"]


@pytest.mark.parametrize("free", [None, 29])
def test_nothing_is_loaded_ahead_that_is_not_known_to_fit(free: int | None) -> None:
    """What is free is not known, or it is a byte too little."""
    chain(UseBig(), UseSmall(), model=Model(free=free)).run(x=0, lanes=Lanes())
    assert LOG == ["load big", "use big", "load small", "use small"]


def test_an_estimate_follows_what_is_loaded_when() -> None:
    """Parts that are there, and what each call takes beside them."""
    resident = Estimate(chain(UseBig(), UseSmall(), plus, residency="resident").plan())
    assert [(step.node, step.held, step.call) for step in resident.steps] == [
        ("n0", 40, 20),
        ("n1", 50, 3),
        ("n2", 50, 0),
    ]
    pooled = Estimate(chain(UseSmall(), UseBig()).plan(), pooled=True)
    assert [step.held for step in pooled.steps] == [50, 50]
    released = Estimate(chain(UseBig(), UseSmall(), plus).plan())
    assert [(step.peak, step.held) for step in released.steps] == [(60, 40), (13, 10), (0, 0)]
    offloaded = Estimate(chain(UseBig(), UseSmall(), UseBig(), residency="offload").plan())
    assert [step.held for step in offloaded.steps] == [40, 10, 40]
    assert str(released) == (
        "n0       60 B  parts 40 B, call 20 B\nn1       13 B  parts 10 B, call 3 B\nn2        0 B  parts 0 B, call 0 B"
    )
    unknown = Estimate(chain(UsePlain(), model=Plain()).plan())
    assert str(unknown) == "n0        0 B  parts 0 B, call unknown  (not known: model.big)"


def test_a_plan_that_does_not_fit_is_refused_with_what_would_help() -> None:
    """Which step, by how much; less residency, lighter settings, or nothing but less to do."""
    plan = chain(UseSmall(), UseBig(), residency="resident").plan()
    assert fit(plan, 70) is plan
    with pytest.raises(FitError) as caught:
        fit(plan, 60)
    assert caught.value.exit_code == 4
    assert caught.value.faults == (
        Fault(
            "does_not_fit",
            "n1 takes 70 B, 10 B more than there is",
            "nodes.n1",
            "parts 50 B, call 20 B, of 60 B",
            "keep less loaded: set the residency of model.small to offload or release-after-last-use",
        ),
    )
    fixes = {
        59: "the step alone takes 60 B: ask for less, or use a smaller number format or more memory",
        58: "--set n0.passes=2, with which the step alone takes 58 B (slower)",
        57: "--set n0.passes=1 --set n0.tiles=True, with which the step alone takes 57 B (another result)",
    }
    for budget, heavy in ((59, UseBig()), (58, UseVaryingly()), (57, UseVaryingly())):
        with pytest.raises(FitError) as caught:
            chain(heavy).plan(memory=budget)
        assert caught.value.faults[0].fix == fixes[budget]


def test_parts_are_moved_out_of_the_way_where_they_must_be() -> None:
    """The small one while the big one works; its result is the same, and with more memory nothing moves."""
    g = chain(UseSmall(), UseBig(), UseSmall())
    assert [step.offloads for step in g.plan(memory=70).steps] == [()] * 3
    tight = g.plan(memory=60)
    assert [[str(ref) for ref in step.offloads] for step in tight.steps] == [["model.small"], [], ["model.small"]]
    assert Estimate(tight).peak == 60
    assert g.run(x=0, memory=60)["y"] == 3
    assert LOG == ["load small", "use small", "offload small", "load big", "use big", "restore small", "use small"]


def test_what_stays_in_a_pool_is_moved_out_of_the_way_too() -> None:
    """After the first run both parts would be there: the one that is large enough goes, and comes back."""
    pool, g = Pool(), chain(UseBig(), UseSmall())
    for loads in (["load big", "use big", "load small"], ["use big", "restore small"]):
        LOG.clear()
        assert g.run(x=0, pool=pool, memory="60B")["y"] == 2
        assert [*loads, "use small", "offload small"] == LOG


def test_what_the_graph_says_is_kept_and_what_cannot_be_moved_stays() -> None:
    """A part that is to stay; one that is in the memory of the CPU anyway."""
    stays = chain(UseSmall(), UseBig(), UseSmall(), residency={"small": "resident"})
    on_cpu = chain(UseSmall(), UseBig(), UseSmall(), model=Model(device="cpu"))
    for g in (stays, on_cpu):
        with pytest.raises(FitError):
            g.plan(memory=60)


def test_the_memory_that_is_free_is_a_budget() -> None:
    """Nine tenths of it; what is no size, or not known, is told."""
    plan = chain(UseBig(), model=Model(free=67)).plan()
    assert fitted(plan, "auto") is plan
    with pytest.raises(FitError):
        chain(UseBig(), model=Model(free=66)).plan(memory="auto")
    for memory, why in (("7GB", "it is no size"), ("auto", "no component tells how much is free")):
        with pytest.raises(UsageError) as caught:
            chain(UseBig()).plan(memory=memory)
        fix = "write a number and a unit, as in 24GiB"
        assert caught.value.faults == (Fault("usage", f'memory is "{memory}"', why=why, fix=fix),)


def test_a_part_is_loaded_ahead_only_beside_the_most_that_a_step_takes() -> None:
    """Which may be more than it needs."""
    estimate = Estimate(chain(UseVaryingly(), UseSmall()).plan())
    assert str(estimate.steps[0]) == "     60 B  parts 40 B, call 20 B to 30 B"
    small = PartRef("model", "small")
    assert room_ahead(estimate, 0, {small: Model(free=40)})
    assert not room_ahead(estimate, 0, {small: Model(free=39)})


@pytest.mark.parametrize(
    ("text", "count"),
    [("20GiB", 20 * 2**30), ("1.5 KiB", 1536), ("7", 7), ("7B", 7), ("7GB", None), ("GiB", None), ("-1B", None)],
)
def test_sizes_are_read(text: str, count: int | None) -> None:
    """A number and a unit of 1024."""
    assert bytes_of(text) == count
    if count is not None:
        assert bytes_of(size_text(count)) == count


def test_the_memory_of_nodes_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process was seen to take while a node ran, and what the device tells; short nodes have no figure."""
    looked = threading.Event()
    sizes = iter([500, 700, 600])

    def resident() -> int:
        size = next(sizes, None)
        if size is None:
            looked.set()
        return size or 0

    monkeypatch.setattr(meter, "resident", resident)
    monkeypatch.setattr(meter, "PERIOD", 0.001)

    @sg.stage("residency.long", version=1)
    def long(x: int) -> int:
        """Run until somebody has looked."""
        assert looked.wait(WAIT)
        return x

    record = chain(long, UseBig()).run(x=0).record
    assert record.peak_bytes["n0"] == 700
    assert record.device_peak_bytes == {"n1": 77}


def test_the_size_of_the_process_is_a_size() -> None:
    """More than an interpreter takes, and it grows with what is allocated."""
    before = meter.resident()
    block = bytearray(64 * 2**20)
    assert meter.resident() > before + 60 * 2**20 > 2**20
    del block
