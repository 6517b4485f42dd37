"""From an open media file to its streams, and to `Frames`, within limits; see `sound` for `Waveform`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stagegraph_media.colour import Converter, UnsupportedColour, refuse_hdr
from stagegraph_media.formats import DEMUXERS, SOUND_DEMUXERS
from stagegraph_media.sources import Limits, Source
from stagegraph_media.turning import UnknownTurn, of_frame
from stagegraph_media.values import Frames

_VIDEO_CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mjpeg", "prores", "ffv1")
_AUDIO_CODECS = (
    *("aac", "mp3", "opus", "vorbis", "flac", "alac"),
    *("pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be"),
)
# Some decoders have other names than their codec
_DECODERS = (*_VIDEO_CODECS, *_AUDIO_CODECS, "libdav1d", "mp3float", "libopus", "libvorbis", "libvpx", "libvpx-vp9")


@contextmanager
def guarded(source: Source) -> Iterator[None]:
    """Turns what PyAV and the conversions raise into a `MediaError` about the file."""
    try:
        yield
    except av.FFmpegError as error:
        raise source.damaged(f"the file is broken or ends early: {error.strerror}") from error
    except (UnsupportedColour, UnknownTurn) as error:
        raise source.error("media.unsupported", str(error)) from error


@contextmanager
def opened(source: Source, limits: Limits) -> Iterator[InputContainer]:
    """The file, its streams known, nothing decoded but what FFmpeg needs to describe them."""
    demuxer = DEMUXERS.get(source.format)
    if demuxer is None:
        what, fix = f"a {source.format} image", "read it with media.read_image"
        if source.format in SOUND_DEMUXERS:
            what, fix = f"{source.format} sound", "read it with media.read_audio"
        raise source.error("media.no_video", f"the file is {what}, not a video", fix=fix)
    with demuxed(source, f"file:{source.path}", demuxer, limits) as container:
        yield container


@contextmanager
def demuxed(source: Source, file: object, demuxer: str, limits: Limits) -> Iterator[InputContainer]:
    """An address or an open file, by a demuxer, with decoders of the list only."""
    with guarded(source):
        container = av.open(
            file,
            "r",
            format=demuxer,
            container_options={"protocol_whitelist": "file", "codec_whitelist": ",".join(_DECODERS)},
            options=limits.decoder_options,
            metadata_errors="replace",
        )
    with container:
        yield container


def main_streams(source: Source, container: InputContainer) -> tuple[VideoStream, AudioStream | None]:
    """The video and the sound that a player would choose."""
    video = container.streams.best("video")
    if not isinstance(video, VideoStream):
        raise source.error("media.no_video", "the file has no video")
    _check_codec(source, video, "video", _VIDEO_CODECS)
    return video, main_sound(source, container)


def main_sound(source: Source, container: InputContainer) -> AudioStream | None:
    """The sound that a player would choose; None if there is none."""
    audio = container.streams.best("audio")
    if not isinstance(audio, AudioStream):
        return None
    _check_codec(source, audio, "sound", _AUDIO_CODECS)
    return audio


def codec_name(stream: VideoStream | AudioStream) -> str | None:
    """FFmpeg's name of the codec, whichever decoder is used for it; None if it has none."""
    return stream.codec_context.codec.canonical_name if stream.codec_context else None


def duration(container: InputContainer, stream: VideoStream | AudioStream) -> Fraction | None:
    """Seconds that the file announces for a stream, or else for itself."""
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    return Fraction(container.duration, av.time_base) if container.duration is not None else None


def decoded(
    source: Source, container: InputContainer, streams: list[VideoStream | AudioStream], limits: Limits
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """The frames of the streams as the file has them interleaved.

    Raises:
        MediaError: a part of the file is missing or broken.
    """
    for stream in streams:
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.options = limits.decoder_options
    with guarded(source):
        for packet in container.demux(streams):
            if packet.is_corrupt:
                raise source.damaged("the file ends early")
            for frame in packet.decode():
                if not isinstance(frame, av.VideoFrame | av.AudioFrame):
                    continue
                if frame.is_corrupt:
                    raise source.damaged("a frame cannot be decoded")
                yield frame


def _check_codec(source: Source, stream: VideoStream | AudioStream, kind: str, known: tuple[str, ...]) -> None:
    name = codec_name(stream)
    if name not in known:
        what = f"the {kind} is {name}" if name else f"FFmpeg has no decoder for the {kind}"
        fix = "convert the file to H.264 and AAC"
        raise source.error("media.unsupported", what, why=f"{kind} is read as {', '.join(known)}", fix=fix)


class Memory:
    """Bytes that a reader has taken, and may take."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limit = limits.decoded_bytes
        self._taken = 0

    def take(self, count: int) -> None:
        """Account for bytes before they are allocated.

        Raises:
            MediaError: the limit is reached.
        """
        self._taken += count
        if self._taken > self._limit:
            limit = f"{self._limit} bytes of pixels and samples"
            raise self._source.too_large("the file takes too much memory when decoded", limit)


class Pictures:
    """Collects the pictures of a video."""

    def __init__(self, source: Source, stream: VideoStream, limits: Limits, memory: Memory) -> None:
        self._source = source
        self._stream = stream
        self._limits = limits
        self._memory = memory
        self._converter = Converter()
        self._shape: tuple[int, ...] | None = None
        self._pixels = bytearray()  # grows in place, where an array or a list of arrays would be copied whole
        self._times: list[Fraction | None] = []
        self._check_announcement()

    def __len__(self) -> int:
        return len(self._times)

    @property
    def start(self) -> Fraction:
        """When the first picture is shown, in seconds."""
        return (self._times[0] if self._times else None) or Fraction(0)

    def add(self, frame: av.VideoFrame) -> None:
        """Convert and keep the next picture."""
        self._check_size(frame.height, frame.width)
        self._memory.take(frame.width * frame.height * 3)
        self._pixels += self.convert(frame).data.cast("B")

    def convert(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """The next picture `[h, w, 3]`, upright, for a caller that does not need them all at once."""
        self._check_size(frame.height, frame.width)
        if len(self) == self._limits.frames:
            raise self._source.too_large(f"the video has more than {len(self)} frames", f"{len(self)} frames")
        with guarded(self._source):
            refuse_hdr(self._stream.codec_context)
            pixels = of_frame(frame).upright(self._converter.to_rgb(frame))
        if self._shape not in (None, pixels.shape):
            raise self._source.error("media.unsupported", "the size of the pictures changes in the middle")
        self._shape = pixels.shape
        self._times.append(time_of(frame))
        return pixels

    def frames(self) -> Frames:
        """All pictures, if they follow one frame rate."""
        if self._shape is None:
            raise self._source.damaged("the video has no frames")
        rate = self._rate()
        return Frames(np.frombuffer(self._pixels, np.uint8).reshape(len(self), *self._shape), rate)

    def _rate(self) -> Fraction:
        """The first of the rates that the file claims which its timestamps follow."""
        stream = self._stream
        claims = [rate for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        times = [(index, time - self.start) for index, time in enumerate(self._times) if time is not None]
        for rate in claims:
            if all(abs(time * rate - index) <= Fraction(1, 2) for index, time in times):
                return rate
        why = "a picture is more than half a frame away from its place" if claims else "the file tells no frame rate"
        fix = f'ffmpeg -i "{self._source.path.name}" -fps_mode cfr -r 24 constant.mp4'
        raise self._source.error("media.variable_rate", "the frames do not follow one frame rate", why=why, fix=fix)

    def _check_announcement(self) -> None:
        context, count = self._stream.codec_context, self._stream.frames
        self._check_size(context.height, context.width)
        if count > self._limits.frames:
            raise self._source.too_large(f"the video has {count} frames", f"{self._limits.frames} frames")
        if (needed := context.width * context.height * 3 * count) > self._limits.decoded_bytes:
            limit = f"{self._limits.decoded_bytes} bytes of pixels and samples"
            raise self._source.too_large(f"the pixels of the video have {needed} bytes", limit)

    def _check_size(self, height: int, width: int) -> None:
        if height * width > self._limits.frame_pixels:
            raise self._source.too_large(f"the video is {width}x{height}", f"{self._limits.frame_pixels} pixels")


def time_of(frame: av.VideoFrame | av.AudioFrame) -> Fraction | None:
    """When it is shown or heard, in seconds; None if it does not say."""
    return frame.pts * frame.time_base if frame.pts is not None and frame.time_base else None
