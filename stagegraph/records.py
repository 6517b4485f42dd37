"""Run records in files: reading them, and taking them out. By the file's ending, through the readers of plugins."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from stagegraph import manifest as manifests
from stagegraph import record
from stagegraph.errors import Fault, RecordError, UsageError
from stagegraph.manifest import Manifest
from stagegraph.record import RunRecord
from stagegraph.recordreaders import RecordReader
from stagegraph.registry import Registry
from stagegraph.tensorfile import parse_json
from stagegraph.writers import PATH, RECORD

#: Bytes. What is taken out may be longer than what is read.
LONGEST_REMOVED: Final = 256 * 2**20
#: Bytes. Shorter texts may be in a file by chance.
SHORTEST_SOUGHT: Final = 8

_LONGEST_SOUGHT, _MOST_SOUGHT = 64, 64


def read(path: Path, registry: Registry) -> RunRecord:
    """The record in a file: a `run.json`, or a file of a kind that a plugin reads records from.

    Raises:
        RecordError: there is none, or it cannot be read.
        StagegraphError: what the plugin finds wrong with the file.
    """
    _check_file(path)
    if path.suffix.lower() == ".json":
        data: bytes | None = _head(path, record.LONGEST + 1)
    else:
        data = _reader(path, registry).read(path, record.LONGEST)
    if data is None:
        beside = path.with_suffix(".run.json")
        why = "it was written without one, it was stripped, or another program wrote it"
        fix = f"there is a record beside it: {beside}" if beside.is_file() else ""
        raise RecordError(Fault("no_record", "the file carries no run record", str(path), why, fix))
    return record.loads(data, str(path))


def graph_digest(manifest: Manifest, registry: Registry) -> str:
    """The identity of what a graph does, in hex: its stages, params, wires and components, not its name.

    Where writers write, and whether they put the record there, is left out: it makes no other picture.
    """
    data = manifests.as_dict(manifest)
    for name, node in manifest.nodes.items():
        spec = registry.stages.get(node.stage.partition("@")[0])
        if spec is not None and hasattr(spec.factory, "writes"):
            params = data["nodes"][name].get("params", {})
            data["nodes"][name]["params"] = {key: params[key] for key in params if key not in (PATH, RECORD)}
    told = {section: data.get(section) for section in ("components", "nodes")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@attrs.frozen
class Stripped:
    """What `strip` has done: the file without tags, and whether there was a record in it."""

    path: Path
    had_record: bool


def strip(path: Path, target: Path, registry: Registry) -> Stripped:
    """Take the run record and all other tags out of a file.

    The target appears whole or not at all, and only after it was searched for what the record said.

    Args:
        path: the file.
        target: where the file without tags goes; the file itself is replaced if this is its path.
        registry: knows the kinds of files.

    Raises:
        RecordError: files of this kind carry no records, or texts of the record are still there afterwards.
        UsageError: the target cannot be written.
        StagegraphError: what the plugin finds wrong with the file.
    """
    _check_file(path)
    reader = _reader(path, registry)
    text = reader.read(path, LONGEST_REMOVED)
    with _replacing(target.resolve(), path) as draft:
        reader.strip(path, draft)
        if text is not None:
            _check_absence(draft, text, path)
        if reader.read(draft, LONGEST_REMOVED) is not None:
            raise RecordError(Fault("record_remains", "the record is still in the file", str(path)))
    return Stripped(target, text is not None)


def _check_file(path: Path) -> None:
    if not path.is_file():
        reason = "it is no regular file" if path.exists() else "there is no such file"
        raise RecordError(Fault("no_record", f"{path} cannot be read: {reason}"))


def _reader(path: Path, registry: Registry) -> RecordReader:
    reader = registry.readers.get(path.suffix.lower())
    if reader is None:
        what = f"files that end in {path.suffix} carry no run record" if path.suffix else "the file has no ending"
        fix = f"name a file that ends in {', '.join(sorted(registry.readers))}" if registry.readers else ""
        raise RecordError(Fault("no_record", what, str(path), fix=fix))
    return reader


def _head(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise RecordError(Fault("no_record", f"{path} cannot be read: {error.strerror}")) from None


def _check_absence(path: Path, text: bytes, source: Path) -> None:
    """Search a file for what people would not want to find in it: what went into the run, and its settings."""
    if not path.stat().st_size:  # which cannot be mapped
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name, sought in _sought(text):
            at = content.find(sought)
            if at >= 0:
                what = f"the text of {name} is still in the file without its tags, {at} bytes in"
                why = "a program has put it somewhere else, as into subtitles; nothing was written"
                raise RecordError(Fault("record_remains", what, str(source), why))


def _sought(text: bytes) -> list[tuple[str, bytes]]:
    """Texts of a record, by their place in it: all inputs, then the longest of the others."""
    try:
        content = parse_json(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return [("the record", text[:_LONGEST_SOUGHT])] if len(text) >= SHORTEST_SOUGHT else []
    inputs = list(_texts("inputs", content.get("inputs")))
    others = sorted(_texts("manifest", content.get("manifest")), key=lambda pair: -len(pair[1]))
    found: dict[bytes, str] = {}
    for name, value in [*inputs, *others]:
        for form in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
            sought = form.encode("utf-8", "backslashreplace")[:_LONGEST_SOUGHT]
            if len(sought) >= SHORTEST_SOUGHT and len(found) < _MOST_SOUGHT:
                found.setdefault(sought, name)
    return [(name, sought) for sought, name in found.items()]


def _texts(name: str, content: Any) -> Iterator[tuple[str, str]]:
    waiting = [(name, content)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            waiting += [(f"{place}.{key}", item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{place}[{index}]", item) for index, item in enumerate(value)]


@contextlib.contextmanager
def _replacing(target: Path, like: Path) -> Iterator[Path]:
    """A file to write to, which takes the place of the target when the block ends without an error."""
    draft = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            yield draft
            shutil.copymode(like, draft)
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(Fault("unwritable", f"{target} cannot be written: {error.strerror}")) from None
