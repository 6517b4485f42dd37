"""`contact_sheet`: pictures of a video in a grid, each with its time, and the sound below; several videos if asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from stagegraph_media import font
from stagegraph_media.scaling import scaled
from stagegraph_media.values import Frames, Image, Waveform

Pixels: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

#: The narrowest picture, in pixels: wide enough for its time.
NARROWEST = 52

_BACKGROUND, _PANEL, _DIM, _LABEL, _BRIGHT = (
    (24, 24, 27),
    (39, 39, 42),
    (113, 113, 122),
    (190, 190, 197),
    (244, 244, 245),
)
_PEAK, _LOUDNESS = (63, 96, 140), (125, 170, 224)
_MARGIN, _GUTTER, _LABEL_GAP, _ROW_GAP, _BLOCK_GAP = 24, 12, 8, 16, 32
_TITLE_SCALE, _TITLE_GAP = 2, 18
_STRIP_HEIGHT, _MARK = 73, 6
# From this width of a picture on its time is written in letters of twice the size
_ROOMY = 140


class TooNarrow(ValueError):
    """A sheet in which the pictures would be too small; the text says what would do."""


@attrs.frozen
class Shot:
    """A picture [h, w, 3], and when it is shown, in seconds."""

    pixels: Pixels
    time: Fraction


@attrs.frozen
class Series:
    """What a sheet shows of one video.

    Attributes:
        shots: some of its pictures, in order.
        duration: of the pictures, in seconds.
        waveform: its sound; no strip is drawn if it is None.
        title: written above; nothing if empty.
        detail: written behind the title, less bright.
    """

    shots: Sequence[Shot]
    duration: Fraction
    waveform: Waveform | None = None
    title: str = ""
    detail: str = ""


def contact_sheet(
    frames: Frames, waveform: Waveform | None = None, *, count: int = 12, columns: int = 4, width: int = 1280
) -> Image:
    """Evenly spaced frames in a grid, the first and the last among them, each with the time at which it is shown.

    Args:
        frames: of the video.
        waveform: its sound, drawn below the grid, with a mark where each of the frames is; nothing if None.
        count: how many frames; all if the video has no more.
        columns: how many are abreast.
        width: of the sheet, in pixels.

    Raises:
        TooNarrow: the width is too small for the columns.
    """
    shots = [Shot(frames.pixels[index], index / frames.frame_rate) for index in evenly(frames.num_frames, count)]
    return sheet([Series(shots, frames.duration, waveform)], columns, width)


def evenly(total: int, count: int) -> list[int]:
    """At most `count` numbers from 0 to `total` - 1, as far apart as can be; the middle one if it is one."""
    if count == 1:
        return [(total - 1) // 2]
    count = min(count, total)
    return [(index * (total - 1) * 2 + count - 1) // (2 * (count - 1)) for index in range(count)] if total > 1 else [0]


def balanced(count: int, most: int) -> int:
    """How many columns fill as few rows as `most` of them do, as evenly as can be."""
    rows = -(-count // most)
    return -(-count // rows)


def sheet(series: Sequence[Series], columns: int, width: int) -> Image:
    """A picture of one or more videos, one below the other.

    Args:
        series: at least one.
        columns: how many pictures are abreast.
        width: of the sheet, in pixels.

    Raises:
        TooNarrow: the width is too small for the columns.
    """
    most = max(len(one.shots) for one in series)
    page = _Page(min(columns, most), width)
    gap = page.band(_BLOCK_GAP)
    bands = [band for one in series for band in (gap, *page.block(one))][1:]
    margin = page.band(_MARGIN)
    return Image(np.concatenate([margin, *bands, margin]))


class _Page:
    """A sheet of a width, in bands [h, width, 3] that lie one below the other."""

    def __init__(self, columns: int, width: int) -> None:
        least = 2 * _MARGIN + columns * (NARROWEST + _GUTTER) - _GUTTER
        if width < least:
            raise TooNarrow(f"{columns} columns need a width of {least} pixels, but it is {width}")
        self._columns = columns
        self._width = width
        self._inner = width - 2 * _MARGIN
        self._cell = (self._inner - (columns - 1) * _GUTTER) // columns
        self._scale = 2 if self._cell >= _ROOMY else 1

    def band(self, height: int) -> Pixels:
        """Nothing but background."""
        return np.full((height, self._width, 3), _BACKGROUND, np.uint8)

    def block(self, series: Series) -> Iterator[Pixels]:
        """Title, rows of pictures and their times, and the strip of the sound."""
        if series.title:
            yield self._title(series)
            yield self.band(_ROW_GAP)
        for start in range(0, len(series.shots), self._columns):
            if start:
                yield self.band(_ROW_GAP)
            shots = series.shots[start : start + self._columns]
            yield from (self._pictures(shots), self.band(_LABEL_GAP), self._times(shots))
        if series.waveform is not None:
            yield self.band(_ROW_GAP)
            yield self._strip(series, series.waveform)

    def _x(self, column: int) -> int:
        """Where a column begins; the last ends at the margin."""
        return _MARGIN + column * (self._inner - self._cell) // max(self._columns - 1, 1)

    def _pictures(self, shots: Sequence[Shot]) -> Pixels:
        height, width = shots[0].pixels.shape[:2]
        band = self.band(max(round(self._cell * height / width), 1))
        for column, shot in enumerate(shots):
            x = self._x(column)
            band[:, x : x + self._cell] = scaled(shot.pixels, len(band), self._cell)
        return band

    def _times(self, shots: Sequence[Shot]) -> Pixels:
        band = self.band(font.HEIGHT * self._scale)
        for column, shot in enumerate(shots):
            self._write(band, self._x(column), time_text(shot.time), self._scale, _LABEL)
        return band

    def _title(self, series: Series) -> Pixels:
        band = self.band((font.HEIGHT + font.DESCENT) * _TITLE_SCALE)
        x = _MARGIN + self._write(band, _MARGIN, series.title, _TITLE_SCALE, _BRIGHT) + _TITLE_GAP
        self._write(band, x, series.detail, _TITLE_SCALE, _DIM)
        return band

    def _write(self, band: Pixels, x: int, text: str, scale: int, colour: Colour) -> int:
        """Write a line from a place on, as far as it fits; how wide it is."""
        room = (self._width - _MARGIN - x) // scale
        text = font.shortened(text, room)
        if text:
            mask = font.mask(text, scale)[: len(band)]
            band[:, x : x + mask.shape[1]][mask] = colour
        return font.width(text, scale)

    def _strip(self, series: Series, waveform: Waveform) -> Pixels:
        """The sound along the time of the video, with a mark where each picture is."""
        band = self.band(_STRIP_HEIGHT)
        length = max(series.duration, waveform.duration)
        inner = band[:, _MARGIN : _MARGIN + self._inner]
        drawn = self._inner * waveform.duration / length
        inner[:] = _PANEL
        inner[_STRIP_HEIGHT // 2] = _DIM
        paint_sound(inner[:, : max(round(drawn), 1)], waveform, _PEAK, _LOUDNESS)
        for shot in series.shots:
            inner[:_MARK, min(int(shot.time * self._inner / length), self._inner - 1)] = _LABEL
        return band


def time_text(time: Fraction) -> str:
    """Minutes, seconds and thousandths, "1:02.500"; with hours if there are any."""
    thousandths = round(time * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{rest // 1000:02}.{rest % 1000:03}"


def paint_sound(panel: Pixels, waveform: Waveform, peak: Colour, loudness: Colour) -> None:
    """Draw a sound over the whole of a panel [h, w, 3]: how far it goes up and down, and its effective value.

    Full scale is the height of the panel.
    """
    height, width = panel.shape[:2]
    edges = np.arange(width + 1) * waveform.num_samples // width
    pieces = [waveform.samples[:, begin : max(end, begin + 1)] for begin, end in itertools.pairwise(edges)]
    top, bottom = np.array([piece.max() for piece in pieces]), np.array([piece.min() for piece in pieces])
    effective = np.array([np.sqrt(np.square(piece, dtype=np.float64).mean()) for piece in pieces])
    middle = (height - 1) / 2
    rows = np.arange(height)[:, None]
    for high, low, colour in ((top, bottom, peak), (effective, -effective, loudness)):
        inside = (rows >= middle - high * middle - 0.5) & (rows <= middle - low * middle + 0.5)
        panel[inside] = colour
