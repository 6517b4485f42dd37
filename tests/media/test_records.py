"""The run record in an mp4 file: read within bounds, taken out without touching a stream."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagegraph.errors import RecordError
from stagegraph.plugins import default_registry
from stagegraph.record import LONGEST, SCHEMA
from stagegraph.records import strip
from stagegraph_media import records
from stagegraph_media.boxes import Box, boxes
from stagegraph_media.errors import MediaError
from stagegraph_media.reading import probe, read_video
from stagegraph_media.values import Frames, Waveform
from stagegraph_media.writing import write_video

from .conftest import MakeFrames, MakeSound

TEXT = (
    '{"schema": "' + SCHEMA + '", "inputs": {"prompt": "a red fox in fresh snow", "image": "/home/somebody/fox.png"}}'
)


@pytest.fixture
def video(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> Path:
    """A file with a record and other tags."""
    tags = {"stagegraph": TEXT, "title": "Somebody's fox", "location": "+48.1+11.5/"}
    return write_video(tmp_path / "fox.mp4", make_frames(), make_sound(), metadata=tags)


def all_boxes(path: Path) -> list[tuple[bytes, int]]:
    """Kind and size of the boxes outside, and in the movie."""
    with path.open("rb") as file:
        outer = list(boxes(file, 0, path.stat().st_size))
        movie = next(box for box in outer if box.kind == b"moov")
        inner = list(boxes(file, movie.body, movie.end))
    return [(box.kind, box.end - box.start) for box in (*outer, *inner)]


def test_a_record_is_read_as_it_was_written(video: Path) -> None:
    """By any of the endings that mp4 files have; a file without one has none."""
    assert records.read(video, LONGEST) == TEXT.encode()
    registry = default_registry()
    assert {".mp4", ".mov", ".m4v"} <= registry.readers.keys()


def test_a_record_of_any_text_comes_back(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Letters of any script, and megabytes of them."""
    for text in ("Füchslein 🦊", "x" * 2**22, ""):
        path = write_video(tmp_path / "a.mp4", make_frames(), metadata={"stagegraph": text, "other": "y"})
        assert records.read(path, 2**22) == text.encode()
    assert records.read(write_video(tmp_path / "a.mp4", make_frames()), 2**22) is None


def test_a_record_that_is_too_long_is_refused_unread(tmp_path: Path, make_frames: MakeFrames) -> None:
    """With the limit."""
    path = write_video(tmp_path / "a.mp4", make_frames(), metadata={"stagegraph": "x" * 1001})
    with pytest.raises(MediaError) as caught:
        records.read(path, 1000)
    assert str(caught.value) == (
        f"{path}: error[media.too_large]: the tag has 1001 bytes\n  why: the limit is 1000 bytes"
    )


def test_strip_takes_every_tag_out_and_leaves_the_streams(video: Path, tmp_path: Path) -> None:
    """Packets are equal byte by byte, and lie where they were; nothing of the record is in the file."""
    clean = tmp_path / "clean.mp4"
    assert strip(video, clean, default_registry()).had_record
    content = clean.read_bytes()
    for text in (b"fox", b"somebody", b"Somebody", b"stagegraph", b"Lavf", b"+48.1"):
        assert text in video.read_bytes()
        assert text not in content
    assert probe(clean).metadata.keys() == {"major_brand", "minor_version", "compatible_brands"}
    old, new = read_video(video), read_video(clean)
    assert (old.frames, old.waveform) == (new.frames, new.waveform)
    assert packets(video) == packets(clean)
    kept = [size if kind not in (b"udta", b"free") else (b"free", size) for kind, size in all_boxes(video)]
    assert kept == [size if kind != b"free" else (b"free", size) for kind, size in all_boxes(clean)]


def packets(path: Path) -> list[tuple[Any, ...]]:
    """Every packet of a file with its place."""
    with av.open(str(path)) as container:
        return [(p.stream_index, p.pts, p.dts, p.pos, bytes(p)) for p in container.demux() if p.size]


def test_strip_finds_tags_wherever_they_are(video: Path, tmp_path: Path) -> None:
    """In a track, beside the movie, in what another program left free; XMP and C2PA too."""
    secrets = [b"secret of the track", b"secret beside", b"secret left free", b"secret of XMP", b"secret of C2PA"]
    content = video.read_bytes()
    xmp, c2pa = "be7acfcb97a942e89c71999491e3afac", "d8fec3d61b0e483c92975828877ec481"
    added = (
        box(b"meta", secrets[1])
        + box(b"free", secrets[2])
        + box(b"uuid", bytes.fromhex(xmp) + secrets[3])
        + box(b"uuid", bytes.fromhex(c2pa) + secrets[4])
        + box(b"uuid", b"of something else" + b"kept")
        + box(b"mdat", b"")
    )
    movie = next(b for b in top(video) if b.kind == b"moov")
    data = next(b for b in top(video) if b.kind == b"mdat")
    moov = content[movie.body : movie.end] + box(b"trak", box(b"udta", secrets[0]))
    # the sound and pictures stay where they are: what is behind them may grow
    head, tail = content[: movie.start], content[movie.end : data.end]
    odd = tmp_path / "odd.mp4"
    odd.write_bytes(
        head + box(b"free", bytes(len(content[movie.start : movie.end]) - 8)) + tail + box(b"moov", moov) + added
    )
    assert all(secret in odd.read_bytes() for secret in secrets)
    clean = tmp_path / "clean.mp4"
    clean.touch()
    records.strip(odd, clean)
    assert not any(secret in clean.read_bytes() for secret in secrets)
    assert b"of something else" + b"kept" in clean.read_bytes()
    assert clean.stat().st_size == odd.stat().st_size


def box(kind: bytes, content: bytes) -> bytes:
    """A box."""
    return (8 + len(content)).to_bytes(4) + kind + content


def top(path: Path) -> list[Box]:
    """The outermost boxes."""
    with path.open("rb") as file:
        return list(boxes(file, 0, path.stat().st_size))


def test_a_prompt_in_subtitles_is_found(video: Path, tmp_path: Path) -> None:
    """Strip looks for what the record says in all of the file, and then writes nothing."""
    spoken = tmp_path / "spoken.mp4"
    spoken.write_bytes(video.read_bytes() + box(b"mdat", b"1: a red fox in fresh snow"))
    with pytest.raises(RecordError) as caught:
        strip(spoken, spoken, default_registry())
    assert str(caught.value).startswith(
        f"{spoken}: error[record_remains]: the text of inputs.prompt is still in the file without its tags, "
    )
    assert records.read(spoken, LONGEST) == TEXT.encode()


def test_other_formats_have_no_records(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Whatever their name says."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(100))
    with pytest.raises(MediaError) as caught:
        records.read(path, LONGEST)
    assert str(caught.value) == (
        f"{path}: error[media.unsupported]: the file is matroska, not mp4\n  why: run records are in mp4 files"
    )


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"\x00\x00\x00\x21hdlr", b"\x00\x00\x00\x01hdlr", "a box ends outside of what it is in"),
        (b"\x00\x00\x00\x21hdlr", b"\x00\x00\xff\x21hdlr", "a box ends outside of what it is in"),
        (b"\x00\x00\x00\x21hdlr", b"\x00\x00\x00\x04hdlr", "a box ends outside of what it is in"),
        (b"\x00\x00\x00\x12mdta", b"\x00\x00\x00\x02mdta", "the names of its tags are broken"),
    ],
)
def test_broken_boxes_are_told(video: Path, old: bytes, new: bytes, what: str) -> None:
    """Neither looped over nor believed."""
    content = video.read_bytes()
    assert old in content
    video.write_bytes(content.replace(old, new))
    with pytest.raises(MediaError) as caught:
        records.read(video, LONGEST)
    assert str(caught.value) == f"{video}: error[media.damaged]: the file is broken: {what}"


def test_more_boxes_than_anybody_needs_are_refused(tmp_path: Path) -> None:
    """A hundred thousand in one place."""
    path = tmp_path / "many.mp4"
    path.write_bytes(box(b"ftyp", b"isom") + box(b"free", b"") * 100_001)
    with pytest.raises(MediaError) as caught:
        records.read(path, LONGEST)
    assert str(caught.value) == (
        f"{path}: error[media.damaged]: the file is broken: it has more than 100000 boxes in one place"
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_no_damage_does_more_than_raise_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes changed anywhere in the header, or the file cut anywhere."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    source = folder / "whole.mp4"
    if not source.exists():
        write_small(source)
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path, copy = folder / "a.mp4", folder / "b.mp4"
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    copy.write_bytes(b"")
    try:
        found = records.read(path, 2**20)
        assert found is None or isinstance(found, bytes)
        records.strip(path, copy)
        assert copy.stat().st_size == path.stat().st_size
        assert records.read(copy, 2**20) is None
    except MediaError:
        return


def write_small(path: Path) -> None:
    """A file of a few kilobytes with a record."""
    import numpy as np

    frames = Frames(np.zeros((1, 16, 16, 3), np.uint8), 24)
    write_video(path, frames, Waveform(np.zeros((1, 10), np.float32), 8000), metadata={"stagegraph": TEXT})


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="another reader of mp4 files is not installed")
def test_another_program_reads_the_stripped_file(video: Path) -> None:
    """Without a complaint."""
    strip(video, video, default_registry())
    command = ["ffprobe", "-v", "warning", "-show_format", str(video)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
