"""`join_videos`: mp4 files, one after the other, as one: pictures as they are, sound exact to the sample.

Sound is encoded by one encoder from the first sample to the last. FLAC gives the same samples again. AAC cannot be
joined as it is: the packets of each part begin and end with samples that are not there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

import attrs
import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from stagegraph_media import decoding
from stagegraph_media.errors import MediaError
from stagegraph_media.files import replacing
from stagegraph_media.mp4 import aac_faults
from stagegraph_media.reading import read_audio
from stagegraph_media.soundforms import AAC, FLAC, Form
from stagegraph_media.soundtrack import SoundTrack
from stagegraph_media.sources import Limits, Source, find
from stagegraph_media.values import Waveform
from stagegraph_media.writing import clock, encoding, require_encoders

#: FFmpeg's sample formats of FLAC -> bits of a sample.
_BITS: Final = {"s16": 16, "s16p": 16, "s32": 24, "s32p": 24}
_WHY: Final = "parts have one size, one rate and one encoding"
_FIX: Final = "make all parts with the same settings"


@attrs.frozen
class Pictures:
    """How the pictures of a part are stored: what must be the same for all."""

    codec: str
    width: int
    height: int
    rate: Fraction
    description: bytes = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.codec} {self.width}x{self.height} at {self.rate} frames a second"


@attrs.frozen
class Sound:
    """How the sound of a part is stored."""

    codec: str
    num_channels: int
    sample_rate: int
    bits: int | None

    def __str__(self) -> str:
        return f"sound of {self.num_channels} channels at {self.sample_rate} Hz"

    @property
    def form(self) -> Form:
        """That which holds these samples without a loss, or AAC if they have had one."""
        return FLAC[self.bits] if self.codec == "flac" and self.bits else AAC


@attrs.frozen
class Part:
    """A file that has been looked at.

    Attributes:
        source: the file.
        pictures: how they are stored.
        sound: how it is stored; None if there is none.
        first: when the first picture is shown, in frames.
        count: of pictures.
        reordered: by how many pictures what is shown lags behind what is decoded.
    """

    source: Source
    pictures: Pictures
    sound: Sound | None
    first: Fraction
    count: int
    reordered: int

    @classmethod
    def look(cls, path: Path) -> Part:
        """Read the headers and the times of a file; nothing is decoded.

        Raises:
            MediaError: it cannot be read, or its pictures do not follow one frame rate.
        """
        source = find(path, Limits())
        with _opened(source) as (container, video, audio):
            rate = video.average_rate or video.guessed_rate
            if not rate:
                raise source.error("media.variable_rate", "the file tells no frame rate")
            times = [_frames(source, packet, rate) for packet in _packets(source, container, video)]
            first = min(times, default=Fraction(0))
            shown = [time - first for time in times]
            if not times or sorted(shown) != list(range(len(times))):
                raise source.error("media.variable_rate", "the frames do not follow one frame rate")
            context = video.codec_context
            description = bytes(context.extradata or b"")
            pictures = Pictures(context.codec.canonical_name, context.width, context.height, rate, description)
            lag = max(index - int(time) for index, time in enumerate(shown))
            return cls(source, pictures, _sound(audio), first, len(times), lag)

    def check(self, like: Part, frames: int) -> None:
        """Look whether it can be the next part.

        Args:
            like: the first part.
            frames: how many frames come before.

        Raises:
            MediaError: it cannot.
        """
        told, other = (f"{p.pictures}, {p.sound or 'no sound'}" for p in (self, like))
        what = f"the part has {told}; the first has {other}" if told != other else ""
        if not what and self.pictures != like.pictures:
            what = "the pictures of the part are not encoded as those of the first"
        if what:
            raise self.source.error("media.not_joinable", what, why=_WHY, fix=_FIX)
        # Segments tell their place in the whole; other files begin at 0
        if self.first not in (0, like.first + frames):
            what = f"the part begins at frame {float(self.first):g}; those before end at {float(like.first + frames):g}"
            why, fix = "segments begin where the one before ends", "give all parts, in their order"
            raise self.source.error("media.not_joinable", what, why=why, fix=fix)


def join_videos(
    parts: Sequence[Path],
    target: Path,
    *,
    aac: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write mp4 files as one, which begins at 0.

    Pictures are not encoded again. Frames are counted on from part to part; so are samples, none is left out or added.
    The file replaces one of the same name when it is complete, and not before. It has no tags.

    Args:
        parts: files of one size, rate and encoding, in their order.
        target: ends in `.mp4`, in a directory that exists.
        aac: store the sound as AAC also if the parts have it as FLAC.
        progress: called after each part with (parts written, parts in all).

    Raises:
        MediaError: they cannot be joined, or the file cannot be written.
        EncoderMissingError: the installed PyAV lacks an encoder.
    """
    looked = [Part.look(path) for path in parts]
    if not looked:
        raise MediaError.of("media.not_joinable", "there is no part to join", where=str(target))
    first = looked[0]
    for before, part in zip(itertools.accumulate(part.count for part in looked), looked[1:], strict=False):
        part.check(first, before)
    form = _form([part.sound for part in looked if part.sound], aac)
    rate, sound = first.pictures.rate, first.sound
    options = {"movflags": "faststart", "movie_timescale": str(clock(rate, sound.sample_rate if sound else 1))}
    with (
        replacing(target) as draft,
        encoding(target),
        av.open(f"file:{draft}", "w", format="mp4", container_options=options) as container,
    ):
        joined = _Joined(container, first, max(part.reordered for part in looked))
        if sound:
            joined.track = SoundTrack(container, sound.num_channels, sound.sample_rate, form)
        for number, part in enumerate(looked, 1):
            joined.add(part)
            if progress:
                progress(number, len(looked))
        if joined.track:
            joined.track.finish()
    return target


class _Joined:
    """The file that is written: how many frames and samples it has so far."""

    def __init__(self, container: OutputContainer, like: Part, reordered: int) -> None:
        self._container = container
        self._rate = like.pictures.rate
        self._reordered = reordered
        self._frames = 0
        self._samples = 0
        self.track: SoundTrack | None = None
        with _opened(like.source) as (_, video, _):
            self._video = container.add_stream_from_template(video, opaque=True)
        self._video.time_base = 1 / self._rate

    def add(self, part: Part) -> None:
        """Write a part behind those before."""
        waveform = None
        if part.sound:
            self._check_meets(part, part.sound.sample_rate)
            waveform = read_audio(part.source.path)
        heard = 0
        with _opened(part.source) as (container, video, _), decoding.guarded(part.source):
            for index, packet in enumerate(_packets(part.source, container, video)):
                packet.pts = self._frames + int(_frames(part.source, packet, self._rate) - part.first)
                packet.dts = self._frames + index - self._reordered
                packet.duration, packet.time_base, packet.stream = 1, 1 / self._rate, self._video
                self._container.mux(packet)
                if waveform:
                    heard = self._hear(waveform, heard, Fraction(index + 1) / self._rate)
        if waveform:
            self._hear(waveform, heard, None)
            self._samples += waveform.num_samples
        self._frames += part.count

    def _hear(self, waveform: Waveform, first: int, until: Fraction | None) -> int:
        """Write samples up to a time of the part, in seconds, or to the end."""
        assert self.track
        last = waveform.num_samples
        if until is not None:
            last = min(int(until * waveform.sample_rate), last)
        self.track.add(waveform, first, last)
        return last

    def _check_meets(self, part: Part, sample_rate: int) -> None:
        """Look whether the sound so far ends where the pictures do, to less than a frame."""
        sound, pictures = Fraction(self._samples, sample_rate), self._frames / self._rate
        if abs(sound - pictures) * self._rate >= 1:
            what = f"the sound of the parts before lasts {float(sound):g} s, their pictures {float(pictures):g} s"
            why = "this part would not be in step"
            fix = "cut the parts with media.trim, with pad_sound"
            raise part.source.error("media.not_joinable", what, why=why, fix=fix)


def _form(sounds: Sequence[Sound], aac: bool) -> Form:
    """How the sound of the whole is stored.

    Raises:
        MediaError: it cannot be.
        EncoderMissingError: no encoder of it is installed.
    """
    forms = [sound.form for sound in sounds]
    form = AAC if aac or AAC in forms or not forms else max(forms, key=lambda form: form.bits or 0)
    if sounds:
        faults = list(aac_faults(sounds[0].num_channels, sounds[0].sample_rate)) if form is AAC else []
        if faults:
            raise MediaError(*faults)
        require_encoders(form.encoder)
    return form


@contextmanager
def _opened(source: Source) -> Iterator[tuple[av.container.InputContainer, VideoStream, AudioStream | None]]:
    if source.format != "mp4":
        raise source.error("media.unsupported", f"the file is {source.format}, not mp4", why="mp4 files are joined")
    with decoding.opened(source, Limits()) as container:
        yield container, *decoding.main_streams(source, container)


def _packets(
    source: Source, container: av.container.InputContainer, video: VideoStream
) -> Iterator[av.Packet[VideoStream]]:
    """The pictures as they are encoded."""
    with decoding.guarded(source):
        yield from (packet for packet in container.demux(video) if packet.size)


def _sound(stream: AudioStream | None) -> Sound | None:
    if stream is None:
        return None
    context = stream.codec_context
    bits = _BITS.get(context.format.name)
    return Sound(context.codec.canonical_name, context.channels, context.sample_rate, bits)


def _frames(source: Source, packet: av.Packet[VideoStream], rate: Fraction) -> Fraction:
    """When a picture is shown, in frames."""
    if packet.pts is None or packet.is_corrupt:
        raise source.damaged("a picture has no time, or ends early")
    return packet.pts * packet.time_base * rate
