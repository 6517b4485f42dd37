"""How much memory nodes take: the size of the process, looked at while they run."""

from __future__ import annotations

import os
import threading
import time
from functools import cache
from typing import Final

#: Seconds between two looks; nodes that take less have no figure.
PERIOD: Final = 0.02
#: Looks without a call after which the thread sleeps until the next one: to wake it takes as long as ten short nodes.
PATIENCE: Final = 50


class Meter:
    """Looks at the memory of the process in a thread of its own, as long as somebody wants to know.

    One serves every run of a process: to start a thread takes as long as to run a hundred nodes that do nothing.

    Only reading: the system's own peak could be set back for each node, but other programs read that one.
    """

    def __init__(self) -> None:
        self._peaks: dict[object, int] = {}
        self._looking = False
        self._wanted = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, call: object) -> None:
        """Begin to look on behalf of a call."""
        self._peaks[call] = 0
        if not self._looking:
            self._wake()

    def stop(self, call: object) -> int:
        """The call is done; gives its peak in bytes, 0 if it was too short."""
        return self._peaks.pop(call)

    def _wake(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="stagegraph meter", daemon=True)
                self._thread.start()
            self._looking = True
            self._wanted.set()

    def _watch(self) -> None:
        while self._wanted.wait():
            idle = 0
            while idle < PATIENCE:
                time.sleep(PERIOD)
                idle = 0 if self._look() else idle + 1
            self._wanted.clear()
            self._looking = False
            if self._peaks:  # of a call that began meanwhile, and took it that somebody looks
                self._wake()

    def _look(self) -> bool:
        """Take the size on behalf of every call; False if there is none."""
        calls = tuple(self._peaks)
        size = resident() if calls else 0
        for call in calls:
            peak = self._peaks.get(call)
            if peak is not None and size > peak:
                self._peaks[call] = size
        return bool(calls)


def meter() -> Meter:
    """That of this process: threads do not survive a fork."""
    return _meter_of(os.getpid())


@cache
def _meter_of(process: int) -> Meter:
    return Meter()


def resident() -> int:
    """Bytes of this process that are in memory; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:  # noqa: PTH123 - twice as fast as Path
            return int(file.read(256).split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
