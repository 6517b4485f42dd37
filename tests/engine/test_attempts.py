"""Nodes that are tried again, and nodes that have a time limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

import stagegraph as sg
from stagegraph import Lanes, events
from stagegraph.attempts import Retry
from stagegraph.errors import Cancelled, Fault, StageError, StagegraphError, UsageError
from stagegraph.executors import calls

WAIT = 20.0
"""Seconds after which a test that waits for another thread has failed."""
SOON = Retry(attempts=3, delay=0)


class Busy(StagegraphError):
    """An error that may pass."""

    retryable: ClassVar[bool] = True


class Script:
    """A stage that fails as often as it is told, then returns how often it was called."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def stage(self, **options: object) -> sg.stages.FunctionStage:
        """The stage."""

        @sg.stage("attempts.script", version=1, **options)  # type: ignore[arg-type]
        def script(x: int) -> int:
            """Fail, or say how often it was called."""
            self.calls += 1
            if self.errors:
                raise self.errors.pop(0)
            return self.calls

        return script  # type: ignore[return-value]


@pytest.fixture(params=[None, Lanes(cpu=2)], ids=["serial", "threads"])
def lanes(request: pytest.FixtureRequest) -> Lanes | None:
    """Both executors."""
    return request.param  # type: ignore[no-any-return]


def graph_of(stage: object, **options: object) -> sg.Graph:
    """One node."""
    g = sg.Graph("attempts")
    g.output("y", g.add(stage, name="node", x=g.input("x", int), **options))  # type: ignore[arg-type]
    return g


def busy() -> Busy:
    """An error that may pass."""
    return Busy(Fault("test.busy", "the device is busy"))


def test_a_node_is_tried_again_after_an_error_that_may_pass(lanes: Lanes | None) -> None:
    """Each failed call is told, with what comes next."""
    told: list[events.Event] = []
    script = Script(busy(), busy())
    run = graph_of(script.stage(), retry=SOON).run(x=1, lanes=lanes, on_event=told.append)
    assert run["y"] == 3
    fault = Fault("test.busy", "the device is busy", where="node")
    assert [e for e in told if isinstance(e, events.NodeRetried)] == [
        events.NodeRetried(run.id, "node", 1, 3, 0.0, (fault,)),
        events.NodeRetried(run.id, "node", 2, 3, 0.0, (fault,)),
    ]
    assert len([e for e in told if isinstance(e, events.NodeFinished)]) == 1


def test_the_last_error_is_raised_when_no_call_is_left() -> None:
    """Three calls, no fourth."""
    script = Script(busy(), busy(), busy(), busy())
    with pytest.raises(StageError) as caught:
        graph_of(script.stage(), retry=SOON).run(x=1)
    assert str(caught.value) == "node: error[test.busy]: the device is busy"
    assert caught.value.retryable
    assert script.calls == 3


def test_only_errors_that_say_so_are_tried_again() -> None:
    """An ordinary exception is final, unless the stage names its type."""
    script = Script(ConnectionError("reset"))
    with pytest.raises(StageError):
        graph_of(script.stage(), retry=SOON).run(x=1)
    assert script.calls == 1
    script = Script(ConnectionResetError("reset"), TimeoutError())
    stage = script.stage(retryable=(ConnectionError, TimeoutError))
    assert graph_of(stage, retry=SOON).run(x=1)["y"] == 3


def test_without_retry_nothing_is_tried_again() -> None:
    """However passing the error."""
    script = Script(busy())
    with pytest.raises(StageError):
        graph_of(script.stage()).run(x=1)
    assert script.calls == 1


def test_delays_grow_up_to_a_limit() -> None:
    """Every delay is a multiple of the one before."""
    retry = Retry(attempts=6, delay=1, factor=3, max_delay=10)
    assert [retry.delay_after(n) for n in range(1, 7)] == [1, 3, 9, 10, 10, None]
    assert Retry(attempts=1000, delay=1, factor=1e6).delay_after(999) == 60


def test_a_run_can_be_cancelled_while_it_waits_for_the_next_call() -> None:
    """It does not wait to the end of the delay."""
    cancellation = sg.Cancellation()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.NodeRetried):
            cancellation.cancel()

    script = Script(busy())
    with pytest.raises(Cancelled):
        graph_of(script.stage(), retry=Retry(delay=3600, max_delay=3600)).run(
            x=1, on_event=listen, cancellation=cancellation
        )
    assert script.calls == 1


@sg.stage("attempts.look", version=1)
def look(x: int, *, context: sg.StageContext) -> int:
    """Run until it is to stop."""
    while True:
        context.check_cancelled()
        threading.Event().wait(0.001)


def test_a_stage_that_looks_stops_when_its_time_is_over(lanes: Lanes | None) -> None:
    """The error says how long it had; it may pass, so `retry` calls again."""
    told: list[events.Event] = []
    with pytest.raises(StageError) as caught:
        graph_of(look, timeout=0.01, retry=Retry(attempts=2, delay=0)).run(x=1, lanes=lanes, on_event=told.append)
    assert str(caught.value) == (
        "node: error[timed_out]: node took longer than 0.01 s\n  fix: give it more time, or less to do"
    )
    assert caught.value.node == "node"
    assert caught.value.retryable
    assert len([e for e in told if isinstance(e, events.NodeRetried)]) == 1
    assert isinstance(told[-1], events.RunFailed)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets a thread that was left behind end with the test."""
    event = threading.Event()
    yield event
    event.set()


def test_a_stage_that_does_not_look_is_left_behind(
    lanes: Lanes | None, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on to its end without it, and does not call it a second time beside itself."""
    monkeypatch.setattr(calls, "GRACE", 0.01)
    entered: list[int] = []

    @sg.stage("attempts.deaf", version=1)
    def deaf(x: int) -> int:
        """Never look."""
        entered.append(x)
        release.wait(WAIT)
        return x

    with pytest.raises(StageError) as caught:
        graph_of(deaf, timeout=0.01, retry=SOON).run(x=1, lanes=lanes)
    assert str(caught.value) == (
        "node: error[timed_out]: node took longer than 0.01 s\n"
        "  why: it does not look whether it is to stop (context.check_cancelled), so its thread is left behind\n"
        "  fix: give it more time, or less to do"
    )
    assert not caught.value.retryable
    assert entered == [1]


def test_an_async_stage_is_stopped_when_its_time_is_over(lanes: Lanes | None) -> None:
    """Where it awaits; it can clean up."""
    cleaned: list[int] = []

    @sg.stage("attempts.async", version=1)
    async def wait(x: int) -> int:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(x)
        return x

    with pytest.raises(StageError) as caught:
        graph_of(wait, timeout=0.02).run(x=1, lanes=lanes)
    assert caught.value.code == "timed_out"
    assert cleaned == [1]


def test_cancelling_stops_an_async_stage_that_does_not_look(lanes: Lanes | None) -> None:
    """The flag reaches it where it awaits."""
    cancellation, started = sg.Cancellation(), threading.Event()

    @sg.stage("attempts.endless", version=1)
    async def endless(x: int) -> int:
        """Wait for ever."""
        started.set()
        await asyncio.Event().wait()
        return x

    def cancel() -> None:
        assert started.wait(WAIT)
        cancellation.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled) as caught:
        graph_of(endless).run(x=1, lanes=lanes, cancellation=cancellation)
    canceller.join()
    assert str(caught.value) == "node: error[cancelled]: the run was cancelled"


def test_a_stage_within_its_time_is_as_without_limit(lanes: Lanes | None) -> None:
    """Its value, its own errors, its lists, its context variables."""
    assert graph_of(Script().stage(), timeout=WAIT).run(x=1, lanes=lanes)["y"] == 1
    with pytest.raises(StageError) as caught:
        graph_of(Script(ValueError("no")).stage(), timeout=WAIT).run(x=1, lanes=lanes)
    assert str(caught.value) == "node: error[stage_failed]: node (attempts.script) failed: ValueError: no"

    @sg.stage("attempts.double", version=1)
    def double(x: int) -> int:
        """Twice."""
        return 2 * x

    g = sg.Graph("map")
    g.output("y", g.add(double, x=g.input("xs", list[int]), map=["x"], timeout=WAIT))
    assert g.run(xs=[1, 2], lanes=lanes)["y"] == [2, 4]


def test_a_mapped_node_stops_between_its_items_when_its_time_is_over() -> None:
    """The limit is for the whole node."""

    @sg.stage("attempts.slow", version=1)
    def slow(x: int) -> int:
        """Take a moment."""
        threading.Event().wait(0.005)
        return x

    g = sg.Graph("map")
    g.output("y", g.add(slow, name="node", x=g.input("xs", list[int]), map=["x"], timeout=0.02))
    with pytest.raises(StageError) as caught:
        g.run(xs=list(range(10_000)))
    assert caught.value.code == "timed_out"


def test_limits_stand_in_manifests() -> None:
    """They are read, checked and written again."""
    text = """\
stagegraph: 1
name: limits
nodes:
  node: {stage: attempts.look, timeout: 30, retry: {attempts: 5, delay: 0.5}, inputs: {x: {value: 1}}}
outputs: {y: node}
"""
    registry = sg.Registry.of(look)
    g = sg.Graph.from_manifest(sg.manifest.loads(text), registry)
    node = g.bind().nodes["node"]
    assert (node.timeout, node.retry) == (30, Retry(attempts=5, delay=0.5))
    again = sg.Graph.from_manifest(sg.manifest.loads(g.dumps()), registry).bind().nodes["node"]
    assert (again.timeout, again.retry) == (node.timeout, node.retry)
    with pytest.raises(UsageError) as caught:
        sg.manifest.loads(text.replace("30", "0").replace("5,", "1,"))
    assert str(caught.value) == (
        "manifest:4:41: error[invalid_value]: nodes.node.timeout: timeout is 0.0\n"
        "  why: must be > 0\n"
        "manifest:4:62: error[invalid_value]: nodes.node.retry.attempts: attempts is 1\n"
        "  why: must be >= 2, <= 1000\n"
        "  fix: use 2"
    )


def test_an_error_brings_what_was_made_before_it(lanes: Lanes | None) -> None:
    """The outputs that were finished, and the record."""
    g = sg.Graph("partly")
    x = g.input("x", int)
    g.output("good", g.add(Script().stage(), name="good", x=x))
    g.output("bad", g.add(Script(ValueError("no")).stage(), name="bad", x=x))
    with pytest.raises(StageError) as caught:
        g.run(x=1, lanes=lanes)
    run = caught.value.run
    assert dict(run.outputs) == {"good": 1}
    assert run.record.status == "failed"
    assert list(run.record.seconds) == ["good"]
