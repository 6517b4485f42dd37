"""A program that makes segments of a session in a folder, forked for each job: started by `forks.Server`."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from serving import die_at_line, serve

import stagegraph as sg
from stagegraph import durable
from stagegraph.artifacts import Codecs
from stagegraph.caching import Caching
from stagegraph.sessions import folder as folders
from stagegraph.sessions.folder import SessionFolder
from stagegraph.store import Store


@sg.stage("crash.step", version=1)
class Step:
    """The next state."""

    def run(self, word: str, state: str) -> str:
        """A digest of what was and what is."""
        return hashlib.sha256(f"{state} {word}".encode()).hexdigest()


@sg.stage("crash.steps", version=1)
class Steps:
    """Work in steps, each of which is kept."""

    def run(self, state: str, *, context: sg.StageContext) -> bytes:
        """Hash over and over."""
        done, data = context.restored() or (0, state.encode() * 200)
        for step in range(done + 1, 5):
            data = hashlib.sha256(data).digest() * 400
            context.checkpoint(step, data)
        return data


@sg.stage("crash.file", version=1, cache=False, lane="io")
class File:
    """Writes what the segment shows."""

    def run(self, data: bytes, state: str, *, context: sg.StageContext) -> str:
        """In two pieces."""
        path = context.directory / "shown.bin"
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            file.write(state.encode())
        return str(path)


def graph() -> sg.Graph:
    """Steps, and a file."""
    g = sg.Graph("crash/session", registry=REGISTRY)
    state = g.add(Step(), name="step", word=g.input("word", str), state=g.input("state", str, ""))
    g.output("state", state)
    g.output("shown", g.add(File(), name="file", data=g.add(Steps(), name="steps", state=state), state=state))
    g.carry("state", "state")
    return g


def grow(file: Path, parts: Sequence[Path]) -> bool:
    """All parts, one after the other."""
    durable.replace(file, b"".join(part.read_bytes() for part in parts))
    return True


REGISTRY = attrs.evolve(sg.Registry.of(Step, Steps, File), joiners={".bin": sg.Joiner((".bin",), File, grow)})


def extend(job: dict[str, Any]) -> dict[str, Any]:
    """Begin the session if there is none, ask for segments if any are given, and make what is pending."""
    if "dies_at_line" in job:
        die_at_line(job["dies_at_line"], str(folders.__file__), str(durable.__file__))
    path = Path(job["folder"])
    if not (path / "session.json").exists():
        SessionFolder.create(path, graph().bind(), REGISTRY)
    opened = SessionFolder(path, REGISTRY)
    with opened.locked(), Store(Path(job["store"])) as store:
        if not opened.pending() and opened.snapshot().segments < len(job["words"]):
            opened.ask([{"word": word} for word in job["words"][opened.snapshot().segments :]])
        caching = Caching(store, Codecs())
        made = [segment.index for segment in opened.run(ahead=job["ahead"], caching=caching)]
    return {"made": made, "pending": opened.pending(), "segments": opened.snapshot().segments}


def main() -> None:
    """Serve until stdin ends."""
    with tempfile.TemporaryDirectory() as folder:
        extend({"folder": f"{folder}/session", "store": f"{folder}/store", "words": ["a"], "ahead": 1})
    serve({"extend": extend})


if __name__ == "__main__":
    main()
