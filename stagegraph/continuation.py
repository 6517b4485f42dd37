"""Continuation states: what one segment of a video hands to the next, fit to cross a JSON boundary.

A `ContinuationState` is an envelope: a kind, and a payload of plain JSON. What the payload says is known to the codec
that a plugin registers for its kind with the hook `stagegraph_continuations`. Tensors that are too large for a message
stand in a `BlobStore`, and the payload has their ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import attrs

from stagegraph.errors import ContinuationError, Fault
from stagegraph.serde import Path, Problem, StructureError, describe
from stagegraph.strictjson import JsonLimits, joined, read_uncopied

#: What blob ids look like: 128 bits in lower-case hex. Looked at before any store is.
BLOB_ID: Final = re.compile(r"[0-9a-f]{32}")
#: What kinds look like: printable ASCII without spaces; by custom a name and a version, as in "ltx2.v1".
KIND: Final = re.compile(r"[!-~]{1,64}")

#: How many faults one error tells.
_LISTED: Final = 20


class BlobStore(Protocol):
    """Where bytes stand that are too large for a message. `stagegraph.blobs` has those that come with the engine.

    Stores that raise `KeyError` for an id that they do not have will do as well.
    """

    def put(self, data: bytes, mime: str = ...) -> str:
        """Store bytes; gives their id, 32 hex digits. The same bytes may get the same id again."""
        ...

    def get(self, blob_id: str) -> bytes:
        """The bytes, as they were put.

        Raises:
            ContinuationError: there is no such blob, or it belongs to somebody else.
        """
        ...

    def drop(self, blob_id: str) -> None:
        """Forget a blob, if it is there."""
        ...

    def __contains__(self, blob_id: str) -> bool:
        """Whether `get` would find it."""
        ...


def _kind(_: Any, __: attrs.Attribute[str], value: Any) -> None:
    if type(value) is not str or not KIND.fullmatch(value):
        what = f"{describe(value)} is no kind of continuation"
        raise refusal(("kind",), "invalid_value", what, 'must be a non-empty string like "ltx2.v1"')


def _payload(_: Any, __: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not dict:
        raise refusal(("payload",), "invalid_type", f"{describe(value)} is not a mapping", "must be a mapping")


@attrs.frozen
class ContinuationState:
    """What one segment hands to the next.

    Attributes:
        kind: says who can read the payload: "ltx2.v1".
        payload: plain JSON: None, bool, int, finite float, str, list, dict with str keys.

    Raises:
        ContinuationError: no kind, or no mapping.
    """

    kind: str = attrs.field(validator=_kind)
    payload: dict[str, Any] = attrs.field(validator=_payload, repr=False)

    def to_json(self) -> bytes:
        """The envelope as JSON text.

        Raises:
            ContinuationError: the payload is not plain JSON.
        """
        document = {"kind": self.kind, "payload": self.payload}
        try:
            return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            what = f"the payload is not plain JSON: {error}"
            raise refusal(("payload",), "invalid_value", what) from None

    @classmethod
    def from_json(cls, data: bytes, limits: JsonLimits | None = None) -> ContinuationState:
        """Read an envelope; the payload is for the codec of its kind to judge.

        Raises:
            ContinuationError: it is not JSON, exceeds the limits, or is no envelope.
        """
        try:
            document = envelope(data, limits)
            return cls(document["kind"], joined(document["payload"], ("payload",)))
        except StructureError as error:
            raise refused(error) from None


def envelope(data: bytes, limits: JsonLimits | None = None) -> dict[str, Any]:
    """The JSON object of exactly a kind and a payload that some bytes are; long strings are not copied.

    Raises:
        StructureError: they are something else.
    """
    document = read_uncopied(data, limits)
    if not isinstance(document, dict):
        what = f"{describe(document)} is no envelope"
        raise StructureError([Problem((), "invalid_type", what, "must be an object of kind and payload")])
    known = {"kind": None, "payload": None}
    problems = [
        Problem((key,), "unknown_key", "there is no such key in an envelope", "known keys: kind, payload")
        for key in document
        if key not in known
    ]
    problems += [
        Problem((key,), "missing_key", f'"{key}" is not set', "it is required") for key in known if key not in document
    ]
    if problems:
        raise StructureError(problems[:_LISTED])
    return document


@attrs.frozen(eq=False)
class ContinuationCodec:
    """How the values of one kind become envelopes, and come back.

    Attributes:
        kind: of the envelopes.
        type: of the values.
        encode: (value, blob store or None) -> envelope. What is too large for a message goes to the store, if there is
            one. Raises `ContinuationError` for what could not be read again.
        decode: (envelope, blob store or None) -> value. Raises `ContinuationError` for everything that `encode` does
            not write.
        blob_ids: the blobs that an envelope refers to, so that a session can let go of all others.
    """

    kind: str
    type: type
    encode: Callable[[Any, BlobStore | None], ContinuationState]
    decode: Callable[[ContinuationState, BlobStore | None], Any]
    blob_ids: Callable[[ContinuationState], Iterable[str]]


def refusal(path: Path, code: str, what: str, why: str = "", fix: str = "") -> ContinuationError:
    """The error of one thing that is wrong.

    Args:
        path: where it is in the state.
        code: registered by the engine or a plugin.
        what: is wrong.
        why: the rule.
        fix: something to type.
    """
    return refused(StructureError([Problem(path, code, what, why, fix)]))


def refused(error: StructureError) -> ContinuationError:
    """The error of everything that is wrong with a state. All of them are made here."""
    return ContinuationError(
        *(Fault(p.code, _shown(p.what), _place(p.path), _shown(p.why), _shown(p.fix)) for p in error.problems[:_LISTED])
    )


def _place(path: Path) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{_shown(str(part)[:60])}" for part in path)
    return "".join(parts).removeprefix(".")


def _shown(text: str) -> str:
    """What others wrote must not turn a console around or fail to be printed."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
