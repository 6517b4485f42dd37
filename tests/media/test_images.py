"""read_image: PNG, JPEG and WebP."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stagegraph_media.errors import MediaError
from stagegraph_media.reading import Limits, MediaInfo, probe, read_image

from .conftest import EncodePicture

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
CORNERS = np.zeros((32, 48, 3), np.uint8)
CORNERS[:16, :24], CORNERS[:16, 24:], CORNERS[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
BEST = {"qmin": "1", "qmax": "1"}


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(height: int, width: int, rows: bytes, depth: int = 8, colour: int = 2, *extra: bytes) -> bytes:
    """A PNG file by hand; each row of `rows` begins with its filter byte."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + png_chunk(b"IEND", b"")


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block that says how to turn it."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def stored(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("codec", "given", "pixel_format"), [("png", "rgb24", "rgb24"), ("libwebp", "rgba", "bgra")])
def test_lossless_images_are_read_exactly(
    tmp_path: Path, encode_picture: EncodePicture, codec: str, given: str, pixel_format: str
) -> None:
    """PNG and lossless WebP."""
    array = NOISE if given == "rgb24" else np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
    options = {} if codec == "png" else {"lossless": "1"}
    path = stored(tmp_path / "a", encode_picture(codec, array, given, pixel_format, **options))
    assert np.array_equal(read_image(path).pixels, NOISE)


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("mjpeg", "yuvj444p"), ("mjpeg", "yuvj420p"), ("libwebp", "yuv420p")]
)
def test_lossy_images_keep_their_colours(
    tmp_path: Path, encode_picture: EncodePicture, codec: str, pixel_format: str
) -> None:
    """Flat saturated patches within 3 of 255, away from their edges."""
    options = BEST if codec == "mjpeg" else {"quality": "100"}
    path = stored(tmp_path / "a", encode_picture(codec, CORNERS, "rgb24", pixel_format, **options))
    for rows, columns in ((0, 0), (0, 24), (16, 0), (16, 24)):
        patch = (slice(rows + 3, rows + 13), slice(columns + 3, columns + 21))
        assert np.abs(read_image(path).pixels[patch].astype(int) - CORNERS[patch]).mean((0, 1)).max() <= 3


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, CORNERS),
        (2, CORNERS[:, ::-1]),
        (3, CORNERS[::-1, ::-1]),
        (4, CORNERS[::-1]),
        (5, CORNERS.swapaxes(0, 1)),
        (6, np.rot90(CORNERS, -1)),
        (7, np.rot90(CORNERS.swapaxes(0, 1), 2)),
        (8, np.rot90(CORNERS, 1)),
    ],
)
def test_images_are_turned_upright(
    tmp_path: Path, encode_picture: EncodePicture, orientation: int, upright: NDArray[np.uint8]
) -> None:
    """All eight EXIF orientations."""
    data = encode_picture("mjpeg", CORNERS, "rgb24", "yuvj444p", **BEST)
    image = read_image(stored(tmp_path / "a.jpg", with_orientation(data, orientation)))
    assert image.pixels.shape == upright.shape
    assert np.abs(image.pixels.astype(int) - upright).mean() < 4


def test_grey_deep_and_palette_images_become_rgb(tmp_path: Path) -> None:
    """8-bit grey, 16-bit colour, and palette indices."""
    grey = png(2, 3, b"\0\x00\x80\xff\0\x10\x20\x30", 8, 0)
    assert read_image(stored(tmp_path / "g", grey)).pixels[..., 1].tolist() == [[0, 128, 255], [16, 32, 48]]
    deep = png(1, 2, b"\0" + struct.pack(">6H", 0, 0x8080, 0xFFFF, 0x1010, 0x2020, 0x3030), 16)
    assert read_image(stored(tmp_path / "d", deep)).pixels.tolist() == [[[0, 128, 255], [16, 32, 48]]]
    palette = png(1, 2, b"\0\x01\x00", 8, 3, png_chunk(b"PLTE", bytes([1, 2, 3, 250, 100, 50])))
    assert read_image(stored(tmp_path / "p", palette)).pixels.tolist() == [[[250, 100, 50], [1, 2, 3]]]


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path: Path, encode_picture: EncodePicture) -> None:
    """One pixel that lets through is enough."""
    array = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
    assert np.array_equal(
        read_image(stored(tmp_path / "a.png", encode_picture("png", array, "rgba", "rgba"))).pixels, NOISE
    )
    array[7, 9, 3] = 254
    path = stored(tmp_path / "b.png", encode_picture("png", array, "rgba", "rgba"))
    with pytest.raises(MediaError) as caught:
        read_image(path)
    assert str(caught.value) == (
        f"{path}: error[media.unsupported]: the image is transparent in places\n"
        "  why: what is behind it is not known\n"
        "  fix: flatten it onto a background, and save it without an alpha channel"
    )


def test_probe_tells_the_size_of_an_image(tmp_path: Path, encode_picture: EncodePicture) -> None:
    """Without decoding it."""
    path = stored(tmp_path / "a.png", encode_picture("png", NOISE, "rgb24", "rgb24"))
    assert probe(path) == MediaInfo("png", "png", 60, 40, num_frames=1)


def test_a_png_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """65535 x 65535 pixels in a file of some bytes."""
    path = stored(tmp_path / "bomb.png", png(65535, 65535, b""))
    with pytest.raises(MediaError) as caught:
        read_image(path)
    assert str(caught.value) == (
        f"{path}: error[media.too_large]: the image is 65535x65535\n"
        "  why: the limit is 67108864 pixels\n"
        "  fix: use a shorter or smaller file, or raise the limit if the file can be trusted"
    )


def test_limits_count_pixels_and_bytes(tmp_path: Path, encode_picture: EncodePicture) -> None:
    """Of the picture and of the file."""
    data = encode_picture("png", NOISE, "rgb24", "rgb24")
    path = stored(tmp_path / "a.png", data)
    assert read_image(path, limits=Limits(frame_pixels=2400, file_bytes=len(data)))
    for limits in (Limits(frame_pixels=2399), Limits(file_bytes=len(data) - 1)):
        with pytest.raises(MediaError) as caught:
            read_image(path, limits=limits)
        assert caught.value.code == "media.too_large"


@pytest.mark.parametrize(
    ("codec", "given", "pixel_format"),
    [("png", "rgb24", "rgb24"), ("mjpeg", "rgb24", "yuvj444p"), ("libwebp", "rgb24", "yuv420p")],
)
def test_a_truncated_image_is_refused_wherever_it_ends(
    tmp_path: Path, encode_picture: EncodePicture, codec: str, given: str, pixel_format: str
) -> None:
    """No picture with a grey rest."""
    data = encode_picture(codec, NOISE, given, pixel_format)
    for length in {16, 20, 30, *range(40, len(data), len(data) // 40), len(data) - 1}:
        with pytest.raises(MediaError) as caught:
            read_image(stored(tmp_path / "a", data[:length]))
        assert caught.value.code == "media.damaged"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "error[media.unknown_format]: the file is empty"),
        (
            b"GIF89a" + bytes(30),
            "error[media.unknown_format]: the first bytes are those of no format that is read here",
        ),
        (b"\xff\xd8\xff\xd9", "error[media.damaged]: the header ends early"),
        (b"\xff\xd8\xff\xda\0\x02\xff\xd9", "error[media.damaged]: the pixels come before their size"),
        (b"\xff\xd8\xff\xe0\0\x02JFIF", "error[media.damaged]: there is no marker where one must be"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "error[media.damaged]: the first chunk is not IHDR"),
        (png(0, 5, b""), "error[media.damaged]: the header says 5x0"),
        (b"RIFF\x20\0\0\0WEBPJUNK" + bytes(20), "error[media.damaged]: the first chunk is not VP8, VP8L or VP8X"),
        (b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x01", "error[media.damaged]: the header ends early"),
    ],
)
def test_broken_headers_are_told(tmp_path: Path, data: bytes, text: str) -> None:
    """In one line, with the path."""
    path = stored(tmp_path / "a", data)
    with pytest.raises(MediaError) as caught:
        read_image(path)
    assert str(caught.value).splitlines()[0] == f"{path}: {text}"


def test_an_animation_is_not_an_image(tmp_path: Path) -> None:
    """The flag of an extended WebP header."""
    path = stored(tmp_path / "a.webp", b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x0f\0\0\x0f\0\0" + bytes(8))
    with pytest.raises(MediaError) as caught:
        read_image(path)
    assert str(caught.value) == (
        f"{path}: error[media.unsupported]: the file is an animation\n  fix: save one picture of it as a png"
    )


def test_the_picture_must_have_the_size_of_the_header(tmp_path: Path, encode_picture: EncodePicture) -> None:
    """An extended WebP header that claims less than the picture inside has."""
    inner = encode_picture("libwebp", NOISE, "rgb24", "yuv420p")[12:]
    header = b"VP8X\x0a\0\0\0\0\0\0\0" + (9).to_bytes(3, "little") + (9).to_bytes(3, "little")
    body = b"WEBP" + header + inner
    path = stored(tmp_path / "a.webp", b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(MediaError) as caught:
        read_image(path)
    assert caught.value.code == "media.damaged"
