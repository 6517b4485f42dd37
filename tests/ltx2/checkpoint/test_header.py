"""Headers are believed only as far as they agree with their file."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.header import HEADER_LIMIT, read_header

Refusal = Callable[[Callable[[], object]], str]
DOWNLOAD = "hf download <repository> --include 'model/x.safetensors' --local-dir <tmp>"
NOT_PICKLES = "weights are read from safetensors files only; pickles can run code and are never opened"


def write(folder: Path, content: bytes) -> Path:
    path = folder / "model" / "x.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, dtype: str = "F32", shape: tuple[int, ...] = (2,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_a_header_gives_names_dtypes_shapes_sizes_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"a": torch.ones(2, 3), "b": torch.ones((), dtype=torch.bfloat16), "c": torch.ones(0, 4)}
    save_file(tensors, path, metadata={"format": "pt"})
    header = read_header(path)
    assert header.path == path
    assert header.metadata == {"format": "pt"}
    assert header.file_bytes == path.stat().st_size
    got = {name: (info.dtype, info.shape, info.nbytes) for name, info in header.tensors.items()}
    assert got == {"a": ("F32", (2, 3), 24), "b": ("BF16", (), 2), "c": ("F32", (0, 4), 0)}
    info = header.tensors["a"]
    assert path.read_bytes()[info.offset : info.offset + 4] == torch.ones(1).numpy().tobytes()


def zipped() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (pickle.dumps({"a": 1}), "a Python pickle (21 bytes)"),
        (zipped(), f"a zip archive, the container of torch.save ({len(zipped())} bytes)"),
        (b"<!DOCTYPE html>\n<html>", "a web page: the download ended at a log-in or error page (22 bytes)"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, refusal: Refusal, content: bytes, what: str) -> None:
    path = write(tmp_path, content)
    assert refusal(lambda: read_header(path)) == (
        f"<tmp>/model/x.safetensors: error[ltx2.not_safetensors]: x.safetensors is {what}\n"
        f"  why: {NOT_PICKLES}\n"
        f"  fix: {DOWNLOAD}"
    )


def test_a_git_lfs_pointer_is_named(tmp_path: Path, refusal: Refusal) -> None:
    path = write(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4966400\n")
    assert refusal(lambda: read_header(path)) == (
        "<tmp>/model/x.safetensors: error[ltx2.not_safetensors]: "
        "x.safetensors is a Git LFS pointer: the clone left the weights on the server (72 bytes)\n"
        f"  why: {NOT_PICKLES}\n"
        "  fix: git -C <tmp>/model lfs pull"
    )


@pytest.mark.parametrize(("size", "needed"), [(95, 96), (40, 72), (3, 8), (0, 8)])
def test_a_truncated_file_says_how_much_is_missing(tmp_path: Path, refusal: Refusal, size: int, needed: int) -> None:
    path = write(tmp_path, save({"a": torch.zeros(2, 3)})[:size])
    assert refusal(lambda: read_header(path)) == (
        "<tmp>/model/x.safetensors: error[ltx2.truncated]: "
        f"x.safetensors has {size} bytes and needs at least {needed}\n"
        "  why: the download or the copy was cut short\n"
        f"  fix: {DOWNLOAD}"
    )


def test_a_header_over_the_limit_is_refused_without_reading_it(tmp_path: Path, refusal: Refusal) -> None:
    path = write(tmp_path, (HEADER_LIMIT + 1).to_bytes(8, "little") + b"{")
    os.truncate(path, 2 * HEADER_LIMIT)  # a hole: nothing is on the disk
    assert refusal(lambda: read_header(path)) == (
        "<tmp>/model/x.safetensors: error[ltx2.too_large]: x.safetensors announces a header of 100000001 bytes\n"
        "  why: headers have at most 100000000 bytes; this is no safetensors file, or a damaged one\n"
        f"  fix: {DOWNLOAD}"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (file([]), "it does not start with {"),
        (file(b'{"a": 1'), "not JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (file(b'{"a": 1}\xff'), "not UTF-8 at byte 8"),
        (file(b'{"a": {}, "a": {}}'), 'the key "a" appears twice'),
        (file(b'{"a": NaN}'), "not JSON: NaN is no JSON number"),
        (file(b'{"a": ' + b"[" * 100_000), "nested too deeply"),
        (file({"a": 3}), '"a" does not have exactly dtype, shape and data_offsets'),
        (
            file({"a": {**entry(0, 8), "more": 1}}, b"8bytes--"),
            '"a" does not have exactly dtype, shape and data_offsets',
        ),
        (file({"a": entry(0, 8, "F31")}, b"8bytes--"), "\"a\" has the unknown dtype 'F31'"),
        (file({"a": entry(0, 8, shape=(-2,))}, b"8bytes--"), '"a" has a shape that is not a list of at most 64 counts'),
        (file({"a": entry(0, 8, shape=(1,) * 65)}), '"a" has a shape that is not a list of at most 64 counts'),
        (file({"a": entry(0, True)}, b"8bytes--"), '"a" has data_offsets that are not two counts'),
        (file({"a": entry(0, 7)}, b"7bytes-"), '"a" occupies 7 bytes, and F32 of shape [2] needs 8'),
        (file({"a\n": entry(8, 0)}), "\"'a\\n'\" occupies -8 bytes, and F32 of shape [2] needs 8"),
        (file({"__metadata__": 3}), "__metadata__ is not an object"),
        (file({"__metadata__": {"a": 3}}), "__metadata__ has values that are not strings"),
        (file({"a": entry(0, 8)}, b"8bytes--and more"), "8 bytes follow the last tensor"),
        (
            file({"a": entry(0, 8), "b": entry(9, 17)}, bytes(17)),
            '"b" starts at byte 140 and the tensor before it ends at 139',
        ),
        (
            file({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
            '"b" starts at byte 135 and the tensor before it ends at 139',
        ),
        (
            file({"a": entry(0, 9), "b": entry(0, 7)}, bytes(16)),
            '"a" occupies 9 bytes, and F32 of shape [2] needs 8; "b" occupies 7 bytes, and F32 of shape [2] needs 8',
        ),
    ],
)
def test_headers_that_contradict_themselves_are_refused(
    tmp_path: Path, refusal: Refusal, content: bytes, problem: str
) -> None:
    path = write(tmp_path, content)
    assert refusal(lambda: read_header(path)) == (
        f"<tmp>/model/x.safetensors: error[ltx2.bad_header]: the header of x.safetensors: {problem}\n"
        "  why: a header that contradicts itself or its file is not trusted with any tensor\n"
        f"  fix: {DOWNLOAD}"
    )


def test_a_pipe_is_not_waited_for(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "x.safetensors")
    assert refusal(lambda: read_header(tmp_path / "model" / "x.safetensors")) == (
        "<tmp>/model/x.safetensors: error[ltx2.not_safetensors]: x.safetensors is not a regular file\n"
        f"  why: {NOT_PICKLES}\n"
        f"  fix: {DOWNLOAD}"
    )


def test_an_absent_file_is_an_error(tmp_path: Path, refusal: Refusal) -> None:
    assert refusal(lambda: read_header(tmp_path / "model" / "x.safetensors")) == (
        f"<tmp>/model/x.safetensors: error[ltx2.missing_file]: x.safetensors is absent\n  fix: {DOWNLOAD}"
    )


VALID = save({"a.weight": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}, {"format": "pt"})


@given(
    edits=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.integers(0, len(VALID)),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_give_a_header_or_a_component_error(
    tmp_path: Path, edits: list[tuple[int, int]], cut: int | None
) -> None:
    content = bytearray(VALID)
    for place, value in edits:
        content[place] = value
    path = write(tmp_path, bytes(content[:cut]))
    try:
        header = read_header(path)
    except ComponentError:
        return
    last = max(info.offset + info.nbytes for info in header.tensors.values())
    assert last == path.stat().st_size


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["F32", "U8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    header=JSON
    | st.dictionaries(
        st.sampled_from(["a", "b", "__metadata__"]),
        st.fixed_dictionaries({"dtype": JSON, "shape": JSON, "data_offsets": JSON}) | JSON,
    ),
    data=st.binary(max_size=16),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_gives_a_header_or_a_component_error(tmp_path: Path, header: Any, data: bytes) -> None:
    path = write(tmp_path, file(header, data))
    try:
        read_header(path)
    except ComponentError as error:
        str(error).encode()  # printable on any terminal


def test_tensors_of_no_bytes_may_share_a_place(tmp_path: Path) -> None:
    content: dict[str, Tensor] = {"a": torch.zeros(0), "b": torch.zeros(0, 2), "c": torch.zeros(1)}
    assert set(read_header(write(tmp_path, save(content))).tensors) == {"a", "b", "c"}
