"""What runs that go on at the same time share and give each other: the width of lanes, and values that come late."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs


@attrs.frozen
class Lanes:
    """How many steps run at once in each lane."""

    device: int = 1
    cpu: int = attrs.field(factory=lambda: os.cpu_count() or 1)
    io: int = 4

    @property
    def total(self) -> int:
        """How many steps run at once at most."""
        return self.device + self.cpu + self.io

    def width(self, lane: str) -> int:
        """The width of a lane."""
        return int(getattr(self, lane))


class Traffic:
    """Lanes that several runs share.

    Where two want the same place in a lane, it goes to the run that joined first, so that what has begun comes to its
    end.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self._busy: Counter[str] = Counter()
        self._runs: list[Entrance] = []
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def joined(self, wake: Callable[[], None]) -> Iterator[Entrance]:
        """The way into the lanes for one run, for the time of the `with` block.

        Args:
            wake: is called, from any thread, when it may be worth while to try again.
        """
        run = Entrance(self, wake)
        with self._lock:
            self._runs.append(run)
        try:
            yield run
        finally:
            with self._lock:
                self._runs.remove(run)
            self._wake_all_but(run)

    def _wake_all_but(self, run: Entrance) -> None:
        with self._lock:
            others = [other for other in self._runs if other is not run]
        for other in others:
            other.wake()


class Entrance:
    """The way into the lanes for one run; made by `Traffic.joined`."""

    def __init__(self, traffic: Traffic, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._traffic = traffic
        self._wanted: set[str] = set()

    @contextlib.contextmanager
    def turn(self, left: str | None = None) -> Iterator[None]:
        """For the time of the `with` block nobody else enters or leaves.

        Args:
            left: a lane in which a step of this run has ended.
        """
        traffic = self._traffic
        with traffic._lock:
            if left is not None:
                traffic._busy[left] -= 1
            wanted, self._wanted = self._wanted, set()
            yield
            makes_way = left is not None or wanted > self._wanted
        if makes_way:
            traffic._wake_all_but(self)

    def enter(self, lane: str) -> bool:
        """Whether a step may start in a lane; if so, it is in it."""
        traffic = self._traffic
        with traffic._lock:
            earlier = traffic._runs[: traffic._runs.index(self)]
            full = traffic._busy[lane] >= traffic.lanes.width(lane)
            if full or any(lane in run._wanted for run in earlier):
                self._wanted.add(lane)
                return False
            traffic._busy[lane] += 1
            return True

    def go_back(self, lane: str) -> None:
        """The step that entered does not start."""
        with self._traffic._lock:
            self._traffic._busy[lane] -= 1


class Late:
    """Inputs of a run whose values come while it runs: steps that need none of them start at once.

    Args:
        names: of the graph's inputs.
    """

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)
        self._came: list[tuple[str, Any]] = []
        self._error: BaseException | None = None
        self._tell: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def feed(self, name: str, value: Any) -> None:
        """Give a value, from any thread."""
        self._add((name, value), None)

    def fail(self, error: BaseException) -> None:
        """Say that no more values come."""
        self._add(None, error)

    def taken(self) -> list[tuple[str, Any]]:
        """The values that came since the last call.

        Raises:
            BaseException: what `fail` was given.
        """
        with self._lock:
            came, self._came = self._came, []
        if self._error is not None:
            raise self._error
        return came

    @contextlib.contextmanager
    def told(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have something called when a value comes, for the time of the `with` block; at once if one has."""
        with self._lock:
            self._tell = tell
            waiting = bool(self._came) or self._error is not None
        if waiting:
            tell()
        try:
            yield
        finally:
            self._tell = None

    def _add(self, item: tuple[str, Any] | None, error: BaseException | None) -> None:
        with self._lock:
            if item is not None:
                self._came.append(item)
            self._error = self._error or error
            tell = self._tell
        if tell is not None:
            tell()
