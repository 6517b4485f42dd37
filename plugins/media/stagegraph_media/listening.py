"""From a sound or video file to a `Waveform`: all of its sound or a part, within limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import overload

import attrs
import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from stagegraph_media import decoding, sounds
from stagegraph_media.decoding import Memory
from stagegraph_media.errors import MediaError
from stagegraph_media.formats import DEMUXERS, SOUND_DEMUXERS
from stagegraph_media.sound import FLOAT32_BYTES, LONGEST_FILLING, Piece, Sound
from stagegraph_media.sounds import BrokenSound, Recording, Spliced, UnreadSound
from stagegraph_media.sources import Limits, Source
from stagegraph_media.values import MAX_CHANNELS, Waveform

# Formats without time stamps of their own: what FFmpeg skips would leave a gap
_GAPLESS = ("wav", "flac")


@attrs.frozen
class Part:
    """What is asked for of a sound: from a time on, in seconds, and for how long; to its end if None."""

    start: Fraction = Fraction(0)
    duration: Fraction | None = None

    @property
    def end(self) -> Fraction | None:
        """In seconds; None for the end of the sound."""
        return None if self.duration is None else self.start + self.duration

    def samples(self, rate: int) -> tuple[int, int | None]:
        """(the first sample, the one after the last), each the nearest to its time."""
        return round(self.start * rate), None if self.end is None else round(self.end * rate)


@attrs.frozen
class Announced:
    """What is known of a sound before it is decoded.

    Attributes:
        sample_rate: Hz.
        num_channels: how many.
        num_samples: for each channel; None if the file does not say.
        exact: whether `num_samples` can be relied on, so that another number is damage.
    """

    sample_rate: int
    num_channels: int
    num_samples: int | None
    exact: bool = False

    @property
    def seconds(self) -> int:
        """Whole ones that are begun; 0 if the file does not say."""
        return -(-(self.num_samples or 0) // self.sample_rate)


@attrs.frozen
class Opened:
    """A file with its main sound; `origin` is the time of its first sample, None if that is when the sound begins."""

    container: InputContainer
    stream: AudioStream
    announced: Announced
    origin: Fraction | None


@overload
def seconds(name: str, value: float | Fraction, above: float | None = None) -> Fraction: ...


@overload
def seconds(name: str, value: float | Fraction | None, above: float | None = None) -> Fraction | None: ...


def seconds(name: str, value: float | Fraction | None, above: float | None = None) -> Fraction | None:
    """A time as a fraction, None as it is.

    Raises:
        ValueError: it is not finite, or not in range: from 0 on, or `above` something.
    """
    if value is None:
        return None
    if not math.isfinite(value) or value < 0 or (above is not None and value <= above):
        rule = "at least 0" if above is None else f"above {above}"
        raise ValueError(f"{name} is {value!r}: must be a finite number of seconds, {rule}")
    return Fraction(value)


@contextmanager
def opened(source: Source, limits: Limits) -> Iterator[Opened]:
    """The main sound of a file, whose structure has been checked.

    Raises:
        MediaError: there is none, the file is broken, or it announces more than the limits allow.
    """
    if source.format in DEMUXERS:
        with decoding.opened(source, limits) as container:
            yield _opened(source, container, limits, None)
    elif source.format in SOUND_DEMUXERS:
        with source.path.open("rb") as file:
            try:
                recording = sounds.look(source.format, file, file.seek(0, 2))
            except BrokenSound as error:
                raise source.damaged(str(error)) from None
            except UnreadSound as error:
                fix = f'ffmpeg -i "{source.path.name}" converted.flac'
                raise source.error("media.unsupported", str(error), fix=fix) from None
            _check(source, _of_recording(recording), limits)
            shown = Spliced(file, recording.pieces)
            with decoding.demuxed(source, shown, SOUND_DEMUXERS[source.format], limits) as container:
                yield _opened(source, container, limits, recording)
    else:
        what = f"the file is a {source.format} image, not sound"
        raise source.error("media.no_sound", what, fix="read it with media.read_image")


def read(source: Source, limits: Limits, part: Part, progress: Callable[[int, int], None] | None = None) -> Waveform:
    """Decode a part of the main sound of a file; what comes after it is not decoded."""
    with opened(source, limits) as sound:
        excerpt = Excerpt(source, sound, limits, part)
        excerpt.check_announcement()
        seconds = 0
        for frame in decoding.decoded(source, sound.container, [sound.stream], limits):
            if isinstance(frame, av.AudioFrame) and not excerpt.add(frame):
                return excerpt.waveform()
            if progress and excerpt.seconds > seconds:
                seconds = excerpt.seconds
                progress(seconds, sound.announced.seconds)
        excerpt.finish()
        return excerpt.waveform()


def _opened(source: Source, container: InputContainer, limits: Limits, recording: Recording | None) -> Opened:
    stream = decoding.main_sound(source, container)
    if stream is None:
        raise source.error("media.no_sound", "the file has no sound")
    if recording is not None:
        return Opened(container, stream, _of_recording(recording), None)
    context, seconds = stream.codec_context, decoding.duration(container, stream)
    samples = round(seconds * context.sample_rate) if seconds is not None else None
    announced = Announced(context.sample_rate, context.channels, samples)
    _check(source, announced, limits)
    return Opened(container, stream, announced, _start_of_video(container))


def _start_of_video(container: InputContainer) -> Fraction | None:
    """When the first picture is shown, in seconds; None if there are no pictures, or only that of a cover."""
    video = container.streams.best("video")
    if not isinstance(video, VideoStream) or video.disposition & Disposition.attached_pic:
        return None
    return video.start_time * video.time_base if video.start_time is not None and video.time_base else None


def _of_recording(recording: Recording) -> Announced:
    return Announced(recording.sample_rate, recording.num_channels, recording.num_samples, recording.exact)


def _check(source: Source, announced: Announced, limits: Limits) -> None:
    """Check what does not depend on the part that is asked for."""
    rate, channels = announced.sample_rate, announced.num_channels
    if rate > limits.sample_rate:
        raise source.too_large(f"the sample rate is {rate} Hz", f"{limits.sample_rate} Hz")
    if channels > MAX_CHANNELS:
        why = f"at most {MAX_CHANNELS} are read"
        raise source.error("media.unsupported", f"the sound has {channels} channels", why=why)
    if channels > limits.channels:
        raise source.too_large(f"the sound has {channels} channels", f"{limits.channels} channels")
    if rate < 1 or channels < 1 or announced.num_samples == 0:
        raise source.error("media.no_sound", "the sound has no samples")


class Excerpt:
    """Collects a part of a sound, and drops the rest as it comes."""

    def __init__(self, source: Source, sound: Opened, limits: Limits, part: Part) -> None:
        self._source = source
        self._announced = sound.announced
        self._limits = limits
        self._part = part
        self._memory = Memory(source, limits)
        self._sound = Sound(source, sound.stream, self._memory)
        self._origin = sound.origin
        self._end: int | None = None  # of what has been decoded, in samples after the origin
        self._last: Piece | None = None
        self._span: tuple[int, int | None] = (0, None)  # what is asked for, once the rate is known
        self._samples = bytearray()  # [s, c], which grows in place; from the first sample that is asked for
        self._kept = 0  # of them

    @property
    def seconds(self) -> int:
        """How many whole seconds have been decoded."""
        return self._end // self._sound.rate if self._end else 0

    def check_announcement(self) -> None:
        """Compare what the file announces with the limits, and with the part that is asked for.

        Raises:
            MediaError: it does not fit.
        """
        told, part = self._announced, self._part
        if told.num_samples is None:
            return
        first, last = part.samples(told.sample_rate)
        if told.exact and (last or first + 1) > told.num_samples:
            raise self._not_there(Fraction(told.num_samples, told.sample_rate))
        end = told.num_samples if last is None else min(last, told.num_samples)
        self._check_seconds(end, told.sample_rate)
        needed = (end - first) * told.num_channels * FLOAT32_BYTES
        if needed > self._limits.decoded_bytes:
            limit = f"{self._limits.decoded_bytes} bytes of pixels and samples"
            raise self._source.too_large(f"the samples of the sound have {needed} bytes", limit)

    def add(self, frame: av.AudioFrame) -> bool:
        """Take the next piece; whether more are needed."""
        piece = self._sound.convert(frame)
        rate = self._sound.rate
        if self._end is None:
            _check(self._source, Announced(rate, self._sound.channels, None), self._limits)
            self._span = self._part.samples(rate)
        if self._origin is None:
            self._origin = piece.time or Fraction(0)
        if self._source.format in _GAPLESS and not self._follows(piece):
            raise self._source.damaged("a part of the sound is missing")
        begin = self._sound.placed(piece, self._origin, self._end)
        self._end, self._last = begin + frame.samples, piece
        first, last = self._span
        end = self._end if last is None else min(self._end, last)
        self._check_seconds(end, rate)
        at = first + self._kept
        if at < end:
            self._memory.take((end - at) * self._sound.channels * FLOAT32_BYTES)
            silence = min(max(begin - at, 0), end - at)
            self._samples += bytes(silence * self._sound.channels * FLOAT32_BYTES)
            if begin < end:
                self._samples += piece.samples[:, max(at - begin, 0) : end - begin].T.tobytes()
            self._kept = end - first
        # What fills up the last blocks of an mp4 file is known when there is nothing behind it
        beyond = LONGEST_FILLING if self._source.format == "mp4" else 0
        return last is None or self._end < last + beyond

    def finish(self) -> None:
        """Cut what is only there to fill the last block, when all has been decoded.

        Raises:
            MediaError: there is less or more sound than the file says.
        """
        if self._end is None or self._origin is None or self._last is None:
            raise self._source.error("media.no_sound", "the sound has no samples")
        told = self._announced
        if told.exact and self._end != told.num_samples:
            raise self._source.damaged(f"the file says that it has {told.num_samples} samples, but it has {self._end}")
        end = self._sound.without_filling(self._end, self._origin, self._last)
        first, last = self._span
        if (last or first + 1) > end:
            raise self._not_there(Fraction(max(end, 0), self._sound.rate))
        self._kept = min(self._kept, end - first)

    def waveform(self) -> Waveform:
        """The part."""
        channels = self._sound.channels
        count = self._kept * channels
        if not count:
            raise self._source.error("media.no_such_part", f"the part {self._asked} is shorter than a sample")
        self._memory.take(count * FLOAT32_BYTES)
        samples = np.frombuffer(self._samples, np.float32, count).reshape(-1, channels).T
        return Waveform(np.ascontiguousarray(samples), self._sound.rate)

    def _follows(self, piece: Piece) -> bool:
        if piece.time is None or self._end is None or self._origin is None:
            return True
        return round((piece.time - self._origin) * self._sound.rate) == self._end

    def _check_seconds(self, end: int, rate: int) -> None:
        if end > self._limits.seconds * rate:
            what = f"{end / rate:g} s of sound are to be decoded"
            raise self._source.too_large(what, f"{self._limits.seconds:g} s")

    def _not_there(self, length: Fraction) -> MediaError:
        what = f"the sound has {_text(length)}, of which the part {self._asked} is asked for"
        return self._source.error("media.no_such_part", what, fix="ask for a part that is there")

    @property
    def _asked(self) -> str:
        end = self._part.end
        return f"from {_text(self._part.start)} {'on' if end is None else f'to {_text(end)}'}"


def _text(time: Fraction) -> str:
    return f"{float(time):g} s"
