"""Envelopes, and the codecs that plugins register for their kinds."""

from __future__ import annotations

from typing import Any

import pytest

from stagegraph.continuation import ContinuationCodec, ContinuationState
from stagegraph.errors import ContinuationError, Fault, InputError
from stagegraph.plugins import default_registry
from stagegraph.registry import Registry


def test_an_envelope_goes_through_text() -> None:
    """As JSON without spaces."""
    state = ContinuationState("demo.v1", {"a": [1, 2.5, None, "é"]})
    assert state.to_json() == b'{"kind":"demo.v1","payload":{"a":[1,2.5,null,"\\u00e9"]}}'
    assert ContinuationState.from_json(state.to_json()) == state


@pytest.mark.parametrize("kind", ["", "a b", "é", "a\0", "a" * 65, 1, None])
def test_a_kind_is_a_short_word(kind: Any) -> None:
    """Printable ASCII without spaces; refused where the envelope is made."""
    with pytest.raises(ContinuationError, match="is no kind of continuation") as caught:
        ContinuationState(kind, {})
    assert caught.value.faults[0].where == "kind"


@pytest.mark.parametrize("payload", [None, [], "", 0])
def test_a_payload_is_a_dict(payload: Any) -> None:
    """Whatever else there is in it."""
    with pytest.raises(ContinuationError, match="is not a mapping"):
        ContinuationState("demo.v1", payload)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"x", {1}])
def test_only_plain_json_is_written(value: Any) -> None:
    """A value that JSON lacks is an error, not a text that others cannot read."""
    with pytest.raises(ContinuationError, match="the payload is not plain JSON"):
        ContinuationState("demo.v1", {"a": value}).to_json()


def test_the_error_is_one_of_values_and_of_the_engine() -> None:
    """Whoever catches ValueError catches it; a command line ends with 2; all faults are told, with their paths."""
    with pytest.raises(ValueError, match="payload") as caught:
        ContinuationState.from_json(b'{"kind":"demo.v1","more":1}')
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        "more: error[unknown_key]: there is no such key in an envelope\n"
        "  why: known keys: kind, payload\n"
        'payload: error[missing_key]: "payload" is not set\n'
        "  why: it is required"
    )


def test_text_of_others_is_shown_harmlessly() -> None:
    """No control characters, nothing that turns the reading direction."""
    with pytest.raises(ContinuationError) as caught:
        ContinuationState.from_json('{"kind":"demo.v1","payload":{},"a\\u001b[31m\u202e":1}'.encode())
    assert caught.value.faults[0].where == "a\\x1b[31m\\u202e"


def test_the_registry_knows_the_codec_of_a_kind() -> None:
    """Of installed plugins; other kinds get a suggestion."""
    registry = default_registry()
    codec = registry.continuation("ltx2.v1")
    assert isinstance(codec, ContinuationCodec)
    assert codec.kind == "ltx2.v1"
    assert registry.continuation("ltx2.v11") == Fault(
        "unknown_kind", 'there is no continuation "ltx2.v11"', fix='did you mean "ltx2.v1"?'
    )
    assert Registry().continuation("demo.v1") == Fault(
        "unknown_kind", 'there is no continuation "demo.v1"', fix="install the plugin that registers it"
    )


def test_a_codec_goes_both_ways_and_knows_its_blobs() -> None:
    """What sessions are built on: without knowing the kind."""
    from stagegraph.blobs import open_blobs

    codec = default_registry().continuations["ltx2.v1"]
    store = open_blobs("memory:").for_owner("session")
    state = codec.type(segment_index=3)
    envelope = codec.encode(state, store)
    assert codec.decode(envelope, store) == state
    assert list(codec.blob_ids(envelope)) == []
    with_blobs = ContinuationState("ltx2.v1", {"schema_version": 1, "video": {"blob_id": "0" * 32}, "audio": {"x": 1}})
    assert list(codec.blob_ids(with_blobs)) == ["0" * 32]
