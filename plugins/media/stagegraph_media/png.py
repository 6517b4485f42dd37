"""`write_image`: a picture into a PNG file, without loss."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import attrs
import av
from av.video.codeccontext import VideoCodecContext

from stagegraph.errors import Fault
from stagegraph_media.errors import MediaError
from stagegraph_media.files import write_bytes
from stagegraph_media.values import Image
from stagegraph_media.writing import encoding, require_encoders

_ENCODER = "png"


def write_image(path: str | os.PathLike[str], image: Image) -> Path:
    """Write a PNG file: 8-bit RGB, the pixels as they are.

    The file replaces one of the same name when it is complete, and not before.

    Args:
        path: ends in `.png`, in a directory that exists.
        image: of any size.

    Returns:
        The path.

    Raises:
        MediaError: the file cannot be written.
        EncoderMissingError: the installed PyAV lacks the encoder.
    """
    target = Path(path)
    check_path(target)
    require_encoders(_ENCODER)
    with encoding(target):
        content = _encoded(image)
    write_bytes(target, content)
    return target


def check_path(target: Path) -> None:
    """Look at a path before there is anything to write.

    Raises:
        MediaError: it is not that of a PNG file.
    """
    faults = [attrs.evolve(fault, where=str(target)) for fault in _faults(target)]
    if faults:
        raise MediaError(*faults)


def _faults(target: Path) -> Iterator[Fault]:
    if target.suffix.lower() != ".png":
        fix = f'use "{target.with_suffix(".png")}"' if target.name else ""
        yield Fault("media.unwritable", "the name does not end in .png, which is what is written", fix=fix)
    elif target.is_dir():
        yield Fault("media.unwritable", "the path is a directory")


def _encoded(image: Image) -> bytes:
    encoder = av.CodecContext.create(_ENCODER, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width, encoder.pix_fmt = image.height, image.width, "rgb24"
    encoder.time_base = Fraction(1)
    encoder.options = {"pred": "mixed"}  # a filter for each row, as it fits: much smaller than none
    frame = av.VideoFrame.from_ndarray(image.pixels, format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
