"""What rank 0 and another rank tell each other, beside tensors: lines of JSON over a socket."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

#: Seconds that the other end has to take in what it is told.
PATIENCE: Final = 60
#: The most bytes of a message: the names of all weights are some hundred thousand.
LIMIT: Final = 1 << 24

Message = dict[str, Any]


class Line:
    """One end of a connection. Sending is for one thread, receiving for another."""

    def __init__(self, end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", PATIENCE, 0))
        self._socket = end
        self._lines = end.makefile("rb")

    @classmethod
    def to(cls, folder: Path) -> Line:
        """The line of this process to rank 0, which listens in the folder of the team."""
        end = socket.socket(socket.AF_UNIX)
        end.connect(address(folder))
        return cls(end)

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell something.

        Raises:
            OSError: the other end is gone, or takes nothing in.
        """
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None = None) -> Message | None:
        """What the other end told next; None if it is gone, or tells nothing in so many seconds."""
        try:
            self._socket.settimeout(timeout)
            line = self._lines.readline(LIMIT)
            self._socket.settimeout(None)
        except (OSError, ValueError):  # ValueError: closed by another thread
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Hang up; whoever waits for a message is told that there will be none."""
        with contextlib.suppress(OSError):  # the other end was first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def address(folder: Path) -> str:
    """Where rank 0 listens."""
    return str(folder / "rank0")
