"""`read_video`, `read_audio`, `read_image`, `probe`: media files, as untrusted input.

Only local regular files are opened, only with the demuxer or decoder of the format that their first bytes show, and
only codecs of a fixed list run. Sizes are checked in the header, before a frame is decoded, and again while decoding,
because a header may lie. Everything that is wrong with a file is a `MediaError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction

import attrs
import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from stagegraph_media import decoding, listening
from stagegraph_media.colour import Converter, refuse_hdr
from stagegraph_media.decoding import Memory, Pictures, guarded
from stagegraph_media.formats import IMAGE_DECODERS, SOUND_DEMUXERS
from stagegraph_media.images import Animated, BrokenHeader, Header, header
from stagegraph_media.sound import Sound
from stagegraph_media.sources import Limits, Source, find
from stagegraph_media.turning import OF_ORIENTATION
from stagegraph_media.values import Frames, Image, Waveform

__all__ = ["Limits", "MediaInfo", "VideoClip", "probe", "read_audio", "read_image", "read_video"]

_OPAQUE = 255


@attrs.frozen
class VideoClip:
    """What a video file holds.

    Attributes:
        frames: the pictures, upright.
        waveform: the sound, from the time of the first picture on; None if there is none.
        metadata: the tags of the file, those of the container itself too; nobody has vouched for them.
    """

    frames: Frames
    waveform: Waveform | None
    metadata: dict[str, str]


@attrs.frozen
class MediaInfo:
    """What a file says about itself.

    Attributes:
        format: mp4, matroska, wav, flac, mp3, ogg, png, jpeg or webp.
        video_codec: FFmpeg's name of the codec; None if there are no pictures.
        width, height: of the stored pictures, before any rotation tag is applied; None if there are none.
        num_frames: None if the file does not say.
        frame_rate: pixel frames per second; None for an image, or if the file does not say.
        duration: of the video, in seconds; None for an image, or if the file does not say.
        audio_codec, sample_rate, num_channels, audio_duration: of the sound, in Hz and seconds; None if there is none.
        metadata: the tags of the file; nobody has vouched for them.
    """

    format: str
    video_codec: str | None = None
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    frame_rate: Fraction | None = None
    duration: Fraction | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    num_channels: int | None = None
    audio_duration: Fraction | None = None
    metadata: dict[str, str] = attrs.field(factory=dict)


def read_video(
    path: str | os.PathLike[str], *, limits: Limits | None = None, progress: Callable[[int, int], None] | None = None
) -> VideoClip:
    """Decode a whole mp4, QuickTime, Matroska or WebM file: its main video and its main sound.

    The pictures keep their stored size (pixels that are not square stay so) and are turned upright. Sound begins with
    the first picture: what comes before is cut, a late start and gaps are silence.

    Args:
        path: a local file.
        limits: what to refuse; `Limits()` if not given.
        progress: called after each frame with (frames read, frames that the file announces, 0 if it does not); what
            it raises ends the reading.

    Raises:
        MediaError: the file cannot be read faithfully, or exceeds the limits.
    """
    limits = limits or Limits()
    source = find(path, limits)
    memory = Memory(source, limits)
    with decoding.opened(source, limits) as container:
        video, audio = decoding.main_streams(source, container)
        pictures = Pictures(source, video, limits, memory)
        sound = Sound(source, audio, memory) if audio else None
        for frame in decoding.decoded(source, container, [video, audio] if audio else [video], limits):
            if isinstance(frame, av.VideoFrame):
                pictures.add(frame)
                if progress:
                    progress(len(pictures), video.frames)
            elif sound:
                sound.add(frame)
        return VideoClip(pictures.frames(), sound.waveform(pictures.start) if sound else None, dict(container.metadata))


def read_audio(
    path: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    start: float | Fraction = 0,
    duration: float | Fraction | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Waveform:
    """Decode the main sound of a WAV, FLAC, MP3 or Ogg file, or of one that `read_video` reads, or a part of it.

    All channels are kept, at the rate that they have. What encoders add before and behind the sound is cut off, gaps
    are silence, and a file that ends early is refused. The sound of a video begins with the first picture, as
    `read_video` gives it; other sound begins with its first sample.

    Args:
        path: a local file.
        limits: what to refuse; `Limits()` if not given.
        start: the seconds that are left out at the beginning; the nearest sample.
        duration: the seconds that are read, and no less; to the end if None.
        progress: called after each second of sound with (seconds decoded, seconds that the file announces, 0 if it
            does not); what it raises ends the reading.

    Raises:
        MediaError: the file cannot be read faithfully, exceeds the limits, or has no such part.
        ValueError: `start` or `duration` is no such number.
    """
    limits = limits or Limits()
    part = listening.Part(listening.seconds("start", start), listening.seconds("duration", duration, above=0))
    return listening.read(find(path, limits), limits, part, progress)


def read_image(path: str | os.PathLike[str], *, limits: Limits | None = None) -> Image:
    """Decode a PNG, JPEG or WebP file.

    The picture is turned upright as its EXIF data says. An alpha channel is dropped if it is opaque everywhere; a
    transparent picture is refused, because what is behind it is not known. Deeper samples are rounded to 8 bits.

    Args:
        path: a local file.
        limits: what to refuse; `Limits()` if not given.

    Raises:
        MediaError: the file cannot be read faithfully, or exceeds the limits.
    """
    limits = limits or Limits()
    source = find(path, limits)
    told, data = image_header(source, limits)
    with guarded(source):
        decoder = av.CodecContext.create(IMAGE_DECODERS[source.format], "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.options = {**limits.decoder_options, "err_detect": "crccheck+explode"}
        pictures = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
        if not pictures:
            raise source.damaged("the pixels are missing")
        refuse_hdr(decoder)
        frame = pictures[0]
        if (frame.height, frame.width) != (told.height, told.width):
            what = f"the header says {told.width}x{told.height}, the picture is {frame.width}x{frame.height}"
            raise source.damaged(what)
        return Image(OF_ORIENTATION[told.orientation].upright(_opaque(source, frame)))


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """What a media file says about itself; nothing is decoded but what FFmpeg needs to describe the streams.

    Raises:
        MediaError: the file cannot be read.
    """
    source = find(path)
    if source.format in IMAGE_DECODERS:
        told, _ = image_header(source, Limits())
        return MediaInfo(source.format, IMAGE_DECODERS[source.format], told.width, told.height, num_frames=1)
    if source.format in SOUND_DEMUXERS:
        with listening.opened(source, Limits()) as sound:
            return _sound_info(source, sound.container, sound.stream, sound.announced.num_samples)
    with decoding.opened(source, Limits()) as container:
        if container.streams.best("video") is None and (audio := decoding.main_sound(source, container)):
            return _sound_info(source, container, audio)
        video, audio = decoding.main_streams(source, container)
        return MediaInfo(
            format=source.format,
            video_codec=video.codec_context.codec.canonical_name,
            width=video.codec_context.width,
            height=video.codec_context.height,
            num_frames=video.frames or None,
            frame_rate=video.average_rate or video.guessed_rate,
            duration=decoding.duration(container, video),
            audio_codec=audio.codec_context.codec.canonical_name if audio else None,
            sample_rate=audio.codec_context.sample_rate if audio else None,
            num_channels=audio.codec_context.channels if audio else None,
            audio_duration=decoding.duration(container, audio) if audio else None,
            metadata=dict(container.metadata),
        )


def _sound_info(
    source: Source, container: InputContainer, stream: AudioStream, num_samples: int | None = None
) -> MediaInfo:
    rate = stream.codec_context.sample_rate
    return MediaInfo(
        format=source.format,
        audio_codec=decoding.codec_name(stream),
        sample_rate=rate,
        num_channels=stream.codec_context.channels,
        audio_duration=Fraction(num_samples, rate) if num_samples else decoding.duration(container, stream),
        metadata=dict(container.metadata),
    )


def image_header(source: Source, limits: Limits) -> tuple[Header, bytes]:
    """(the header, the whole file).

    Raises:
        MediaError: the file is no such image, or a larger one.
    """
    if source.format not in IMAGE_DECODERS:
        what, fix = f"a {source.format} video", "read it with media.read_video"
        if source.format in SOUND_DEMUXERS:
            what, fix = f"{source.format} sound", "read it with media.read_audio"
        raise source.error("media.unsupported", f"the file is {what}, not an image", fix=fix)
    data = source.path.read_bytes()
    try:
        told = header(source.format, data)
    except BrokenHeader as error:
        raise source.damaged(str(error)) from error
    except Animated as error:
        fix = "save one picture of it as a png"
        raise source.error("media.unsupported", str(error), fix=fix) from error
    if told.height * told.width > limits.frame_pixels:
        raise source.too_large(f"the image is {told.width}x{told.height}", f"{limits.frame_pixels} pixels")
    return told, data


def _opaque(source: Source, frame: av.VideoFrame) -> NDArray[np.uint8]:
    """`[h, w, 3]`."""
    format = frame.format
    if not format.has_palette and not any(component.is_alpha for component in format.components):
        return Converter().to_rgb(frame)
    pixels = Converter().to_rgb(frame, "rgba")
    if (pixels[..., 3] != _OPAQUE).any():
        raise source.error(
            "media.unsupported",
            "the image is transparent in places",
            why="what is behind it is not known",
            fix="flatten it onto a background, and save it without an alpha channel",
        )
    return pixels[..., :3]
