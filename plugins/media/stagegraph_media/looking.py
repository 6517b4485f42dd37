"""What the header of a file tells: a file that cannot be read is refused before anything else is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stagegraph.facts import VALUE, Facts
from stagegraph_media import decoding, listening
from stagegraph_media.reading import Limits, image_header
from stagegraph_media.sources import find
from stagegraph_media.turning import OF_ORIENTATION

__all__ = ["image", "known_path", "sound", "video"]


def known_path(inputs: Mapping[str, Facts]) -> str | None:
    """The path that a stage will be given, if that is known before the run."""
    path = inputs.get("path", {}).get(VALUE)
    return path if isinstance(path, str) else None


def video(path: str | Path, limits: Limits) -> None:
    """Refuse a file that `read_video` would refuse by its header.

    Raises:
        MediaError: it would.
    """
    source = find(path, limits)
    with decoding.opened(source, limits) as container:
        stream, _ = decoding.main_streams(source, container)
        decoding.Pictures(source, stream, limits, decoding.Memory(source, limits))


def sound(path: str | Path, limits: Limits) -> None:
    """Refuse a file that `read_audio` would refuse by its header.

    Raises:
        MediaError: it would.
    """
    with listening.opened(find(path, limits), limits):
        pass


def image(path: str | Path, limits: Limits) -> Facts:
    """Height and width of the image, upright.

    Raises:
        MediaError: `read_image` would refuse the file by its header.
    """
    told, _ = image_header(find(path, limits), limits)
    sides = (told.height, told.width)
    height, width = reversed(sides) if OF_ORIENTATION[told.orientation].transpose else sides
    return {"height": height, "width": width}
