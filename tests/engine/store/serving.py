"""What programs have in common that fork a process for each job: `forks.Server` starts them, beside this module."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from stagegraph.errors import StagegraphError

#: What it is asked for -> what became of it.
Work = Callable[[dict[str, Any]], dict[str, Any]]


def die_at_line(line: int, *places: str) -> None:
    """Have this process killed when it comes to the n-th line of files whose paths begin so, counted from now."""
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(places):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def serve(jobs: Mapping[str, Work]) -> None:
    """Do jobs, each in a process of its own, until stdin ends."""
    gc.collect()
    gc.freeze()  # or the collector of a child would copy every page of its parent
    for line in sys.stdin:
        job = json.loads(line)
        if job["do"] == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(job["pid"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                os._exit(_done(jobs[job["do"]], job))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _done(work: Work, job: dict[str, Any]) -> int:
    """Do a job, and write down how it ended; gives the exit code."""
    try:
        result = work(job)
    except StagegraphError as error:
        result = {"error": type(error).__name__, "code": error.code, "text": str(error)}
    except BaseException:
        traceback.print_exc()
        return 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    Path(job["result"]).write_text(json.dumps(result))
    return 0
