"""`series_of`: evenly spaced pictures of a video file, for a contact sheet; only those are kept in memory."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import attrs
import av

from stagegraph_media import decoding, listening
from stagegraph_media.decoding import Memory, Pictures
from stagegraph_media.scaling import scaled
from stagegraph_media.sheets import Series, Shot, evenly
from stagegraph_media.sources import Limits, Source, find
from stagegraph_media.values import Waveform

#: How much is decoded has no other limit than the time that it takes.
LIMITS = Limits(frames=10_000_000, decoded_bytes=2**50)


@attrs.frozen
class _Seen:
    """A video that was decoded once: how many frames it has, the last of their times, and those that were kept."""

    num_frames: int
    end: Fraction
    shots: tuple[Shot, ...]


def series_of(path: Path, count: int, widest: int, *, sound: bool = True, title: str = "") -> Series:
    """Some pictures of a video, at a constant frame rate or not, and its sound.

    Args:
        path: a local file, taken for untrusted.
        count: how many pictures, evenly spaced; all if the video has no more.
        widest: larger pictures are made that wide, in pixels.
        sound: whether to read the sound.
        title: of the series.

    Raises:
        MediaError: the file cannot be read.
    """
    source = find(path, LIMITS)
    with decoding.opened(source, LIMITS) as container:
        video, _ = decoding.main_streams(source, container)
        expected, rate = video.frames, video.average_rate or video.guessed_rate
        size = f"{video.codec_context.width}x{video.codec_context.height}"
    seen = _seen(source, evenly(expected, count) if expected else [], widest)
    if seen.num_frames != expected:  # the file does not say how many there are, or is wrong
        seen = _seen(source, evenly(seen.num_frames, count), widest)
    duration = seen.end + (1 / rate if rate else 0)
    detail = f"{size}, {f'{float(rate):.6g} fps, ' if rate else ''}{seen.num_frames} frames, {float(duration):.2f} s"
    return Series(seen.shots, duration, _sound(source, Limits()) if sound else None, title, detail)


def _seen(source: Source, wanted: Iterable[int], widest: int) -> _Seen:
    wanted, shots, count = set(wanted), list[Shot](), 0
    start: Fraction | None = None
    end = Fraction(0)
    with decoding.opened(source, LIMITS) as container:
        video, _ = decoding.main_streams(source, container)
        pictures = Pictures(source, video, LIMITS, Memory(source, LIMITS))
        for frame in decoding.decoded(source, container, [video], LIMITS):
            if not isinstance(frame, av.VideoFrame):
                continue
            time = decoding.time_of(frame)
            if time is None:
                raise source.damaged("a frame does not say when it is shown")
            start = time if start is None else start
            end = time - start
            if count in wanted:
                pixels = pictures.convert(frame)
                height, width = pixels.shape[:2]
                if width > widest:
                    pixels = scaled(pixels, max(round(height * widest / width), 1), widest)
                shots.append(Shot(pixels, end))
            count += 1
    if not count:
        raise source.damaged("the video has no frames")
    return _Seen(count, end, tuple(shots))


def _sound(source: Source, limits: Limits) -> Waveform | None:
    """All of it; None if there is none."""
    with decoding.opened(source, limits) as container:
        if decoding.main_sound(source, container) is None:
            return None
    return listening.read(source, limits, listening.Part())
