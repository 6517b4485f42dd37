"""The snapshot of a session: what its next segment needs, as plain JSON that may come from anybody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from stagegraph import strictjson
from stagegraph.continuation import BlobStore, ContinuationCodec, ContinuationState
from stagegraph.errors import Fault, SessionError
from stagegraph.executors.checks import checked
from stagegraph.graph import Graph
from stagegraph.serde import StructureError, dotted, structure
from stagegraph.strictjson import JsonLimits

#: The format of snapshots that this release reads and writes.
VERSION: Final = 1


@attrs.frozen
class Carried:
    """What an input will take: a plain value, or the state of a continuation."""

    value: Any = None
    state: ContinuationState | None = None


@attrs.frozen(kw_only=True)
class Snapshot:
    """A snapshot as it is written.

    Attributes:
        stagegraph_session: the format.
        graph: the name of the graph.
        segments: how many there are.
        inputs: that are the same in every segment.
        carried: by input.
    """

    stagegraph_session: Literal[1]
    graph: str
    segments: int
    inputs: dict[str, Any] = attrs.field(factory=dict)
    carried: dict[str, Carried] = attrs.field(factory=dict)

    @classmethod
    def read(cls, data: Mapping[str, Any] | bytes, limits: JsonLimits | None = None) -> Snapshot:
        """Read a snapshot, or its JSON text; what its states say is for their codecs to judge.

        Raises:
            SessionError: it is none, or exceeds the limits; with every fault.
        """
        try:
            plain = strictjson.read(data, limits) if isinstance(data, (bytes, bytearray, memoryview)) else data
            snapshot: Snapshot = structure(plain, cls)
        except StructureError as error:
            faults = [Fault(p.code, f"the snapshot: {p.what}", dotted(p.path), p.why, p.fix) for p in error.problems]
            raise SessionError(*faults[:20]) from None
        if not 0 <= snapshot.segments < 2**53:
            raise SessionError(Fault("invalid_value", "the snapshot: segments is out of range", "segments"))
        return snapshot


def packed(
    graph: str,
    segments: int,
    inputs: Mapping[str, Any],
    carried: Mapping[str, Any],
    codecs: Mapping[str, ContinuationCodec],
    blobs: BlobStore | None,
) -> dict[str, Any]:
    """A snapshot as plain JSON.

    Raises:
        SessionError: a value is neither plain JSON nor of a type that a codec writes.
        ContinuationError: its codec cannot write it.
    """
    for name, value in inputs.items():
        if not _is_plain(value):
            raise SessionError(_not_plain(f"the input {name}", value))
    return {
        "stagegraph_session": VERSION,
        "graph": graph,
        "segments": segments,
        "inputs": dict(inputs),
        "carried": {name: _packed(name, value, codecs, blobs) for name, value in carried.items()},
    }


def unpacked(
    snapshot: Snapshot,
    graph: Graph,
    carry: Mapping[str, str],
    codecs: Mapping[str, ContinuationCodec],
    blobs: BlobStore | None,
) -> dict[str, Any]:
    """The values that are carried, by input.

    Raises:
        SessionError: the snapshot is of another graph, or of a kind that no plugin reads.
        ContinuationError: a state cannot be read.
        InputError: a value is not of the type that its input takes.
    """
    expected = set(carry) if snapshot.segments else set()
    if snapshot.graph != graph.name or set(snapshot.carried) != expected:
        what = f"the snapshot is of another graph than {graph.name}"
        why = f"it is of {snapshot.graph} and carries {', '.join(snapshot.carried) or 'nothing'}"
        raise SessionError(Fault("invalid_value", what, why=why, fix="load the graph that it was made with"))
    return {
        name: checked(graph.inputs[name], _unpacked(name, carried, codecs, blobs))
        for name, carried in snapshot.carried.items()
    }


def _packed(name: str, value: Any, codecs: Mapping[str, ContinuationCodec], blobs: BlobStore | None) -> dict[str, Any]:
    codec = next((codec for codec in codecs.values() if type(value) is codec.type), None)
    state = value if isinstance(value, ContinuationState) else codec.encode(value, blobs) if codec is not None else None
    if state is not None:
        return {"state": {"kind": state.kind, "payload": state.payload}}
    if not _is_plain(value):
        raise SessionError(_not_plain(f"what is carried to {name}", value))
    return {"value": value}


def _unpacked(name: str, carried: Carried, codecs: Mapping[str, ContinuationCodec], blobs: BlobStore | None) -> Any:
    if carried.state is None:
        return carried.value
    codec = codecs.get(carried.state.kind)
    if codec is None:
        what = f'no installed plugin reads the continuation "{carried.state.kind[:64]}" that is carried to {name}'
        raise SessionError(Fault("unknown_kind", what, fix="stagegraph plugins"))
    return codec.decode(carried.state, blobs)


def _is_plain(value: Any) -> bool:
    """Whether a value is the same after it has been JSON."""
    if value is None or type(value) in (str, bool, int):
        return True
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) is dict and all(type(key) is str and _is_plain(item) for key, item in value.items())


def _not_plain(what: str, value: Any) -> Fault:
    fix = "register a codec for its type with the hook stagegraph_continuations"
    return Fault("no_codec", f"{what} is of a type that a snapshot cannot hold: {type(value).__name__}", fix=fix)


__all__ = ["VERSION", "Carried", "Snapshot", "packed", "unpacked"]
