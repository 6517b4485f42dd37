"""Contact sheets: what is where on them; and the PNG files that they are written to."""

from __future__ import annotations

import json
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph import Graph
from stagegraph.cli.app import call
from stagegraph_media import font
from stagegraph_media.errors import MediaError
from stagegraph_media.image_stages import ContactSheet, WriteImage
from stagegraph_media.png import write_image
from stagegraph_media.reading import read_image
from stagegraph_media.scaling import scaled
from stagegraph_media.sheets import (
    NARROWEST,
    Series,
    Shot,
    TooNarrow,
    balanced,
    contact_sheet,
    evenly,
    paint_sound,
    sheet,
    time_text,
)
from stagegraph_media.values import Frames, Image, Waveform
from stagegraph_media.writing import write_video

from .conftest import MakeFrames, MakeSound

BACKGROUND = (24, 24, 27)


def coloured(count: int, height: int = 36, width: int = 64) -> Frames:
    """Frames that are told apart by their red."""
    pixels = np.zeros((count, height, width, 3), np.uint8)
    pixels[..., 0] = 40 + np.arange(count, dtype=np.uint8)[:, None, None] * 2
    pixels[..., 1] = 200
    return Frames(pixels, 24)


def shown(image: Image) -> list[int]:
    """The numbers of the frames on a sheet of `coloured` ones, in the order of reading."""
    found = []
    for row in image.pixels:
        reds = row[row[:, 1] == 200][:, 0]
        numbers = [int(red - 40) // 2 for red in reds]
        found += [number for number in dict.fromkeys(numbers) if number not in found]
    return found


@given(total=st.integers(1, 500), count=st.integers(1, 60))
def test_frames_are_evenly_spaced(total: int, count: int) -> None:
    """The first and the last among them; all if there are no more; no two distances differ by more than 1."""
    found = evenly(total, count)
    assert len(found) == min(total, count)
    if count == 1:
        assert found == [(total - 1) // 2]
    else:
        assert (found[0], found[-1]) == (0, total - 1)
    steps = np.diff(found)
    assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_a_sheet_shows_frames_in_the_order_of_reading() -> None:
    """As many as are asked for, at the width that is asked for."""
    image = contact_sheet(coloured(49), count=9, columns=3, width=400)
    assert image.width == 400
    assert shown(image) == [0, 6, 12, 18, 24, 30, 36, 42, 48]
    few = contact_sheet(coloured(3), count=9, columns=4, width=400)
    assert shown(few) == [0, 1, 2]


def test_pictures_lie_between_margins_and_gutters_of_one_colour() -> None:
    """The first at the left margin, the last at the right one; all of one size, in proportion."""
    image = contact_sheet(coloured(8), count=8, columns=4, width=500)
    first = image.pixels[24]
    green = (first == [40, 200, 0]).all(-1) | ((first[:, 1] == 200) & (first[:, 2] == 0))
    edges = np.flatnonzero(np.diff(green.astype(int), prepend=0, append=0))
    assert edges[0] == 24
    assert edges[-1] == 500 - 24
    widths = edges[1::2] - edges[::2]
    assert set(widths) == {104}
    assert (edges[2::2] - edges[1:-1:2] >= 12).all()
    assert (first[~green] == BACKGROUND).all()
    rows = image.pixels[:, 24]
    heights = np.diff(np.flatnonzero(np.diff((rows[:, 1] == 200).astype(int), prepend=0, append=0)))[::2]
    assert list(heights) == [round(104 * 36 / 64)] * 2
    assert (image.pixels[:24] == BACKGROUND).all()
    assert (image.pixels[-24:] == BACKGROUND).all()


@pytest.mark.parametrize(("width", "scale"), [(400, 1), (1000, 2)])
def test_each_picture_has_its_time_below(width: int, scale: int) -> None:
    """In letters that grow with the pictures."""
    image = contact_sheet(coloured(25), count=3, columns=3, width=width)
    top = 24 + round((width - 48 - 24) // 3 * 36 / 64) + 8
    for column, text in enumerate(("0:00.000", "0:00.500", "0:01.000")):
        x = 24 + column * (width - 48 - (width - 48 - 24) // 3) // 2
        mask = font.mask(text, scale)[: 7 * scale]
        label = image.pixels[top : top + mask.shape[0], x : x + mask.shape[1]]
        np.testing.assert_array_equal(label == [190, 190, 197], np.repeat(mask[..., None], 3, -1))


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (Fraction(0), "0:00.000"),
        (Fraction(1, 24), "0:00.042"),
        (Fraction(5999, 100), "0:59.990"),
        (Fraction("119.9996"), "2:00.000"),
        (Fraction(3661), "1:01:01.000"),
    ],
)
def test_times_are_written_to_the_thousandth(time: Fraction, text: str) -> None:
    """With hours if there are any."""
    assert time_text(time) == text


def test_sound_is_drawn_as_loud_as_it_is() -> None:
    """Full scale is the height; what goes up and down, and within it the effective value."""
    samples = np.repeat(np.array([[0.0, 1.0, 0.5, -0.5]], np.float32), 1000, axis=1)
    samples[0, 2000:3000:2] = -0.5
    panel = np.zeros((41, 40, 3), np.uint8)
    paint_sound(panel, Waveform(samples, 8000), (1, 0, 0), (2, 0, 0))
    red = panel[..., 0]
    assert list(np.flatnonzero(red[:, 5])) == [20]
    assert list(np.flatnonzero(red[:, 15])) == list(range(41))
    assert list(np.flatnonzero(red[:, 25])) == list(range(10, 31))
    assert set(np.flatnonzero(red[:, 35] == 2)) == set(range(10, 31))
    short = np.zeros((41, 40, 3), np.uint8)
    paint_sound(short, Waveform(np.ones((2, 3), np.float32), 8000), (1, 0, 0), (2, 0, 0))
    assert (short[..., 0] > 0).all()


def test_the_strip_has_the_time_of_the_video(make_sound: MakeSound) -> None:
    """Sound that ends in the middle is drawn up to the middle; marks are where the pictures are."""
    image = contact_sheet(coloured(48), make_sound(24000), count=3, columns=3, width=448)
    without = contact_sheet(coloured(48), count=3, columns=3, width=448)
    assert image.height == without.height + 16 + 73
    strip = image.pixels[-24 - 73 : -24, 24:-24]
    loud = (strip == [125, 170, 224]).all(-1).any(0)
    assert loud[:200].all()
    assert not loud[200:].any()
    assert list(np.flatnonzero((strip[0] == [190, 190, 197]).all(-1))) == [0, 200, 391]


def test_several_videos_lie_below_each_other() -> None:
    """Each with its title, which is cut where there is no room."""
    shots = [Shot(pixels, Fraction(number)) for number, pixels in enumerate(coloured(4).pixels)]
    one = Series(shots, Fraction(4), title="a.mp4", detail="64x36")
    image = sheet([one, Series(shots[:2], Fraction(2), title="b" * 99)], 4, 400)
    assert image.width == 400
    bright = (image.pixels == [244, 244, 245]).all(-1)
    assert bright[24:42, 24:].any()
    assert not bright[:, 400 - 24 :].any()
    mask = font.mask("a.mp4", 2)
    np.testing.assert_array_equal(bright[24 : 24 + mask.shape[0], 24 : 24 + mask.shape[1]], mask)


def test_a_sheet_that_is_too_narrow_is_refused() -> None:
    """With the width that would do."""
    least = 48 + 4 * NARROWEST + 3 * 12
    assert contact_sheet(coloured(4), columns=4, width=least).width == least
    with pytest.raises(TooNarrow) as caught:
        contact_sheet(coloured(4), columns=4, width=least - 1)
    assert str(caught.value) == f"4 columns need a width of {least} pixels, but it is {least - 1}"


def test_rows_are_balanced() -> None:
    """No row with one picture, if it can be helped."""
    assert [balanced(count, 4) for count in (1, 3, 4, 5, 6, 8, 9, 12, 13)] == [1, 3, 4, 3, 3, 4, 3, 4, 4]


def test_the_font_has_all_of_ascii() -> None:
    """No two letters are the same but the one and the other way to write a circle; what is not there is a question."""
    shapes = {letter: font.mask(letter).tobytes() for letter in map(chr, range(32, 127))}
    doubles = [letter for letter, shape in shapes.items() if list(shapes.values()).count(shape) > 1]
    assert doubles == ["0", "O"]
    assert font.mask("ü").tobytes() == shapes["?"]
    assert font.mask("ab", 3).shape == (27, font.width("ab", 3)) == (27, 33)
    assert [font.shortened("abcdef", room) for room in (35, 34, 23, 22, 0)] == ["abcdef", "ab...", "a...", "", ""]
    assert not font.mask("A0")[font.HEIGHT :].any()
    assert font.mask("gpqy")[font.HEIGHT :].any()


@pytest.mark.parametrize("size", [(9, 16), (36, 64), (77, 131)])
def test_scaling_keeps_colours(size: tuple[int, int]) -> None:
    """Flat ones exactly; of others, the mean."""
    for colour in ([255, 0, 0], [17, 99, 240], [128, 128, 128]):
        flat = np.full((36, 64, 3), colour, np.uint8)
        np.testing.assert_array_equal(scaled(flat, *size), np.broadcast_to(colour, (*size, 3)))
    noise = np.random.default_rng(0).integers(0, 256, (36, 64, 3), np.uint8)
    assert np.abs(scaled(noise, *size).mean((0, 1)) - noise.mean((0, 1))).max() < 2
    np.testing.assert_allclose(scaled(noise, 9, 16), noise.reshape(9, 4, 16, 4, 3).mean((1, 3)), rtol=0, atol=1)


# PNG files


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 5), (64, 64)])
def test_an_image_comes_back(tmp_path: Path, size: tuple[int, int]) -> None:
    """Without loss, at any size; and any other reader takes it too."""
    image = Image(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    path = write_image(tmp_path / "a.png", image)
    assert path == tmp_path / "a.png"
    assert read_image(path) == image
    content, at, data = path.read_bytes(), 8, b""
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        (checksum,) = struct.unpack_from(">I", content, at + 8 + length)
        assert checksum == zlib.crc32(content[at + 4 : at + 8 + length])
        data += content[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    assert len(zlib.decompress(data)) == size[0] * (1 + 3 * size[1])


def test_an_image_replaces_an_earlier_file_or_leaves_it(tmp_path: Path) -> None:
    """Whole or not at all."""
    image = Image(np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "a.png").write_bytes(b"old")
    first = write_image(tmp_path / "a.png", image).read_bytes()
    assert write_image(tmp_path / "a.png", image).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    (tmp_path / "b.png").mkdir()
    for name, text in [
        ("b.png", "the path is a directory"),
        ("a.jpg", f'the name does not end in .png, which is what is written\n  fix: use "{tmp_path}/a.png"'),
        ("no/a.png", f'the directory "{tmp_path}/no" does not exist\n  fix: mkdir -p "{tmp_path}/no"'),
    ]:
        with pytest.raises(MediaError) as caught:
            write_image(tmp_path / name, image)
        assert str(caught.value) == f"{tmp_path}/{name}: error[media.unwritable]: {text}"


def test_the_engine_makes_and_writes_a_sheet(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """With the record beside it."""
    graph = Graph("look")
    image = graph.add(
        ContactSheet(count=6, columns=3, width=400),
        name="sheet",
        frames=graph.input("frames", Frames),
        waveform=graph.input("sound", Waveform),
    )
    graph.output("path", graph.add(WriteImage(), name="write", image=image).path)
    frames, sound = make_frames(), make_sound()
    run = graph.run(frames=frames, sound=sound, directory=tmp_path)
    assert run["path"] == str(tmp_path / "write.png")
    assert read_image(run["path"]) == contact_sheet(frames, sound, count=6, columns=3, width=400)
    assert json.loads((tmp_path / "run.json").read_text("utf-8"))["graph"] == "look"
    assert ContactSheet(width=400).facts({}) == {"output": {"width": 400}}


# The command


@pytest.fixture
def videos(tmp_path: Path, make_sound: MakeSound, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with sound, one silent whose header does not tell how many frames there are."""
    monkeypatch.chdir(tmp_path)
    write_video("a.mp4", coloured(25), make_sound(25000), crf=0)
    write_video("b.mp4", coloured(9, 48, 32), crf=0)
    with av.open("b.mp4") as source, av.open("b.mkv", "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)


@pytest.mark.usefixtures("videos")
def test_the_command_draws_one_video(capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve frames, with its name and its sound, to sheet.png; fewer or without sound if asked."""
    assert call(["media", "contact-sheet", "a.mp4"]) == 0
    assert capsys.readouterr().out == "wrote sheet.png: 1280x773, 12 frames of a.mp4\n"
    assert call(["media", "contact-sheet", "a.mp4", "--count", "2", "--columns", "1", "--width", "200", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    shown_videos = [{"path": "a.mp4", "times": [0.0, 1.0]}]
    assert data == {"path": "sheet.png", "width": 200, "height": read_image("sheet.png").height, "videos": shown_videos}
    silent = ["media", "contact-sheet", "a.mp4", "--count=2", "--columns=1", "--width=200", "--no-sound", "-o", "b.png"]
    assert call(silent) == 0
    assert read_image("b.png").height == data["height"] - 16 - 73


@pytest.mark.usefixtures("videos")
def test_the_command_draws_a_row_for_each_of_several_videos(capsys: pytest.CaptureFixture[str]) -> None:
    """Of any size, in any container."""
    assert call(["media", "contact-sheet", "a.mp4", "b.mp4", "b.mkv", "-o", "rows.png", "--count", "3", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    told = [[round(time, 2) for time in video["times"]] for video in data["videos"]]
    assert told == [[0, 0.5, 1], [0, 0.17, 0.33], [0, 0.17, 0.33]]
    assert call(["media", "contact-sheet", "a.mp4", "b.mp4"]) == 0
    assert capsys.readouterr().out == f"wrote sheet.png: 1280x{read_image('sheet.png').height}, 12 frames of 2 videos\n"


@pytest.mark.usefixtures("videos")
def test_the_command_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path before anything is decoded; a sheet that is too narrow; what is no video."""
    Path("a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    for words, code, text in [
        (
            ["a.mp4", "-o", "a.jpg"],
            1,
            (
                "a.jpg: error[media.unwritable]: the name does not end in .png, which is what is written\n"
                '  fix: use "a.png"\n'
            ),
        ),
        (
            ["a.mp4", "--width", "100"],
            2,
            (
                "--width: error[invalid_value]: 4 columns need a width of 292 pixels, but it is 100\n"
                "  fix: use fewer columns\n"
            ),
        ),
        (
            ["a.png"],
            1,
            (
                "a.png: error[media.no_video]: the file is a png image, not a video\n"
                "  fix: read it with media.read_image\n"
            ),
        ),
    ]:
        assert call(["media", "contact-sheet", *words]) == code
        assert capsys.readouterr().err == text
    assert not Path("sheet.png").exists()
