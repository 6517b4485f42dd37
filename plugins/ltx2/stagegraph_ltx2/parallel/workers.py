"""The processes of the other ranks, as rank 0 has them: started, heard, ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, Literal

import attrs
import torch

from stagegraph_ltx2.errors import RankError, fault
from stagegraph_ltx2.parallel import launched
from stagegraph_ltx2.parallel.lines import Line, address

#: Seconds in which a process has to begin: it imports torch, at worst from a cold disk.
START: Final = 180.0
#: Seconds that a process has to end before it is killed.
END: Final = 5.0
#: Bytes of what a process said last that are looked at.
TAIL: Final = 4096

#: How a rank was lost: it told an error of its own, it told that another was gone, or it told nothing any more.
How = Literal["failed", "cut off", "gone"]


@attrs.frozen
class Process:
    """A process that rank 0 started, and what it says."""

    popen: subprocess.Popen[bytes]
    log: IO[bytes]

    def last_words(self) -> str:
        """The last line of what it said."""
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - TAIL))
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((_short(line) for line in reversed(lines) if line.strip()), "")

    def fate(self) -> str:
        """How it ended."""
        try:
            code = self.popen.wait(END)
        except subprocess.TimeoutExpired:
            return "does not answer any more"
        if code >= 0:
            return f"ended with exit code {code}"
        known = {number.value: number.name for number in signal.Signals}
        return f"was killed by {known.get(-code, f'signal {-code}')}"

    def end(self, deadline: float) -> None:
        """See it end, by force if need be."""
        try:
            self.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.log.close()


class Workers:
    """Ranks 1 and up of a team.

    Made at once; `meet` waits until they are there. A thread for each listens to what it tells, so that it is known at
    once when one is lost.

    Args:
        ranks: how many there are, with rank 0.
        device: of rank 0; the others take those that follow, or the CPU as well.
    """

    def __init__(self, ranks: int, device: torch.device) -> None:
        self.ranks = ranks
        self.folder = _private_folder()
        self.on_loss: Callable[[], None] = lambda: None
        self._device = device
        self._lines: dict[int, Line] = {}
        self._lost: list[tuple[int | None, How, str]] = []
        self._losing = threading.Condition()
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address(self.folder))
        self._listener.listen(ranks)
        self._processes: dict[int, Process] = {}
        if not launched.announce(self.folder, ranks):
            self._processes = {rank: _start(self.folder, rank, ranks, device) for rank in range(1, ranks)}

    def meet(self) -> None:
        """Wait until all are there, and tell them to join.

        Raises:
            RankError: one of them ended before, or none comes.
        """
        self._listener.settimeout(0.1)
        deadline = time.monotonic() + START
        while len(self._lines) < self.ranks - 1:
            with contextlib.suppress(TimeoutError):
                line = Line(self._listener.accept()[0])
                greeting = line.receive(START)
                if greeting is not None:
                    self._lines[greeting["rank"]] = line
            absent = [rank for rank in range(1, self.ranks) if rank not in self._lines]
            for rank in absent:
                if rank in self._processes and self._processes[rank].popen.poll() is not None:
                    self._lose(rank, "gone", "")
                    raise self.error()
            if absent and time.monotonic() > deadline:
                self._lose(absent[0], "failed", f"did not begin within {START:g} s")
                raise self.error()
        for rank, line in self._lines.items():
            threading.Thread(
                target=self._listen, args=(rank, line), name=f"stagegraph rank {rank}", daemon=True
            ).start()
        self.tell({"do": "join", "ranks": self.ranks, "device": self._device.type})

    def tell(self, message: Mapping[str, Any]) -> None:
        """Tell all of them; one that is gone does not hear it, which its thread notices."""
        for line in self._lines.values():
            with contextlib.suppress(OSError):
                line.send(message)

    def lost(self, patience: float = 0.0) -> bool:
        """Whether one of them is lost that was not lost because of another; waits so many seconds for that to show."""
        with self._losing:
            return self._losing.wait_for(lambda: any(how != "cut off" for _, how, _ in self._lost), patience)

    def stall(self, text: str) -> None:
        """Nothing comes of what they do: let go of it."""
        self._lose(None, "failed", text)

    def error(self, otherwise: str = "") -> RankError:
        """Which rank was lost, and how; or what is the matter if it is none."""
        with self._losing:
            losses = sorted(self._lost, key=lambda loss: loss[1] == "cut off")
        rank, how, text = losses[0] if losses else (None, "failed", _short(otherwise))
        if rank is None:
            what = f"the {self.ranks} ranks do not reach each other: {text}"
            return RankError(fault("rank_lost", what, fix="run it again"))
        process = self._processes.get(rank)
        if how == "gone":
            text = process.fate() if process is not None else "ended"
        why = process.last_words() if process is not None else ""
        if how != "gone" or not why:
            why = "the ranks share one computation, so that none can go on without the others"
        fix = "run it again, or with fewer ranks (--nproc)"
        if text.endswith("SIGKILL"):
            fix = f"if nobody killed it, memory ran out (see dmesg): {fix}"
        return RankError(fault("rank_lost", f"rank {rank} of {self.ranks} {text}", why=why, fix=fix))

    def close(self, *, kindly: bool = True) -> None:
        """End all processes; may be called again.

        Args:
            kindly: they wait for what they are told next, so that they can be told to end; others are killed.
        """
        with self._losing:
            if self._closed:
                return
            self._closed = True
        if kindly:
            self.tell({"do": "end"})
        for line in self._lines.values():
            line.close()
        self._listener.close()
        deadline = time.monotonic() + (END if kindly and self._lines else 0.0)
        for process in self._processes.values():
            process.end(deadline)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listen(self, rank: int, line: Line) -> None:
        message = line.receive()
        if message is None:
            self._lose(rank, "gone", "")
        elif "cut off" in message:
            self._lose(rank, "cut off", f"lost the others: {_short(message['cut off'])}")
        else:
            self._lose(rank, "failed", f"failed: {_short(message['error'])}")

    def _lose(self, rank: int | None, how: How, text: str) -> None:
        with self._losing:
            if self._closed:  # they end because they shall
                return
            self._lost.append((rank, how, text))
            self._losing.notify_all()
        self.on_loss()


def _short(text: str) -> str:
    """What another process said, as a line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 300 else line[:300] + "…"


def _private_folder() -> Path:
    """A new folder into which nobody else may look, of a name that the address of a socket has room for."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="stagegraph-ranks-", dir=usual if len(os.fsencode(usual)) < 64 else "/tmp"))


def _start(folder: Path, rank: int, ranks: int, device: torch.device) -> Process:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    if device.type == "cpu":  # all of them compute at the same time
        environment.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // ranks)))
    log = tempfile.TemporaryFile()  # noqa: SIM115
    command = [sys.executable, "-P", "-m", "stagegraph_ltx2.parallel", str(folder), str(rank)]
    popen = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        process_group=0,  # Ctrl-C is for rank 0, which ends the others
    )
    return Process(popen, log)
