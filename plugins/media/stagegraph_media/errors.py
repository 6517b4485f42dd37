"""The errors of reading and writing media."""

from __future__ import annotations

from stagegraph.errors import MissingError, RunError

#: Code -> what it says.
CODES: dict[str, str] = {
    "media.not_found": "no file has this path",
    "media.not_a_file": "the path names something else than a regular file",
    "media.unknown_format": "the file's first bytes are not those of a format that is read here",
    "media.unsupported": "the file is well formed, but uses something that is not read here",
    "media.no_video": "the file has no video",
    "media.no_sound": "there is no sound",
    "media.no_such_part": "the part that is asked for is not there",
    "media.not_joinable": "the parts differ in size, rate or channels, or there are none",
    "media.damaged": "the file is broken or ends early",
    "media.too_large": "the file exceeds a limit of its reader",
    "media.variable_rate": "the frames of the video do not follow one frame rate",
    "media.unwritable": "the output path cannot be written",
    "media.invalid_output": "the values cannot be stored in the file as they are",
    "media.encoder_missing": "FFmpeg has no encoder of this name",
    "media.encoder_failed": "the encoder or the muxer gave up",
}


class MediaError(RunError):
    """A media file that cannot be read or written."""


class EncoderMissingError(MissingError):
    """The installed PyAV brings no encoder for a codec."""
