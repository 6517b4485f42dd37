"""Sound files by their own structure: where the sound is in them, how long it is, and whether all of it is there.

FFmpeg takes a file that ends early for one that is over, skips what it cannot make sense of, and reads tags and cover
pictures of any size. So it is shown the sound alone, after the structure has been checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from stagegraph_media.sounds import flac, mpeg, ogg, riff
from stagegraph_media.sounds.recording import BrokenSound, Recording, UnreadSound
from stagegraph_media.sounds.spliced import Spliced

__all__ = ["BrokenSound", "Recording", "Spliced", "UnreadSound", "look"]

_FORMATS: dict[str, Callable[[BinaryIO, int], Recording]] = {
    "wav": riff.look,
    "flac": flac.look,
    "mp3": mpeg.look,
    "ogg": ogg.look,
}


def look(format: str, file: BinaryIO, size: int) -> Recording:
    """What a file of `size` bytes holds.

    Raises:
        BrokenSound: it is not what its format requires, or ends early.
        UnreadSound: it is well formed, but uses something that is not read here.
    """
    return _FORMATS[format](file, size)
