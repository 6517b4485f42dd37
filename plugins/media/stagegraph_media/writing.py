"""`write_video`: frames and sound into an mp4 file that any player shows with the right colours and speed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from math import lcm
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.stream import VideoStream

from stagegraph.errors import Fault
from stagegraph_media import mp4
from stagegraph_media.colour import BT709, LIMITED, Converter
from stagegraph_media.errors import EncoderMissingError, MediaError
from stagegraph_media.files import replacing
from stagegraph_media.soundforms import AAC
from stagegraph_media.soundtrack import SoundTrack
from stagegraph_media.values import Frames, Waveform

# x265 of 2025 writes outside its memory for pictures of less than 64 pixels, and so HEVC is not offered
_VIDEO_ENCODER, _AUDIO_ENCODER = "libx264", AAC.encoder
# x264's macroblock tree reads memory that nobody has written, unless the width is a multiple of 128 (with AVX2): the
# same frames would give other bytes each time
_REPRODUCIBLE = {"mbtree": "0"}
# The clock of an mp4 file, in ticks per second, is a signed 32-bit number
_MAX_CLOCK = 2**31 - 1


def write_video(
    path: str | os.PathLike[str],
    frames: Frames,
    waveform: Waveform | None = None,
    *,
    crf: int = 18,
    preset: str = "medium",
    metadata: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write an mp4 file: H.264 4:2:0 and AAC.

    The frame rate and the sample rate are stored exactly. Sound that is shorter or longer than the video stays so:
    nothing is resampled, padded or cut. The same values give the same bytes. The file replaces one of the same name
    when it is complete, and not before.

    Args:
        path: ends in `.mp4`, in a directory that exists.
        frames: both sizes even, for 4:2:0.
        waveform: one or two channels, at one of `mp4.AAC_RATES`.
        crf: quality, from 0 (best) to 51 (worst).
        preset: one of `mp4.PRESETS`.
        metadata: tags of the file: any keys (capitals do not tell two keys apart), values of any length.
        progress: called after each frame with (frames written, frames in all); what it raises ends the writing.

    Returns:
        The path.

    Raises:
        MediaError: the values cannot be stored as they are (all reasons at once), or the file cannot be written.
        EncoderMissingError: the installed PyAV lacks an encoder.
    """
    target = Path(path)
    tags = dict(metadata or {})
    faults = mp4.faults(target, frames, waveform, crf, preset, tags)
    if faults:
        raise MediaError(*faults)
    require_encoders(*([_VIDEO_ENCODER, _AUDIO_ENCODER] if waveform else [_VIDEO_ENCODER]))
    options = {
        "movflags": "use_metadata_tags+faststart",
        "movie_timescale": str(clock(frames.frame_rate, waveform.sample_rate if waveform else 1)),
    }
    with (
        replacing(target) as draft,
        encoding(target),
        av.open(f"file:{draft}", "w", format="mp4", container_options=options) as container,
    ):
        container.metadata.update(tags)
        video = video_stream(container, frames, crf, preset)
        track = SoundTrack(container, waveform.num_channels, waveform.sample_rate, AAC) if waveform else None
        encode(container, frames, video, waveform, track, progress=progress)
    return target


def has_encoder(name: str) -> bool:
    """Whether the installed FFmpeg libraries have an encoder of this name ("libx264", "aac")."""
    try:
        av.Codec(name, "w")
    except UnknownCodecError:
        return False
    return True


def video_stream(container: OutputContainer, frames: Frames, crf: int, preset: str, **options: str) -> VideoStream:
    """A track of H.264 4:2:0 for such frames."""
    encoder = {"crf": str(crf), "preset": preset, **_REPRODUCIBLE, **options}
    stream = container.add_stream(_VIDEO_ENCODER, rate=frames.frame_rate, options=encoder)
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = (frames.width, frames.height, "yuv420p")
    context.time_base = 1 / frames.frame_rate
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED
    return stream


def encode(
    container: OutputContainer,
    frames: Frames,
    video: VideoStream,
    waveform: Waveform | None,
    sound: SoundTrack | None,
    *,
    start: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write frames, and sound next to its pictures; `start` is the time of the first frame, in frames."""
    converter, heard = Converter(), 0
    for index, pixels in enumerate(frames.pixels):
        picture = converter.to_yuv420p(pixels)
        picture.pts, picture.time_base = start + index, 1 / frames.frame_rate
        container.mux(video.encode(picture))
        if waveform and sound:
            until = min(int((index + 1) / frames.frame_rate * waveform.sample_rate), waveform.num_samples)
            sound.add(waveform, heard, until)
            heard = until
        if progress:
            progress(index + 1, frames.num_frames)
    container.mux(video.encode(None))
    if waveform and sound:
        sound.add(waveform, heard)
        sound.finish()


def clock(frame_rate: Fraction, sample_rate: int) -> int:
    """Ticks per second in which the lengths of both are whole; else that of the sound, which has the finer grain.

    Without it the length of the sound would be rounded to milliseconds.
    """
    exact = lcm(1000, frame_rate.numerator, sample_rate)
    return exact if exact <= _MAX_CLOCK else lcm(1000, sample_rate)


def missing_encoders(*names: str) -> list[Fault]:
    """A fault for each encoder that the installed PyAV lacks; those for H.264 and AAC if none is named."""
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return [
        Fault(
            "media.encoder_missing",
            f'no encoder "{name}"',
            where=f"PyAV {av.__version__} with libavcodec {version}",
            why="this build of FFmpeg was made without it; the wheels of PyAV have it",
            fix='pip install --force-reinstall --only-binary av "av>=17.1"',
        )
        for name in names or (_VIDEO_ENCODER, _AUDIO_ENCODER)
        if not has_encoder(name)
    ]


def require_encoders(*names: str) -> None:
    """Raise an `EncoderMissingError` unless all are there; see `missing_encoders`."""
    faults = missing_encoders(*names)
    if faults:
        raise EncoderMissingError(*faults)


@contextmanager
def encoding(target: Path) -> Iterator[None]:
    """Turns what PyAV raises into a `MediaError` about the file that is written."""
    try:
        yield
    except av.FFmpegError as error:
        raise MediaError.of(
            "media.encoder_failed", f"cannot write the file: {error.strerror}", where=str(target)
        ) from error
