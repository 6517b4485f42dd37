"""Segments in a browser: what Media Source takes as one video."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stagegraph_media.fragments import Fragmented
from stagegraph_media.growing import grow

from .browser import CHROMIUM, Page, browser
from .test_segments import LENGTHS, Film, shoot

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

#: A player that is fed pieces, one after the other; tells what it has after each, and plays from `start` to the end.
PLAYER = """
const pieces = PIECES.map(text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)));
const video = document.createElement("video");
const media = new MediaSource();
video.src = URL.createObjectURL(media);
await new Promise(done => media.addEventListener("sourceopen", done, {once: true}));
const buffer = media.addSourceBuffer('video/mp4; codecs="CODECS"');
const ranges = [];
for (const piece of pieces) {
    await new Promise((done, failed) => {
        buffer.onupdateend = done;
        buffer.onerror = () => failed(new Error("it was not taken"));
        buffer.appendBuffer(piece);
    });
    const told = [];
    for (let i = 0; i < buffer.buffered.length; i++) told.push([buffer.buffered.start(i), buffer.buffered.end(i)]);
    ranges.push(told);
}
media.endOfStream();
video.currentTime = START;
video.playbackRate = 16;
await new Promise((done, failed) => {
    video.onended = done;
    video.onerror = () => failed(new Error(video.error.message));
    video.play().catch(failed);
});
return {ranges, duration: video.duration, end: video.currentTime};
"""
#: The length of what a browser decodes of a file: of its pictures in seconds, of its sound in samples.
FILE = """
const bytes = Uint8Array.from(atob("BYTES"), letter => letter.charCodeAt(0));
const video = document.createElement("video");
video.src = URL.createObjectURL(new Blob([bytes], {type: "video/mp4"}));
await new Promise((done, failed) => { video.onloadeddata = done; video.onerror = () => failed(video.error); });
const sound = await new OfflineAudioContext(2, 1, 24000).decodeAudioData(bytes.buffer);
return {duration: video.duration, samples: sound.length, width: video.videoWidth};
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page in a browser."""
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Twenty segments, the first of which begins at 0."""
    return shoot(tmp_path_factory.mktemp("film"), LENGTHS, size=(64, 96))


def text(data: bytes) -> str:
    """As a script takes bytes."""
    return base64.b64encode(data).decode()


def header_and_fragments(path: Path) -> tuple[bytes, bytes]:
    """The two parts of a segment."""
    with path.open("rb") as file:
        found = Fragmented.read(file, path.stat().st_size)
    content = path.read_bytes()
    return content[: found.header], content[found.heads[0].start : found.end]


def play(page: Page, pieces: list[bytes], start: float = 0.0, codecs: str = "avc1.64000b,flac") -> dict[str, Any]:
    """Feed a player."""
    script = PLAYER.replace("PIECES", json.dumps(list(map(text, pieces)))).replace("CODECS", codecs)
    played: dict[str, Any] = page.run(script.replace("START", str(start)))
    return played


def test_segments_are_one_range_in_a_media_source(page: Page, film: Film) -> None:
    """With the header of the first alone: after each segment one range, which ends where the segment does."""
    header, _ = header_and_fragments(film.parts[0])
    told = play(page, [header, *(header_and_fragments(part)[1] for part in film.parts)])
    assert told["ranges"][0] == []
    for count, ranges in enumerate(told["ranges"][1:], 1):
        assert len(ranges) == 1
        assert ranges[0] == pytest.approx([0, sum(LENGTHS[:count]) / 24], abs=1e-5)
    assert told["duration"] == pytest.approx(film.num_frames / 24, abs=1e-5)
    assert told["end"] == pytest.approx(film.num_frames / 24, abs=1e-5)


def test_whole_files_can_be_fed_too(page: Page, film: Film) -> None:
    """Each with its header, as they are on the disk, to a player that is told of the highest level."""
    told = play(page, [part.read_bytes() for part in film.parts[:5]], codecs="avc1.640033,flac")
    assert [len(ranges) for ranges in told["ranges"]] == [1] * 5


@pytest.mark.parametrize("first", [1, 2, 13, 19])
def test_a_player_can_start_at_any_segment(page: Page, film: Film, first: int) -> None:
    """At its place in the whole."""
    header, _ = header_and_fragments(film.parts[0])
    begin = sum(LENGTHS[:first]) / 24
    told = play(page, [header, *(header_and_fragments(part)[1] for part in film.parts[first:])], begin)
    (last,) = told["ranges"][-1]
    assert last == pytest.approx([begin, film.num_frames / 24], abs=1e-5)
    assert told["end"] == pytest.approx(film.num_frames / 24, abs=1e-5)


def test_a_file_that_has_grown_plays(page: Page, film: Film, tmp_path: Path) -> None:
    """As it is, in an element; what is decoded of its sound has exactly the samples that were written."""
    path = tmp_path / "film.mp4"
    for count in (1, 7, 8, 20):
        grow(path, film.parts[:count])
        told = page.run(FILE.replace("BYTES", text(path.read_bytes())))
        frames = sum(LENGTHS[:count])
        assert told["duration"] == pytest.approx(frames / 24, abs=1e-5)
        assert told["samples"] == frames * 1000
        assert told["width"] == 96
    (ranges,) = play(page, [path.read_bytes()])["ranges"]
    assert ranges == [pytest.approx([0, film.num_frames / 24], abs=1e-5)]


def test_a_missing_segment_is_a_gap(page: Page, film: Film) -> None:
    """Two ranges: so the others say something."""
    header, _ = header_and_fragments(film.parts[0])
    pieces = [header_and_fragments(part)[1] for part in film.parts]
    told = page.run(
        PLAYER.replace("PIECES", json.dumps(list(map(text, [header, *pieces[:8], *pieces[9:]]))))
        .replace("CODECS", "avc1.64000b,flac")
        .replace("START", str(sum(LENGTHS[:9]) / 24))
    )
    assert len(told["ranges"][-1]) == 2
