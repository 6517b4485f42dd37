"""Values as bytes and back: plain data, bytes, values with a codec."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.artifacts import Codec, Codecs
from stagegraph.errors import ArtifactError, PluginError
from stagegraph.tensorfile import Array, Slot, pack, unpack


@attrs.frozen
class Point:
    """Plain data."""

    x: int
    y: float = 0.0


@attrs.frozen
class Named(Point):
    """A subclass of plain data."""

    name: str = ""


class Blob:
    """What only a codec can write."""

    def __init__(self, content: bytes) -> None:
        self.content = content


BLOBS = Codec("test.blob", Blob, 1, "application/x-blob", lambda blob: [blob.content], lambda data: Blob(bytes(data)))
CODECS = Codecs([BLOBS])


def there_and_back(value: Any, type_: Any, codecs: Codecs = CODECS) -> Any:
    bundle = codecs.bundle([value], [type_])
    objects = {digest: bytearray(b"".join(chunks)) for digest, chunks in bundle.objects.items()}
    return codecs.unbundle(json.loads(json.dumps(bundle.trees)), objects, [type_])[0]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_comes_back_as_it_is(value: Any) -> None:
    """With its types, the order of its keys, and every character."""
    back = there_and_back(value, Any)
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (b"\0\xff", bytes),
        (b"", bytes),
        (Point(1, 2.5), Point),
        ([Point(1), Point(2)], list[Point]),
        ({"a": Named(1, 2.0, "x")}, dict[str, Named]),
        ((1, "a"), tuple[int, str]),
        (None, Point | None),
        ("\udc80", str),
    ],
)
def test_values_come_back_by_the_type_of_the_port(value: Any, type_: Any) -> None:
    """Bytes, attrs values and tuples, alone and in containers."""
    back = there_and_back(value, type_)
    assert (back, type(back)) == (value, type(value))


def test_lists_of_values_with_a_codec_come_back() -> None:
    """Each item is an artifact of its own."""
    back = there_and_back([Blob(b"a"), Blob(b"b")], list[Blob] | None)
    assert [blob.content for blob in back] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (Named(1, 2.0, "x"), Point),
        (Point(1), Any),
        (3, float),
        ((1, 2), list),
        (math.nan, float),
        (math.inf, float),
        ({1: 2}, dict),
        ({"a": Blob(b"")}, dict[str, Blob]),
        (object(), Any),
        ({1, 2}, Any),
    ],
)
def test_what_would_not_come_back_equal_is_not_written(value: Any, type_: Any) -> None:
    """A subclass, an int for a float, a tuple for a list, keys that are no strings, and what nobody writes."""
    with pytest.raises(ArtifactError) as caught:
        CODECS.bundle([value], [type_])
    assert caught.value.code == "no_codec"


def test_a_value_without_a_codec_is_told() -> None:
    """With what to do."""
    with pytest.raises(ArtifactError) as caught:
        CODECS.identity(object())
    assert str(caught.value) == (
        "error[no_codec]: no codec writes object\n  fix: register a codec for it with the hook stagegraph_codecs"
    )


def test_the_identity_of_short_plain_data_can_be_read() -> None:
    """Types can be told apart by it; long values are hashed."""
    values = [1, True, 1.0, "1", [1], (1,), {"a": 1}, None, Point(1), Named(1), b"1", Blob(b"1")]
    identities = [CODECS.identity(value) for value in values]
    assert identities[:8] == ["1", "true", "1.0", '"1"', "[1]", "(1)", '{"a": 1}', "null"]
    assert len(set(identities)) == len(values)
    assert CODECS.identity("x" * 500).startswith("sha256:")
    assert CODECS.identity({"a": 1, "b": 2}) != CODECS.identity({"b": 2, "a": 1})


@given(PLAIN, PLAIN)
def test_identities_are_equal_for_equal_values_only(one: Any, other: Any) -> None:
    """Equality of type and content, in the order of the keys."""
    assert (CODECS.identity(one) == CODECS.identity(other)) == (repr(one) == repr(other))


def corrupted(change: dict[str, Any]) -> ArtifactError:
    bundle = CODECS.bundle([Blob(b"a")], [Blob])
    tree = {**bundle.trees[0], **change}
    objects = {digest: bytearray(b"a") for digest in bundle.objects}
    with pytest.raises(ArtifactError) as caught:
        CODECS.unbundle([tree], objects, [Blob])
    return caught.value


def test_an_artifact_of_another_codec_or_version_is_refused() -> None:
    """So is one whose description has more or less than it should."""
    assert corrupted({"version": 2}).faults[0].what == (
        "an artifact cannot be read as test.blob/2: the installed plugins have version 1"
    )
    assert corrupted({"codec": "other.blob"}).faults[0].what == (
        "an artifact cannot be read as other.blob/1: the installed plugins have no such codec"
    )
    assert corrupted({"extra": 1}).code == "bad_artifact"
    assert corrupted({"digest": "0" * 64}).code == "bad_artifact"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"stagegraph.json": 2, "value": 1}',
        b'{"stagegraph.json": 1}',
        b'{"stagegraph.json": 1, "value": 1, "more": 1}',
        b'{"stagegraph.json": 1, "value": 1, "value": 2}',
        b'{"stagegraph.json": 1, "value": NaN}',
        b'{"stagegraph.json": 1, "value": "1"}',
        b'{"stagegraph.json": 1, "value": 1}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_damaged_plain_data_is_refused(data: bytes) -> None:
    """Anything but what is written, at whatever depth."""
    tree = {"codec": "json", "version": 1, "digest": "d", "size": len(data)}
    with pytest.raises(ArtifactError):
        CODECS.unbundle([tree], {"d": bytearray(data)}, [int])


def test_two_codecs_for_one_type_are_refused() -> None:
    """Naming both."""
    other = attrs.evolve(BLOBS, name="other.blob")
    with pytest.raises(PluginError, match=r"Blob has two codecs, test\.blob and other\.blob"):
        Codecs([BLOBS, other])


SLOTS = {"a": Slot.of("F32", 2), "b": Slot.of("U8 BF16", 1)}


def packed(**changes: Any) -> bytes:
    arrays = {"a": Array("F32", (1, 2), bytes(range(8))), "b": Array("U8", (3,), b"xyz"), **changes}
    return b"".join(pack("test/1", arrays, {"note": "é"}))


def test_arrays_come_back_in_place() -> None:
    """As views, aligned to 8 bytes after the header, in a file that begins as safetensors do."""
    data = bytearray(packed())
    arrays, texts = unpack("test/1", data, SLOTS, ["note"])
    assert [bytes(array.data) for array in arrays.values()] == [bytes(range(8)), b"xyz"]
    assert (arrays["a"].shape, arrays["b"].dtype, texts) == ((1, 2), "U8", {"note": "é"})
    assert int.from_bytes(data[:8], "little") % 8 == 0
    data[-1] = 0
    assert bytes(arrays["b"].data) == b"xy\0"


def test_every_truncation_and_extension_is_refused() -> None:
    """At every byte."""
    data = packed()
    for length in range(len(data)):
        with pytest.raises(ArtifactError):
            unpack("test/1", data[:length], SLOTS, ["note"])
    with pytest.raises(ArtifactError):
        unpack("test/1", data + b"\0", SLOTS, ["note"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("test/1", "test/2"),
        ('"note"', '"nota"'),
        ('"F32"', '"F64"'),
        ('"U8"', '"I8"'),
        ('"shape":[1,2]', '"shape":[2,1,1]'),
        ('"shape":[3]', '"shape":[4]'),
        ('"shape":[3]', '"shape":[-3]'),
        ('"shape":[3]', '"shape":[99999999999999999999]'),
        ("[8,11]", "[0,3]"),
        ("[8,11]", "[9,12]"),
        ('"b":', '"c":'),
        ('"b":', '"a":'),
        ('"dtype":"U8"', '"dtype":"U8","x":1'),
        ('{"__metadata__"', '{"z":{},"__metadata__"'),
    ],
)
def test_a_header_that_differs_is_refused(old: str, new: str) -> None:
    """Another form, name, dtype, rank, size, place or order; a name twice; anything additional."""
    data = packed()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].decode()
    assert old in header
    changed = header.replace(old, new, 1).encode()
    with pytest.raises(ArtifactError):
        unpack("test/1", len(changed).to_bytes(8, "little") + changed + data[8 + length :], SLOTS, ["note"])


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """With nothing but `ArtifactError`."""
    header = len(data).to_bytes(8, "little")
    for content in (data, header + data, packed()[:60] + data):
        with pytest.raises(ArtifactError):
            unpack("test/1", content, SLOTS, ["note"])


def test_a_refusal_says_what_is_wrong() -> None:
    """What was found, and what must be there."""
    with pytest.raises(ArtifactError) as caught:
        unpack("test/1", b"".join(pack("test/2", {}, {"note": ""})), SLOTS, ["note"])
    assert str(caught.value) == (
        'error[bad_artifact]: an artifact cannot be read as test/1: it is of the form "test/2"\n'
        "  why: values are read by the codec that wrote them"
    )
