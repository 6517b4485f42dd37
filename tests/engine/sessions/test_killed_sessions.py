"""Sessions that are killed at any moment go on where they were: what was finished is not touched again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..store.forks import Job, Server

PROGRAM = Path(__file__).with_name("crash_session.py")
WORDS = ["ash", "birch", "cedar", "dogwood", "elm"]
KILLED = -signal.SIGKILL
#: How many sessions are killed by the clock, and how many lines lie between two others.
KILLS = int(os.environ.get("STAGEGRAPH_SESSION_KILLS", "40"))
STRIDE = int(os.environ.get("STAGEGRAPH_SESSION_KILL_STRIDE", "12"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Forks processes that have the engine imported."""
    with Server(tmp_path_factory.mktemp("results"), PROGRAM) as made:
        yield made


def start(server: Server, home: Path, ahead: int, **more: Any) -> Job:
    """Make the segments of a session, or those that are left."""
    return server.start("extend", folder=home / "session", store=home / "store", words=WORDS, ahead=ahead, **more)


def shown(home: Path) -> dict[str, tuple[bytes, int]]:
    """The files of the finished segments: content and when it was written."""
    state = home / "session" / "state.json"
    done = json.loads(state.read_text())["segments"] if state.exists() else 0
    folders = [home / "session" / f"segment-{index:04d}" for index in range(done)]
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    assert all((folder / "segment.json").exists() and (folder / "shown.bin").exists() for folder in folders)
    return {str(file.relative_to(home)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def whole(server: Server, home: Path) -> tuple[dict[str, bytes], Any]:
    """What a session leaves that nobody killed: the files of stages, and the last state."""
    assert start(server, home, 1).result() == {"made": [0, 1, 2, 3, 4], "pending": [], "segments": 5}
    return content(home)


def content(home: Path) -> tuple[dict[str, bytes], Any]:
    """Files of stages, the file of all segments, and the state."""
    files = {name: data for name, (data, _) in shown(home).items() if name.endswith(".bin")}
    assert (home / "session" / "shown.bin").read_bytes() == b"".join(files.values())
    return files, json.loads((home / "session" / "state.json").read_text())


def go_on(server: Server, home: Path, ahead: int, wanted: tuple[dict[str, bytes], Any]) -> int:
    """Finish the session and look at everything; gives how many segments had been finished."""
    before = shown(home)
    done = sum(name.endswith("segment.json") for name in before)
    parts = [data for name, (data, _) in before.items() if name.endswith(".bin")]
    grown = home / "session" / "shown.bin"
    # It holds all segments or all but the last, never a part of one
    held = grown.read_bytes() if grown.exists() else b""
    assert held in {b"".join(parts), b"".join(parts[:-1])}
    found = start(server, home, ahead).result()
    assert found == {"made": list(range(done, 5)), "pending": [], "segments": 5}
    after = shown(home)
    assert {name: after[name] for name in before} == before
    assert content(home) == wanted
    assert not list((home / "session").rglob("*.tmp"))
    shutil.rmtree(home)
    return done


@pytest.mark.slow
def test_a_session_killed_at_any_line_goes_on(server: Server, tmp_path: Path) -> None:
    """Between any two statements of what keeps sessions; at each ahead."""
    wanted = whole(server, tmp_path / "whole")
    line, seen, code, kills = 1, set(), KILLED, 0
    while code != 0:
        home = tmp_path / str(line)
        code = start(server, home, line % 2, dies_at_line=line).wait()
        kills += code == KILLED
        seen.add(go_on(server, home, line % 2, wanted))
        line += STRIDE
    assert seen == {0, 1, 2, 3, 4, 5}
    assert kills >= 400 / STRIDE


@pytest.mark.slow
def test_a_session_killed_at_any_moment_goes_on(server: Server, tmp_path: Path) -> None:
    """By the clock, from its first moment to its last; every third again while it goes on."""
    begun = time.perf_counter()
    wanted = whole(server, tmp_path / "whole")
    took = time.perf_counter() - begun
    chance, seen = random.Random(1), []
    for number in range(KILLS):
        home = tmp_path / str(number)
        start(server, home, number % 3).kill(chance.random() * took)
        if number % 3 == 0:
            start(server, home, number % 2).kill(chance.random() * took / 2)
        seen.append(go_on(server, home, number % 2, wanted))
    assert len(set(seen)) >= 4
