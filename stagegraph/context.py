"""`StageContext`: what a run lends to a stage beside components: progress, cancellation, seeds, a folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagegraph.errors import Cancelled, Fault

if TYPE_CHECKING:
    import random


class Cancellation:
    """A flag that one thread sets and a running stage looks at."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the run to stop; it stops at the next place where a stage looks."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()


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
        """Raise `Cancelled` if somebody asked the run to stop; call it wherever stopping is safe."""
        if self._cancellation.requested:
            raise Cancelled(Fault("cancelled", "the run was cancelled", where=self.node))

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
