"""`SessionFolder`: a session on disk, which a crash leaves as it was after its last finished segment.

::

    DIR/session.json       the graph, with every setting
        video.mp4          what the segments left as the output `video`, joined, where such files can grow
        state.json         a snapshot; it is replaced in one go when a segment is done, and that is what makes it done
        pending.json       the inputs of segments that were asked for, until all of them are done
        segment-0000/      what the stages of a segment wrote, and segment.json: how it was made
        lock
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from stagegraph import durable, strictjson
from stagegraph import graph as graphs
from stagegraph import manifest as manifests
from stagegraph.errors import Fault, SessionError
from stagegraph.graph import Graph
from stagegraph.record import plain
from stagegraph.registry import Registry
from stagegraph.serde import StructureError, dotted, structure
from stagegraph.sessions.session import Segment, Session
from stagegraph.sessions.snapshot import Snapshot
from stagegraph.strictjson import JsonLimits
from stagegraph.writers import PATH, without_records, writers

if TYPE_CHECKING:
    from stagegraph.caching import Caching
    from stagegraph.events import Listener
    from stagegraph.executors.traffic import Lanes

#: The format of folders that this release reads and writes.
VERSION: Final = 1
#: What is read of a file of the folder.
LIMITS: Final = JsonLimits(max_bytes=512 * 2**20, max_tokens=1_000_000)


@attrs.frozen(kw_only=True)
class Head:
    """`session.json`; the segments before `first` were made elsewhere."""

    stagegraph_session_folder: Literal[1]
    created: str
    manifest: dict[str, Any]
    first: int = 0


@attrs.frozen(kw_only=True)
class Pending:
    """`pending.json`: the inputs of segments, of which the first has the number `first`."""

    first: int
    items: list[dict[str, Any]]


@attrs.frozen(kw_only=True)
class Made:
    """`segment.json`.

    Attributes:
        index: of the segment.
        inputs: that were given for it.
        outputs: plain values as they are, others in words.
        files: what its stages wrote, by paths inside its folder.
        run: the id of its run.
    """

    index: int
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    files: list[str]
    run: str

    def file(self, output: str) -> str | None:
        """Which of its files an output is; None if it is none."""
        value = self.outputs.get(output)
        told = PurePath(value).parts if isinstance(value, str) else ()
        home = f"segment-{self.index:04d}"
        for file in self.files:
            parts = PurePath(file).parts
            if told[-1 - len(parts) :] == (home, *parts) and ".." not in parts and not PurePath(file).is_absolute():
                return file
        return None


class SessionFolder:
    """An open folder.

    Args:
        path: of the folder.
        registry: what its graph may name.

    Raises:
        SessionError: it is no session, or one of a later release.
        ManifestError, GraphError: its graph needs what is not installed.
    """

    def __init__(self, path: Path, registry: Registry) -> None:
        self.path = path
        self._registry = registry
        head: Head = self._read("session.json", Head)
        self.created, self.first = head.created, head.first
        self.grown: tuple[Path, ...] = ()
        self.graph: Graph = graphs.build(manifests.from_data(head.manifest), registry)

    @classmethod
    def create(
        cls,
        path: Path,
        graph: Graph,
        registry: Registry,
        inputs: Mapping[str, Any] | None = None,
        snapshot: bytes | None = None,
    ) -> SessionFolder:
        """Begin a session in a new folder.

        Args:
            path: does not exist, or is empty.
            graph: with `carry`, and with all settings.
            registry: what it was made with.
            inputs: that are the same in every segment.
            snapshot: of a session to go on with; its inputs are kept as far as `inputs` does not say otherwise.

        Raises:
            SessionError: the folder cannot be made or holds something, the graph carries nothing, or the snapshot is
                none of this graph.
        """
        _check_paths(graph)
        graph = without_records(graph)  # run after run the files are then the same
        session = Session(graph, inputs, registry=registry)
        if snapshot is not None:
            session = Session.hydrate(graph, snapshot, registry=registry)
            session.inputs |= inputs or {}
        data = manifests.as_dict(graphs.to_manifest(graphs.to_drafts(graph), with_defaults=True))
        head = {"stagegraph_session_folder": VERSION, "created": _now(), "manifest": data, "first": session.segments}
        try:
            path.mkdir(parents=True, exist_ok=True)
            _remove_drafts(path)
            if any(file.name != "state.json" for file in path.iterdir()):  # else a beginning that was stopped
                what = f"{path} is not empty"
                raise SessionError(Fault("folder_taken", what, fix="name a new folder"))
            # What makes it a session comes last
            durable.replace(path / "state.json", _json(session.snapshot()))
            durable.replace(path / "session.json", _json(head))
        except OSError as error:
            raise _unwritable(path, error) from error
        return cls(path, registry)

    def snapshot(self) -> Snapshot:
        """The state after the last finished segment."""
        snapshot: Snapshot = self._read("state.json", Snapshot)
        return snapshot

    def pending(self) -> list[dict[str, Any]]:
        """The inputs of segments that were asked for and are not done."""
        if not (self.path / "pending.json").exists():
            return []
        pending: Pending = self._read("pending.json", Pending)
        return pending.items[max(0, self.snapshot().segments - pending.first) :]

    def made(self) -> list[Made]:
        """What was made, segment by segment, since the folder was begun."""
        return self._made(self.snapshot().segments)

    def files(self) -> dict[str, list[Path]]:
        """The outputs that are files: those that the segments left, in their order.

        Raises:
            SessionError: one of them is missing.
        """
        done = self.snapshot().segments
        return self._files(self._made(done), done)

    def grow(self) -> None:
        """Bring up to date the files that hold all segments: one for each output that is a file which can grow.

        They are `grown` then.

        Raises:
            SessionError: the file of a segment is missing.
            StagegraphError: what a plugin raises that joins them: they do not fit together, or the disk is full.
        """
        self._grow(self.files())

    def ask(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Note the inputs of segments that are to be made.

        Raises:
            SessionError: others are pending, or an input cannot be kept.
        """
        waiting = len(self.pending())
        if waiting:
            what = f"{waiting} segments that were asked for are not done"
            fix = f"stagegraph session resume {self.path}, with --forget to give them up"
            raise SessionError(Fault("pending", what, fix=fix))
        try:
            text = _json({"first": self.snapshot().segments, "items": [dict(item) for item in items]})
        except (TypeError, ValueError) as error:
            what = f"the inputs cannot be kept: {error}"
            raise SessionError(Fault("no_codec", what, fix="give plain values")) from None
        self._write("pending.json", text)

    def forget(self) -> None:
        """Give up what is pending."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "pending.json").unlink()

    def run(
        self,
        *,
        ahead: int = 1,
        lanes: Lanes | None = None,
        caching: Caching | None = None,
        on_event: Listener | None = None,
        join: bool = True,
    ) -> Iterator[Made]:
        """Make what is pending; each segment is given when it is on the disk.

        Args:
            ahead, lanes, caching, on_event: as for `Session`.
            join: have the files grow that hold all segments; see `grow`.

        Raises:
            SessionError: another process is at it, or a file cannot be written.
            StagegraphError: what a run raises; the segments before are done, the others stay pending.
        """
        items = self.pending()
        session = Session.hydrate(
            self.graph,
            self.snapshot(),
            registry=self._registry,
            lanes=lanes,
            caching=caching,
            on_event=on_event,
            directory=self.path,
        )
        for left in self.path.glob("segment-*"):  # of segments that were begun
            if _number(left) >= session.segments:
                shutil.rmtree(left)
        done = self._made(session.segments)
        if join:
            self._files(done, session.segments)  # a missing one is told before there is work to lose
        with contextlib.closing(session.stream(items, ahead=ahead)) as segments:
            for item, segment in zip(items, segments, strict=True):
                done.append(self._commit(session, segment, item))
                if join:
                    self._grow(self._files(done, session.segments))
                yield done[-1]
        self.forget()
        if join and not items:  # a segment may have been made, and what it was to be joined to not have grown
            self.grow()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from making segments; the lock goes with the process, however it ends.

        Raises:
            SessionError: another process holds it.
        """
        with contextlib.closing(sqlite3.connect(self.path / "lock", timeout=0, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                what = f"another process makes segments of {self.path}"
                raise SessionError(Fault("session_busy", what, why=str(error), fix="wait until it is done")) from None
            _remove_drafts(self.path)
            yield

    def _commit(self, session: Session, segment: Segment, item: Mapping[str, Any]) -> Made:
        home = self.path / f"segment-{segment.index:04d}"
        files = sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())
        made = Made(
            index=segment.index,
            inputs=dict(item),
            outputs={name: plain(value) for name, value in segment.outputs.items()},
            files=files,
            run=segment.run.id,
        )
        try:
            home.mkdir(exist_ok=True)
            durable.replace(home / "segment.json", _json(attrs.asdict(made, recurse=False)))
            durable.sync_tree(home)
        except OSError as error:
            raise _unwritable(home, error) from error
        self._write("state.json", _json(session.snapshot()))
        return made

    def _made(self, done: int) -> list[Made]:
        found = sorted(self.path.glob("segment-*/segment.json"), key=lambda file: _number(file.parent))
        made: list[Made] = [self._read(str(file.relative_to(self.path)), Made) for file in found]
        return [segment for segment in made if segment.index < done]

    def _files(self, made: Sequence[Made], done: int) -> dict[str, list[Path]]:
        by_number = {segment.index: segment for segment in made}
        names = [name for name in self.graph.outputs if made and made[-1].file(name)]
        return {name: [self._part(name, i, by_number.get(i)) for i in range(self.first, done)] for name in names}

    def _part(self, output: str, index: int, made: Made | None) -> Path:
        """The file that a segment left."""
        file = made.file(output) if made is not None else "segment.json"
        path = self.path / f"segment-{index:04d}" / (file or "")
        if not path.is_file():
            what = f"segment {index} of {self.path} has no file of the output {output}"
            fix = "put it back" if file else ""
            raise SessionError(Fault("no_segment", what, where=str(path), fix=fix))
        return path

    def _grow(self, files: Mapping[str, Sequence[Path]]) -> None:
        grown = []
        for name, parts in files.items():
            suffix = parts[-1].suffix.lower()
            joiner, file = self._registry.joiners.get(suffix), self.path / f"{name}{suffix}"
            if joiner is not None and joiner.grow(file, parts):
                grown.append(file)
        self.grown = tuple(grown)

    def _write(self, name: str, text: bytes) -> None:
        try:
            durable.replace(self.path / name, text)
        except OSError as error:
            raise _unwritable(self.path / name, error) from error

    def _read(self, name: str, type_: Any) -> Any:
        file = self.path / name
        try:
            with file.open("rb") as opened:
                data = opened.read(LIMITS.max_bytes + 1)
        except OSError as error:
            what = f"{self.path} is no session: {name} cannot be read: {error.strerror}"
            fix = f"stagegraph session start MANIFEST {self.path}"
            raise SessionError(Fault("no_session", what, fix=fix)) from None
        try:
            return structure(strictjson.read(data, LIMITS), type_)
        except StructureError as error:
            faults = (Fault(p.code, f"{file}: {p.what}", dotted(p.path), p.why, p.fix) for p in error.problems[:20])
            raise SessionError(*faults) from None


def _check_paths(graph: Graph) -> None:
    """Every segment has files of its own."""
    for node in writers(graph.nodes.values()):
        path = getattr(node.stage, PATH)
        if path is not None:
            what = f"{node.name} writes to {path}, so that each segment would write over the one before"
            fix = f"leave {node.name}.{PATH} out: each segment has a folder"
            raise SessionError(Fault("unwritable", what, fix=fix))


def _remove_drafts(folder: Path) -> None:
    """What a process was writing that was stopped."""
    for draft in folder.glob(".*.tmp"):
        draft.unlink(missing_ok=True)


def _number(folder: Path) -> int:
    number = folder.name.removeprefix("segment-")
    return int(number) if number.isascii() and number.isdecimal() else -1


def _json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _unwritable(path: Path, error: OSError) -> SessionError:
    what = f"{path} cannot be written: {error.strerror or error}"
    return SessionError(Fault("unwritable", what, fix=f"ls -ld {path.parent}; df -h {path.parent}"))


__all__ = ["Made", "SessionFolder"]
