"""stagegraph-media keeps to what every plugin must."""

from __future__ import annotations

from typing import Any

import numpy as np

from stagegraph.testing import Example, conformance
from stagegraph_media.audio import write_audio
from stagegraph_media.audio_stages import ReadAudio, WriteAudio
from stagegraph_media.editing_stages import ConcatFrames, ConcatWaveforms, Trim, TrimWaveform
from stagegraph_media.image_stages import ContactSheet, WriteImage
from stagegraph_media.png import write_image
from stagegraph_media.segment_stages import JoinVideos, WriteSegment
from stagegraph_media.segments import write_segment
from stagegraph_media.stages import ReadImage, ReadVideo, WriteVideo
from stagegraph_media.values import Frames, Image, Waveform
from stagegraph_media.writing import write_video

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8)
SAMPLES = np.sin(np.arange(6000, dtype=np.float32) / 9).reshape(1, -1)


def frames_and_sound() -> dict[str, Any]:
    """A short clip."""
    return {"frames": Frames(PIXELS.copy(), 24), "waveform": Waveform(SAMPLES.copy(), 24000)}


def a_video() -> dict[str, Any]:
    """A file in the current folder."""
    return {"path": str(write_video("clip.mp4", *frames_and_sound().values()))}


def an_image() -> dict[str, Any]:
    """A file in the current folder."""
    return {"path": str(write_image("picture.png", Image(PIXELS[0])))}


def a_sound() -> dict[str, Any]:
    """A file in the current folder."""
    return {"path": str(write_audio("sound.flac", Waveform(SAMPLES, 24000)))}


def several(name: str) -> Any:
    """Frames or sounds to be joined."""
    return lambda: {f"{name.removesuffix('s')}s": [frames_and_sound()[name]] * 3}


def a_segment() -> dict[str, Any]:
    """A clip whose sound is as long as its frames, and what comes before it."""
    return {
        "frames": Frames(PIXELS.copy(), 24),
        "waveform": Waveform(SAMPLES[:, :3000].copy(), 24000),
        "start_frame": 3,
    }


def two_segments() -> dict[str, Any]:
    """Files in the current folder, one after the other."""
    return {"parts": [str(write_segment(f"{i}.mp4", **{**a_segment(), "start_frame": 3 * i})) for i in range(2)]}


def only(*names: str) -> Any:
    """Frames, the sound, or an image."""
    made = {**frames_and_sound(), "image": Image(PIXELS[0])}
    return lambda: {name: made[name] for name in names}


test_conformance = conformance(
    "media",
    examples=[
        Example(ReadVideo(max_frames=10), inputs=a_video),
        Example(ReadImage(max_megapixels=1.0), inputs=an_image),
        Example(ReadAudio(), inputs=a_sound, quick=True),
        Example(ReadAudio(start=0.1, duration=0.05, max_seconds=1.0), inputs=a_video, quick=True, name="part"),
        Example(WriteVideo(crf=30, preset="ultrafast"), inputs=frames_and_sound, name="in-the-folder-of-the-run"),
        Example(WriteVideo(path="new/fox.mp4", embed_record=False), inputs=frames_and_sound, name="at-a-path"),
        Example(WriteAudio(), inputs=only("waveform"), name="in-the-folder-of-the-run"),
        Example(WriteAudio(path="new/fox.flac", bits=16, clip=True), inputs=only("waveform"), name="at-a-path"),
        Example(WriteImage(), inputs=only("image"), name="in-the-folder-of-the-run"),
        Example(WriteImage(path="new/fox.png"), inputs=only("image"), name="at-a-path"),
        Example(WriteSegment(crf=30, preset="ultrafast"), inputs=a_segment, name="in-the-folder-of-the-run"),
        Example(WriteSegment(path="new/0.mp4", bits=24, clip=True), inputs=a_segment, name="at-a-path"),
        Example(JoinVideos(), inputs=two_segments, name="in-the-folder-of-the-run"),
        Example(JoinVideos(path="new/film.mp4", sound="aac"), inputs=two_segments, name="at-a-path"),
        Example(JoinVideos(fragmented=True), inputs=two_segments, name="fragmented"),
        Example(Trim(start=1, end=-1, unit="frames", pad_sound=True), inputs=frames_and_sound),
        Example(Trim(end=0.1), inputs=only("frames"), name="silent"),
        Example(TrimWaveform(start=0.1, end=-0.1), inputs=only("waveform")),
        Example(ConcatFrames(), inputs=several("frames")),
        Example(ConcatWaveforms(), inputs=several("waveform")),
        Example(ContactSheet(count=3, columns=2, width=320), inputs=frames_and_sound),
    ],
)
