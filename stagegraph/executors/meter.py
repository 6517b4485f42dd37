"""How much memory nodes take: the size of the process, looked at while they run."""

from __future__ import annotations

import os
import threading
from typing import Final

import attrs

#: Seconds between two looks; nodes that take less have no figure.
PERIOD: Final = 0.02


@attrs.define(eq=False)
class Sample:
    """The most bytes of the process that were seen while a node ran; 0 if nobody looked."""

    peak: int = 0


class Meter:
    """Looks at the memory of the process in a thread of its own, as long as somebody wants to know.

    Only reading: the system's own peak could be set back for each node, but other programs read that one.
    """

    def __init__(self) -> None:
        self._active: set[Sample] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Sample:
        """Begin to look on behalf of a node."""
        sample = Sample()
        self._active.add(sample)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="stagegraph meter", daemon=True)
            self._thread.start()
        return sample

    def stop(self, sample: Sample) -> int:
        """The node is done; gives its peak in bytes, 0 if it was too short."""
        self._active.discard(sample)
        return sample.peak

    def close(self) -> None:
        """End the thread."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            size = resident()
            for sample in tuple(self._active):
                sample.peak = max(sample.peak, size)


def resident() -> int:
    """Bytes of this process that are in memory; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 - twice as fast as Path
            return int(file.read(256).split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
