"""Processes that run the graph of `crash_graph`, forked by a server that has the engine imported."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

PROGRAM = Path(__file__).with_name("crash_server.py")


class Server:
    """Forks a process for each job. Use it in a `with`.

    Args:
        folder: where jobs leave what they give.
        program: serves them by `serving.serve`, which it imports by that name.
    """

    def __init__(self, folder: Path, program: Path = PROGRAM) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, str(program)],
            env={**os.environ, "PYTHONPATH": f"{PROGRAM.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def start(self, do: str, **job: Any) -> Job:
        """Start a job; see `crash_server.JOBS` for what there is."""
        result = self._folder / f"result-{next(self._numbers)}"
        pid = self.ask(
            {"do": do, "result": str(result), **{k: str(v) if isinstance(v, Path) else v for k, v in job.items()}}
        )
        return Job(self, pid, result)

    def ask(self, question: dict[str, Any]) -> int:
        """Send a line, and read the number that comes back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(question)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@attrs.frozen
class Job:
    """A process that was started."""

    server: Server
    pid: int
    file: Path

    def kill(self, after: float, once: Callable[[], bool] = lambda: True) -> int:
        """Kill it so many seconds after something is the case; gives its exit code, 0 if it was done before."""
        while not (once() or self.file.exists()):
            time.sleep(0.0003)
        time.sleep(after)
        os.kill(self.pid, signal.SIGKILL)  # the server has not waited for it, so the id is still its own
        return self.wait()

    def wait(self) -> int:
        """Its exit code, when it is done; negative for a signal."""
        return self.server.ask({"do": "wait", "pid": self.pid})

    def result(self) -> dict[str, Any]:
        """What it gave, when it is done."""
        code = self.wait()
        assert code == 0, f"process {self.pid} ended with {code}"
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found
