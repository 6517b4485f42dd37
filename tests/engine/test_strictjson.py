"""JSON from others is read in one way, within limits, and told apart from what only looks like it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.serde import StructureError
from stagegraph.strictjson import JsonLimits, Long, joined, read, read_uncopied, write

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LARGE = st.sampled_from([0, 1, 65_535, 65_536, 65_537, 200_000]).map(lambda count: "A" * count)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | LARGE
    | LARGE.map('"\\é'.join),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(PLAIN, st.sampled_from([None, 2]), st.booleans())
def test_it_reads_what_json_reads(value: Any, indent: int | None, ascii: bool) -> None:
    """Any value, spelled in any way; long strings copied or not."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii).encode()
    assert read(text) == value
    assert read(bytearray(text)) == read(memoryview(text)) == value
    assert joined(read_uncopied(text)) == value


@given(st.lists(st.binary(max_size=50).map(bytes.hex), max_size=4), PLAIN)
def test_it_writes_what_json_writes(texts: list[str], value: Any) -> None:
    """With long strings put in as they are."""
    longs = [Long(memoryview(text.encode())) for text in texts]
    assert json.loads(write({"a": longs, "b": value, "c": longs[:1]})) == {"a": texts, "b": value, "c": texts[:1]}


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_is_read_as_json_does_or_refused(data: bytes) -> None:
    """There is no third way."""
    try:
        value = read(data)
    except StructureError as error:
        assert error.problems  # noqa: PT017
    else:
        assert value == json.loads(data)


def test_a_string_that_was_not_copied_is_a_view_of_the_text() -> None:
    """Of 64 KiB and more, without escapes."""
    text = json.dumps(["A" * 100_000, "B" * 65_535, "C" * 100_000 + '"']).encode()
    first, second, third = read_uncopied(text)
    assert isinstance(first, Long)
    assert first.data.obj is text
    assert (len(first.data), second, third) == (100_000, "B" * 65_535, "C" * 100_000 + '"')


@pytest.mark.parametrize(
    ("text", "code", "path", "what"),
    [
        ('{"a":[1,NaN]}', "invalid_value", ("a", 1), "NaN is no JSON number"),
        ('{"a":{"b":1e999}}', "invalid_value", ("a", "b"), "1e999 is not finite"),
        ('{"a":[{"b":1,"c":2,"b":3}]}', "duplicate_key", ("a", 0), 'the key "b" appears twice'),
        ('["\\ud800x"]', "invalid_value", (0,), "a string has half a surrogate pair"),
        (f"[{'1' * 21}]", "too_large", (0,), "an integer has 21 characters"),
        (f"[{'1' * 65}]", "too_large", (), "the value at byte 1 has 65 characters"),
        ("[" * 65, "too_large", (), "it is nested too deep at byte 64"),
        ("[1 2]", "invalid_json", (), "it is not JSON: Expecting ',' delimiter at byte 3"),
        (f'["{"A" * 70_000}" 2]', "invalid_json", (), "it is not JSON: Expecting ',' delimiter at byte 70004"),
    ],
)
def test_a_refusal_says_where(text: str, code: str, path: tuple[str | int, ...], what: str) -> None:
    """The path if there is one, else the byte."""
    with pytest.raises(StructureError) as caught:
        read(text.encode())
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == (code, path)
    assert problem.what.startswith(what)


def test_limits_can_be_set() -> None:
    """Bytes, depth and tokens; what just fits is read."""
    assert read(b"[[1,2]]", JsonLimits(max_bytes=7, max_depth=2, max_tokens=7)) == [[1, 2]]
    for limits in (JsonLimits(max_bytes=6), JsonLimits(max_depth=1), JsonLimits(max_tokens=6)):
        with pytest.raises(StructureError):
            read(b"[[1,2]]", limits)
