"""The executor with threads: what is independent overlaps within its lanes; errors, cancellation, async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stagegraph as sg
from stagegraph import Lanes, events
from stagegraph.errors import Cancelled, StageError
from stagegraph.executors import serial, threads

WAIT = 20.0
"""Seconds after which a test that waits for another thread has failed."""


class Meeting:
    """A place where stages wait until so many have come: proof that they run at the same time."""

    def __init__(self, parties: int) -> None:
        self.barrier = threading.Barrier(parties, timeout=WAIT)

    def stage(self, lane: str | None = None) -> Callable[[int], int]:
        """A stage that waits for the others."""

        @sg.stage("threads.meet", version=1, lane=lane)  # type: ignore[arg-type]
        def meet(value: int) -> int:
            """Wait for the others."""
            self.barrier.wait()
            return value + 1

        return meet


@sg.stage("threads.add", version=1)
def add(*values: int) -> int:
    """Add numbers."""
    return sum(values)


def fan(stage: object, width: int) -> sg.Graph:
    """So many nodes beside each other, added up."""
    g = sg.Graph("fan")
    x = g.input("x", int)
    g.output("y", g.add(add, values=[g.add(stage, name=f"n{i}", value=x) for i in range(width)]))
    return g


@pytest.mark.parametrize("lane", [None, "cpu", "io"])
def test_independent_nodes_run_at_the_same_time(lane: str | None) -> None:
    """Three nodes meet, which they can't one after another."""
    assert fan(Meeting(3).stage(lane), 3).run(x=1, lanes=Lanes(cpu=3, io=3))["y"] == 6


def test_a_fast_branch_does_not_wait_for_a_slow_sibling() -> None:
    """The second node of one branch meets the first node of the other."""
    meeting = Meeting(2)
    meet = meeting.stage()
    g = sg.Graph("branches")
    x = g.input("x", int)
    after = g.add(meet, name="after", value=g.add(add, values=x))
    g.output("y", g.add(add, name="sum", values=[after, g.add(meet, name="slow", value=x)]))
    assert g.run(x=1, lanes=Lanes(cpu=2))["y"] == 4


@pytest.mark.parametrize("lane", ["device", "cpu", "io"])
def test_no_more_nodes_run_at_once_than_the_lane_is_wide(lane: str) -> None:
    """Counted from inside the stages."""
    lock, now, most = threading.Lock(), [0], [0]

    @sg.stage("threads.count", version=1, lane=lane)  # type: ignore[arg-type]
    def count(value: int) -> int:
        """Count who is here."""
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.002)
        with lock:
            now[0] -= 1
        return value

    fan(count, 12).run(x=1, lanes=Lanes(device=1, cpu=2, io=3))
    assert most[0] <= {"device": 1, "cpu": 2, "io": 3}[lane]


def test_lane_follows_from_what_a_stage_is_lent() -> None:
    """A stage with components is bound by the device, any other by the CPU, unless it says otherwise."""

    class Weights:
        """Something heavy."""

    @sg.component("threads.model", version=1)
    class Model:
        """A model."""

        @sg.part
        def weights(self) -> Weights:
            """Weights."""
            return Weights()

    @sg.stage("threads.lent", version=1)
    def lent(value: int, *, weights: Weights) -> int:
        """Use weights."""
        return value

    @sg.stage("threads.light", version=1, lane="cpu")
    def light(value: int, *, weights: Weights) -> int:
        """Use weights a little."""
        return value

    g = sg.Graph("lanes")
    g.component("model", Model())
    x = g.input("x", int)
    for name, stage in (("lent", lent), ("light", light), ("plain", add)):
        g.output(name, g.add(stage, name=name, **{"values" if stage is add else "value": x}))
    assert {name: node.lane for name, node in g.bind().nodes.items()} == {
        "lent": "device",
        "light": "cpu",
        "plain": "cpu",
    }
    assert dict(g.run(x=2, lanes=Lanes()).outputs) == {"lent": 2, "light": 2, "plain": 2}


def test_after_an_error_what_does_not_depend_on_it_is_finished() -> None:
    """The dependents do not start; the error is raised at the end, and events tell the whole story."""

    @sg.stage("threads.fail", version=1)
    def fail(value: int) -> int:
        """Fail."""
        raise ValueError("no")

    g = sg.Graph("errors")
    x = g.input("x", int)
    broken = g.add(fail, name="broken", value=x)
    dependent = g.add(add, name="dependent", values=broken)
    a = g.add(add, name="a", values=x)
    b = g.add(add, name="b", values=a)
    g.output("y", g.add(add, name="y", values=[dependent, b]))
    told: list[events.Event] = []
    with pytest.raises(StageError) as error:
        g.run(x=1, lanes=Lanes(), on_event=told.append)
    assert str(error.value) == "broken: error[stage_failed]: broken (threads.fail) failed: ValueError: no"
    assert isinstance(error.value.__cause__, ValueError)
    assert {e.node for e in told if isinstance(e, events.NodeFinished)} == {"a", "b"}
    assert {e.node for e in told if isinstance(e, events.NodeStarted)} == {"broken", "a", "b"}
    assert isinstance(told[-1], events.RunFailed)


def test_cancelling_stops_running_stages_and_starts_no_more() -> None:
    """The flag reaches into a running stage through its context."""
    cancellation = sg.Cancellation()
    started = threading.Event()

    @sg.stage("threads.long", version=1)
    def long(value: int, *, context: sg.StageContext) -> int:
        """Run until somebody cancels."""
        started.set()
        while True:
            context.check_cancelled()
            threading.Event().wait(0.001)

    g = sg.Graph("cancel")
    g.output("y", g.add(add, values=g.add(long, value=g.input("x", int))))

    def cancel() -> None:
        assert started.wait(WAIT)
        cancellation.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    told: list[events.Event] = []
    with pytest.raises(Cancelled):
        g.run(x=1, lanes=Lanes(), cancellation=cancellation, on_event=told.append)
    canceller.join()
    assert isinstance(told[-1], events.RunCancelled)
    assert not [e for e in told if isinstance(e, events.NodeStarted) and e.node == "add"]


@pytest.mark.parametrize("lanes", [None, Lanes()], ids=["serial", "threads"])
def test_async_stages_run_in_both_executors(lanes: Lanes | None) -> None:
    """`async def run` is awaited."""

    @sg.stage("threads.fetch", version=1)
    async def fetch(value: int) -> int:
        """Wait for something."""
        await asyncio.sleep(0)
        return value * 2

    assert fan(fetch, 3).run(x=2, lanes=lanes)["y"] == 12


def test_arun_leaves_the_event_loop_free_and_is_cancelled_with_its_task() -> None:
    """Other coroutines go on meanwhile; cancelling the task stops the stage."""
    started, stopped = threading.Event(), threading.Event()

    @sg.stage("threads.endless", version=1)
    def endless(value: int, *, context: sg.StageContext) -> int:
        """Run until somebody cancels."""
        started.set()
        try:
            while True:
                context.check_cancelled()
                threading.Event().wait(0.001)
        finally:
            stopped.set()

    async def main() -> None:
        assert (await fan(add_one, 2).arun(x=1))["y"] == 4
        task = asyncio.create_task(fan(endless, 1).arun(x=1))
        while not started.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped.is_set()

    @sg.stage("threads.one", version=1)
    def add_one(value: int) -> int:
        """Add one."""
        return value + 1

    asyncio.run(asyncio.wait_for(main(), WAIT))


def test_what_waits_for_a_skipped_step_in_another_lane_runs() -> None:
    """Also if nothing else runs that could wake the executor."""

    @sg.stage("threads.read", version=1, lane="io")
    def read(value: int = 3) -> int:
        """Give it back."""
        return value

    g = sg.Graph("skipped")
    skipped = g.add(add, name="skipped", values=sg.constant(1), when=g.input("wanted", bool))
    g.output("y", g.add(read, value=skipped))
    assert g.run(wanted=False, lanes=Lanes())["y"] == 3


def test_of_several_errors_that_of_the_first_step_is_raised() -> None:
    """As in the serial executor, whichever happens first."""
    later = threading.Event()

    @sg.stage("threads.slow_fail", version=1)
    def slow(value: int) -> int:
        """Fail when the other has failed."""
        assert later.wait(WAIT)
        raise ValueError("slow")

    @sg.stage("threads.fast_fail", version=1)
    def fast(value: int) -> int:
        """Fail at once."""
        raise ValueError("fast")

    def listen(event: events.Event) -> None:
        if isinstance(event, events.NodeFailed) and event.node == "fast":
            later.set()

    g = sg.Graph("failing")
    x = g.input("x", int)
    g.output("y", g.add(add, values=[g.add(slow, name="slow", value=x), g.add(fast, name="fast", value=x)]))
    with pytest.raises(StageError, match="ValueError: slow"):
        g.run(x=1, lanes=Lanes(cpu=2), on_event=listen)


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=25), st.integers(-5, 5))
def test_threads_and_serial_give_the_same(shape: list[list[int]], x: int) -> None:
    """For any acyclic graph; every node reads the graph's input and some nodes before it."""
    g = sg.Graph("any")
    value = g.input("x", int)
    nodes: list[sg.builder.NodeHandle] = []
    for number, reads in enumerate(shape):
        before = [nodes[read % number] for read in reads] if number else []
        nodes.append(g.add(add, name=f"n{number}", values=[value, *before]))
    for number, node in enumerate(nodes):
        g.output(f"y{number}", node)
    plan = g.plan()
    one = dict(serial.run(plan, {"x": x}).outputs)
    assert dict(threads.run(plan, {"x": x}, lanes=Lanes(cpu=3)).outputs) == one


def test_steps_at_the_same_time_share_what_the_first_of_them_loads() -> None:
    """Both stages are there before the part is loaded, and it is loaded once."""
    loads: list[int] = []

    class Weights:
        """Something heavy."""

    @sg.component("threads.shared", version=1)
    class Shared:
        """A model that takes its time to load."""

        @sg.part
        def weights(self) -> Weights:
            """Weights."""
            loads.append(1)
            threading.Event().wait(0.05)
            return Weights()

    @sg.stage("threads.use", version=1, lane="cpu")
    def use(value: int, *, weights: Weights) -> int:
        """Use weights."""
        return value

    g = fan(use, 4)
    g.component("model", Shared())
    assert g.run(x=1, lanes=Lanes(cpu=4))["y"] == 4
    assert loads == [1]
