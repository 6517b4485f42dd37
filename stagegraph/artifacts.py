"""Artifacts: values outside the process, as bytes that a codec writes and reads back.

A plugin gives a `Codec` for each of its port types through the hook `stagegraph_codecs`. Plain data (None, bool, int,
float, str, lists, tuples, dicts with string keys, and attrs values of them) and bytes need none. Nothing is pickled:
an artifact names its codec, never code, and what it becomes is decided by the codec and the type of the port.
"""

from __future__ import annotations

import hashlib
import json
import math
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from stagegraph.errors import ArtifactError, Fault, PluginError
from stagegraph.ports import type_name
from stagegraph.serde import StructureError, structure
from stagegraph.tensorfile import Chunk, strict_json

#: Characters. An identity up to this length is the value itself, so that people can read what differs.
READABLE: Final = 200

_JSON: Final = "json"


@attrs.frozen(eq=False)
class Codec:
    """How values of one type leave the process and come back, without loss.

    Attributes:
        name: dotted, the plugin's name first; as a rule the name that the type is registered under.
        type: the class, exactly: a subclass needs a codec of its own.
        version: raised when `decode` no longer reads what earlier versions wrote.
        media_type: what the bytes are, as in "application/json".
        encode: gives the bytes in pieces, the same for equal values. Pieces may be views of the value.
        decode: makes the value; may keep views of the bytes, which nobody else writes to. Raises `ArtifactError` for
            anything that `encode` does not write.
    """

    name: str
    type: type
    version: int
    media_type: str
    encode: Callable[[Any], Iterable[Chunk]]
    decode: Callable[[bytearray], Any]

    @property
    def form(self) -> str:
        """What its artifacts are, and of which version: "media.frames/1"."""
        return f"{self.name}/{self.version}"

    def write(self, value: Any) -> list[Chunk]:
        """The bytes of a value, in pieces.

        Raises:
            ArtifactError: it fails, for whatever reason.
        """
        try:
            return list(self.encode(value))
        except ArtifactError:
            raise
        except Exception as error:
            raise _no_codec(value, f"{self.name} failed: {type(error).__name__}: {error}") from error

    def read(self, data: bytearray) -> Any:
        """The value of some bytes.

        Raises:
            ArtifactError: it fails, for whatever reason.
        """
        try:
            return self.decode(data)
        except ArtifactError:
            raise
        except Exception as error:
            raise _bad(self.form, f"{type(error).__name__}: {error}") from error


@attrs.frozen
class Artifact:
    """What is known of a value outside the process: who wrote it, and its bytes' SHA-256 (in hex) and number."""

    codec: str
    version: int
    digest: str
    size: int


@attrs.frozen(eq=False)
class Bundle:
    """Several values as artifacts.

    `trees` has, for each value, its artifact as plain JSON, or a list of such trees; `objects` has the bytes of each
    artifact by digest.
    """

    trees: list[Any]
    objects: Mapping[str, Sequence[Chunk]]


class Codecs:
    """The codecs in use: those given, and those for bytes and plain data.

    Raises:
        PluginError: two codecs for one type.
    """

    def __init__(self, codecs: Iterable[Codec] = ()) -> None:
        self._by_type: dict[type, Codec] = {}
        for codec in (BYTES, *codecs):
            other = self._by_type.setdefault(codec.type, codec)
            if other is not codec:
                what = f"{codec.type.__name__} has two codecs, {other.name} and {codec.name}"
                fix = f"run with --no-plugin {codec.name.partition('.')[0]}"
                raise PluginError(Fault("plugin_conflict", what, fix=fix))
        self._by_name = {codec.name: codec for codec in self._by_type.values()}

    def bundle(self, values: Sequence[Any], types: Sequence[Any]) -> Bundle:
        """Write values.

        Args:
            values: what to write.
            types: the type hint of each, which it will be read as.

        Raises:
            ArtifactError: no codec writes one of them, or it would not come back as it is.
        """
        objects: dict[str, Sequence[Chunk]] = {}
        trees = [self._encode(value, type_, objects) for value, type_ in zip(values, types, strict=True)]
        return Bundle(trees, objects)

    def unbundle(self, trees: Sequence[Any], objects: Mapping[str, bytearray], types: Sequence[Any]) -> tuple[Any, ...]:
        """Read values.

        Raises:
            ArtifactError: an artifact of an unknown codec or another version, or one that its codec refuses.
        """
        if len(trees) != len(types):
            raise _bad("artifacts", f"there are {len(trees)} of {len(types)} values")
        return tuple(self._decode(tree, objects, type_) for tree, type_ in zip(trees, types, strict=True))

    def identity(self, value: Any) -> str:
        """The same text for equal values of the same types, another for any other value.

        Short plain data is written out; long is hashed; values with a codec are hashed as their artifacts are.

        Raises:
            ArtifactError: it holds something that is neither plain data nor has a codec.
        """
        try:
            text = self._text(value)
        except RecursionError:
            raise _no_codec(value, "it is nested too deeply") from None
        return text if len(text) <= READABLE else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def is_plain(self, value: Any) -> bool:
        """Whether neither a value nor an item of the list that it is takes a codec; a quick look."""
        return not any(type(item) in self._by_type for item in (value if type(value) is list else (value,)))

    def _encode(self, value: Any, type_: Any, objects: dict[str, Sequence[Chunk]]) -> Any:
        codec = self._by_type.get(type(value))
        if codec is not None:
            return _add(codec.name, codec.version, codec.write(value), objects)
        if type(value) is list and any(type(item) in self._by_type for item in value):
            return [self._encode(item, _item_type(type_), objects) for item in value]
        return _add(_JSON, 1, [self._encode_plain(value, type_)], objects)

    def _encode_plain(self, value: Any, type_: Any) -> bytes:
        try:
            data = json.dumps({_FORM: 1, "value": _data(value)}, allow_nan=False, check_circular=False).encode()
            same = self._text(_decode_plain(data, type_)) == self._text(value)
        except (TypeError, ValueError, RecursionError, ArtifactError):
            same = False
        if not same:
            raise _no_codec(value, f"as plain data it would not come back equal from a port of {type_name(type_)}")
        return data

    def _decode(self, tree: Any, objects: Mapping[str, bytearray], type_: Any) -> Any:
        if isinstance(tree, list):
            return [self._decode(item, objects, _item_type(type_)) for item in tree]
        try:
            artifact = Artifact(**tree)
            data = objects[artifact.digest]
        except (TypeError, KeyError):
            raise _bad("an artifact", "its description is incomplete") from None
        codec = self._by_name.get(artifact.codec)
        version = 1 if artifact.codec == _JSON else codec.version if codec is not None else None
        if artifact.version != version:
            reads = f"version {version}" if version is not None else "no such codec"
            raise _bad(f"{artifact.codec}/{artifact.version}", f"the installed plugins have {reads}")
        return codec.read(data) if codec is not None else _decode_plain(data, type_)

    def _text(self, value: Any) -> str:
        kind = type(value)
        if kind is str:  # half a surrogate pair, which UTF-8 lacks, becomes its JSON escape
            return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
        if value is None or kind in (bool, int):
            return json.dumps(value)
        if kind is float and math.isfinite(value):
            return repr(value)
        if kind is list:
            return f"[{', '.join(map(self._text, value))}]"
        if kind is tuple:
            return f"({', '.join(map(self._text, value))})"
        if kind is dict and all(type(key) is str for key in value):
            # in their order: a stage can see it
            return f"{{{', '.join(f'{self._text(key)}: {self._text(item)}' for key, item in value.items())}}}"
        codec = self._by_type.get(kind)
        if codec is not None:
            return f"{codec.form}:{digest_of(codec.write(value))}"
        if attrs.has(kind):
            fields = (f"{field.name}={self._text(getattr(value, field.name))}" for field in attrs.fields(kind))
            return f"{kind.__module__}.{kind.__qualname__}({', '.join(fields)})"
        raise _no_codec(value)


def digest_of(chunks: Iterable[Chunk]) -> str:
    """SHA-256 of some bytes given in pieces, in hex."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


BYTES: Final = Codec("bytes", bytes, 1, "application/octet-stream", lambda value: [value], bytes)
_FORM: Final = "stagegraph.json"


def _add(name: str, version: int, chunks: Sequence[Chunk], objects: dict[str, Sequence[Chunk]]) -> dict[str, Any]:
    digest = digest_of(chunks)
    objects[digest] = chunks
    return {"codec": name, "version": version, "digest": digest, "size": sum(map(_size, chunks))}


def _size(chunk: Chunk) -> int:
    return chunk.nbytes if isinstance(chunk, memoryview) else len(chunk)


def _data(value: Any) -> Any:
    """Plain data of attrs values: every field, so that a later default changes nothing."""
    if isinstance(value, (list, tuple)):
        return [_data(item) for item in value]
    if isinstance(value, dict):
        return {key: _data(item) for key, item in value.items()}
    if attrs.has(type(value)):
        return {field.name: _data(getattr(value, field.name)) for field in attrs.fields(type(value)) if field.init}
    return value


def _decode_plain(data: Chunk, type_: Any) -> Any:
    document = strict_json(_JSON, bytes(data))
    if not isinstance(document, dict) or document.keys() != {_FORM, "value"} or document[_FORM] != 1:
        raise _bad("plain data", f'it is not an object of exactly "{_FORM}": 1 and "value"')
    try:
        return structure(document["value"], type_)
    except StructureError as error:
        raise _bad(type_name(type_), str(error)) from None


def _item_type(type_: Any) -> Any:
    """The type of the items of a list; of the one list among the members of a union."""
    if typing.get_origin(type_) is list:
        return typing.get_args(type_)[0]
    lists = [member for member in typing.get_args(type_) if typing.get_origin(member) is list]
    return typing.get_args(lists[0])[0] if len(lists) == 1 else Any


def _bad(form: str, what: str) -> ArtifactError:
    return ArtifactError(Fault("bad_artifact", f"an artifact cannot be read as {form}: {what}"))


def _no_codec(value: Any, why: str = "") -> ArtifactError:
    fix = "register a codec for it with the hook stagegraph_codecs"
    return ArtifactError(Fault("no_codec", f"no codec writes {type(value).__name__}", why=why, fix=fix))
