"""`Source`: a path that has been found to be a local file of a known format and an acceptable size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs

from stagegraph.errors import Fault
from stagegraph_media.errors import MediaError
from stagegraph_media.formats import DEMUXERS, ends_early, sniff
from stagegraph_media.values import MAX_CHANNELS

# Rows are filled up to multiples of 64 pixels, and there are at most 2**16 of them
_FILLING = 64 * 2**16


@attrs.frozen
class Limits:
    """How much a reader takes before it refuses a file.

    Attributes:
        file_bytes: size of the file.
        frame_pixels: width x height of a picture.
        frames: pictures in a video.
        decoded_bytes: pixels and samples in memory.
        seconds: how much of a sound is decoded, if it is read on its own.
        channels: of such a sound.
        sample_rate: of such a sound, in Hz.
    """

    file_bytes: int = 4 * 2**30
    frame_pixels: int = 64 * 2**20
    frames: int = 20_000
    decoded_bytes: int = 8 * 2**30
    seconds: float = 4 * 3600.0
    channels: int = MAX_CHANNELS
    sample_rate: int = 768_000

    @property
    def decoder_options(self) -> dict[str, str]:
        """Makes a decoder refuse larger pictures by itself; it counts rows that are filled up, so with some room."""
        return {"max_pixels": str(self.frame_pixels + _FILLING)}


@attrs.frozen
class Source:
    """A file to read; `format` is one of those that `formats.sniff` knows."""

    path: Path
    format: str

    def error(self, code: str, what: str, *, why: str = "", fix: str = "") -> MediaError:
        """An error about this file."""
        return _error(self.path, code, what, why, fix)

    def damaged(self, what: str) -> MediaError:
        """The file is broken."""
        return self.error("media.damaged", what)

    def too_large(self, what: str, limit: str) -> MediaError:
        """A limit is exceeded."""
        return _too_large(self.path, what, limit)


def find(path: str | os.PathLike[str], limits: Limits | None = None) -> Source:
    """Look at a path, and at the first bytes of the file there.

    Args:
        path: a local file; anything else, an address or a pipe too, is refused without being opened.
        limits: the size of the file that is accepted; any if None.

    Raises:
        MediaError: there is no such file, it is too large, or of no format that is read here.
    """
    target = Path(path)
    try:
        status = target.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "directory" if stat.S_ISDIR(status.st_mode) else "device, pipe or socket"
            raise _error(target, "media.not_a_file", f"the path is a {kind}, not a file")
        with target.open("rb") as file:
            format = sniff(file)
            early = format in DEMUXERS and ends_early(format, file, status.st_size)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        why = "only local files are read, not addresses" if "://" in os.fspath(path) else ""
        raise _error(Path(path), "media.not_found", f"cannot open the file: {reason}", why) from error
    if limits and status.st_size > limits.file_bytes:
        raise _too_large(target, f"the file has {status.st_size} bytes", f"{limits.file_bytes} bytes")
    if format is None:
        empty = status.st_size == 0
        what = "the file is empty" if empty else "the first bytes are those of no format that is read here"
        why = "mp4, mov, mkv and webm are read as video; wav, flac, mp3 and ogg as sound; png, jpeg and webp as images"
        raise _error(target, "media.unknown_format", what, why)
    if early:
        raise _error(target, "media.damaged", "the file ends early")
    return Source(target, format)


def _too_large(path: Path, what: str, limit: str) -> MediaError:
    fix = "use a shorter or smaller file, or raise the limit if the file can be trusted"
    return _error(path, "media.too_large", what, f"the limit is {limit}", fix)


def _error(path: Path, code: str, what: str, why: str = "", fix: str = "") -> MediaError:
    return MediaError(Fault(code, what, where=str(path), why=why, fix=fix))
