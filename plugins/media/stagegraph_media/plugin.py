"""What stagegraph-media adds to stagegraph: the only hook implementations of the distribution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from stagegraph import Check, Joiner, hookimpl
from stagegraph_media import codecs, records
from stagegraph_media.audio_stages import ReadAudio, WriteAudio
from stagegraph_media.editing_stages import ConcatFrames, ConcatWaveforms, Trim, TrimWaveform
from stagegraph_media.image_stages import ContactSheet, WriteImage
from stagegraph_media.segment_stages import JoinVideos, WriteSegment
from stagegraph_media.stages import ReadImage, ReadVideo, WriteVideo
from stagegraph_media.values import Frames, Image, Waveform

if TYPE_CHECKING:
    import typer

    from stagegraph.artifacts import Codec
    from stagegraph.recordreaders import RecordReader


@hookimpl
def stagegraph_types() -> Mapping[str, type]:
    """The port types that model plugins share."""
    return {"media.frames": Frames, "media.waveform": Waveform, "media.image": Image}


@hookimpl
def stagegraph_codecs() -> Iterable[Codec]:
    """How they are stored."""
    return codecs.CODECS


@hookimpl
def stagegraph_stages() -> Iterable[type]:
    """Reading and writing; cutting and joining; looking at."""
    files = [ReadVideo, ReadImage, ReadAudio, WriteVideo, WriteSegment, WriteImage, WriteAudio]
    return [*files, JoinVideos, Trim, TrimWaveform, ConcatFrames, ConcatWaveforms, ContactSheet]


@hookimpl
def stagegraph_record_readers() -> Iterable[RecordReader]:
    """Where `media.write_video` puts the run record."""
    return records.READERS


@hookimpl
def stagegraph_joiners() -> Iterable[Joiner]:
    """How the segments of a video become one."""
    from stagegraph_media.growing import grow

    return [Joiner(suffixes=(".mp4",), stage=JoinVideos, grow=grow)]


@hookimpl
def stagegraph_commands() -> Mapping[str, typer.Typer]:
    """`stagegraph media ...`."""
    from stagegraph_media.cli import app

    return {"media": app}


@hookimpl
def stagegraph_doctor() -> Iterable[Check]:
    """Whether PyAV can be imported and encodes what `media.write_video` writes."""
    try:
        import av

        from stagegraph_media.writing import has_encoder
    except ImportError as error:
        return [Check("PyAV", False, f"{error}: pip install av")]
    found = {codec: has_encoder(name) for codec, name in (("h264", "libx264"), ("aac", "aac"))}
    verdicts = ", ".join(f"{codec} {'ok' if there else 'missing'}" for codec, there in found.items())
    return [Check("PyAV", all(found.values()), f"{av.__version__} ({verdicts})")]
