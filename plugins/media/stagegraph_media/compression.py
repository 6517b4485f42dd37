"""A picture as video compression would have left it."""

from __future__ import annotations

from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext

from stagegraph.errors import Fault
from stagegraph_media.errors import MediaError
from stagegraph_media.values import Image
from stagegraph_media.writing import missing_encoders


def compressed(image: Image, crf: int) -> Image:
    """A picture after a round trip through H.264, 4:2:0; models of video have seen no others.

    Args:
        image: an odd last row or column is left out, as 4:2:0 has none.
        crf: quality, from 0 (best) to 51 (worst).

    Raises:
        MediaError: the encoder is missing, or refuses the picture.
    """
    faults = missing_encoders("libx264")
    if faults:
        raise MediaError(*faults)
    height, width = image.height // 2 * 2, image.width // 2 * 2
    if not height or not width:
        what = f"the picture has {image.width}x{image.height} pixels"
        raise MediaError(Fault("media.invalid_output", what, why="4:2:0 video needs two rows and two columns"))
    try:
        return _round_trip(image, height, width, crf)
    except av.FFmpegError as error:
        raise MediaError.of("media.encoder_failed", f"cannot compress the picture: {error.strerror}") from error


def _round_trip(image: Image, height: int, width: int, crf: int) -> Image:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(1), Fraction(1)
    encoder.options = {"crf": str(crf), "preset": "veryfast"}
    picture = av.VideoFrame.from_ndarray(image.pixels[:height, :width].copy(), format="rgb24")
    packets = [*encoder.encode(picture.reformat(format="yuv420p")), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return Image(frames[0].to_ndarray(format="rgb24").astype("uint8", copy=False))
