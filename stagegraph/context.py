"""`StageContext`: what a run lends to a stage beside components: progress, cancellation, seeds, a folder."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagegraph.errors import Cancelled, Fault, TimedOut

if TYPE_CHECKING:
    import random


class Cancellation:
    """A flag that one thread sets and a running stage looks at."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Ask the run to stop; it stops at the next place where a stage looks."""
        with self._lock:
            self._event.set()
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until somebody asks, but not longer than that; gives whether somebody did."""
        return self._event.wait(seconds)

    def check(self, where: str) -> None:
        """Raise `Cancelled` if somebody asked; `where` names the node that looks."""
        if self.requested:
            raise Cancelled(Fault("cancelled", "the run was cancelled", where=where))

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have something called when somebody asks during the `with` block, in the thread of who asks; at once if
        somebody has."""
        token = object()
        with self._lock:
            self._callbacks[token] = callback
            asked = self.requested
        try:
            if asked:
                callback()
            yield
        finally:
            with self._lock:
                del self._callbacks[token]


class Deadline(Cancellation):
    """The cancellation of a run as a node with a time limit sees it: its time may be over, too.

    Args:
        run: the flag of the run.
        seconds: from now.
    """

    def __init__(self, run: Cancellation, seconds: float) -> None:
        super().__init__()
        self._run = run
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, 0 when the time is over."""
        return max(0.0, self._end - time.monotonic())

    @property
    def requested(self) -> bool:
        """Whether the stage is to stop, for whatever reason."""
        return self._run.requested or not self.left

    def expire(self) -> None:
        """End the time now."""
        self._end = time.monotonic()

    def check(self, where: str) -> None:
        """Raise `Cancelled` or `TimedOut`."""
        self._run.check(where)
        if not self.left:
            raise self.error(where)

    def error(self, where: str) -> TimedOut:
        """What is raised when the time is over."""
        what = f"{where} took longer than {self.seconds:g} s"
        return TimedOut(Fault("timed_out", what, where=where, fix="give it more time, or less to do"))

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """As that of the run: who waits for a deadline sets a timer."""
        with self._run.calling(callback):
            yield


class StageContext:
    """What a stage may use of the run that it is part of.

    `StageContext()` alone serves a unit test: progress goes nowhere, nothing cancels, the folder is the current one.
    """

    def __init__(
        self,
        node: str = "",
        *,
        directory: Path | Callable[[], Path] = Path(),
        record: Callable[[], Mapping[str, Any]] = dict,
        on_progress: Callable[[int, int, str], None] | None = None,
        on_checkpoint: Callable[[int, Any], None] | None = None,
        restored: Callable[[], tuple[int, Any] | None] | None = None,
        cancellation: Cancellation | None = None,
    ) -> None:
        self.node = node
        self._directory = directory
        self._record = record
        self._on_progress = on_progress
        self._on_checkpoint = on_checkpoint
        self._restored = restored
        self._cancellation = cancellation or Cancellation()

    @property
    def directory(self) -> Path:
        """The run's own folder, made when first asked for."""
        if not isinstance(self._directory, Path):
            self._directory = self._directory()
        return self._directory

    def record(self) -> Mapping[str, Any]:
        """The run record so far, as plain JSON: what an output needs to be made again."""
        return self._record()

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Say that `done` of `total` steps are done; also a place at which the run can be cancelled.

        Raises:
            Cancelled: somebody asked the run to stop.
        """
        if self._on_progress is not None:
            self._on_progress(done, total, message)
        self.check_cancelled()

    def checkpoint(self, number: int, value: Any) -> None:
        """Keep a value in case that the stage does not come to its end; it takes the place of the one before.

        Kept only in runs that keep outputs; elsewhere nothing happens.

        Args:
            number: how far the stage has come.
            value: plain data, or of a type with a codec; enough to go on with.
        """
        if self._on_checkpoint is not None:
            self._on_checkpoint(number, value)

    def restored(self) -> tuple[int, Any] | None:
        """The number and value of the last checkpoint of this very work; None if it is to start from the beginning."""
        return self._restored() if self._restored is not None else None

    def check_cancelled(self) -> None:
        """Stop here if somebody asked the run to stop, or the node's time is over; call it wherever stopping is safe.

        Raises:
            Cancelled: the run is to stop.
            TimedOut: the node's `timeout` has passed.
        """
        self._cancellation.check(self.node)

    def generator(self, seed: int, *purpose: str) -> random.Random:
        """A generator of its own for each (seed, purpose); see `derive_seed`."""
        import random

        return random.Random(derive_seed(seed, *purpose))


def derive_seed(seed: int, *purpose: str) -> int:
    """A seed for one purpose out of the seed of a request: the same everywhere, unrelated between purposes.

    The first 8 bytes, big-endian and without the top bit, of SHA-256 over the decimal seed and the purposes, each
    followed by a NUL byte. Give it to `torch.Generator().manual_seed(...)` or `numpy.random.default_rng(...)`.
    """
    import hashlib  # OpenSSL takes as long to load as the rest of this module

    text = "".join(f"{part}\0" for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
