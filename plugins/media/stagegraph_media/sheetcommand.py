"""`stagegraph media contact-sheet`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stagegraph.cli import output
from stagegraph.errors import Fault, UsageError

_OF_ONE, _OF_SEVERAL, _ABREAST = 12, 6, 4


def contact_sheet(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="One video, or several to compare.")],
    file: Annotated[Path, typer.Option("-o", "--file", metavar="PNG", help="Where to write.")] = Path("sheet.png"),
    count: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Frames of each video; by default 12, or 6 of several videos.")
    ] = None,
    columns: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Frames abreast; by default up to 4, or for several videos all."),
    ] = None,
    width: Annotated[int, typer.Option(min=64, max=16384, help="Of the sheet, in pixels.")] = 1280,
    sound: Annotated[bool, typer.Option("--sound/--no-sound", help="Draw the sound below the frames.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Draw evenly spaced frames of a video with their times, and its sound; several videos get a row each."""
    from stagegraph_media.png import check_path, write_image
    from stagegraph_media.sheets import TooNarrow, balanced, sheet
    from stagegraph_media.shots import series_of

    check_path(file)
    most = count or (_OF_ONE if len(videos) == 1 else _OF_SEVERAL)
    series = [series_of(video, most, width, sound=sound, title=video.name) for video in videos]
    abreast = balanced(len(series[0].shots), _ABREAST) if len(videos) == 1 else most
    try:
        image = sheet(series, columns or abreast, width)
    except TooNarrow as error:
        raise UsageError(Fault("invalid_value", str(error), "--width", fix="use fewer columns")) from None
    write_image(file, image)
    if json:
        shown = [
            {"path": str(video), "times": [float(shot.time) for shot in one.shots]}
            for video, one in zip(videos, series, strict=True)
        ]
        output.succeed(
            "media contact-sheet",
            {"path": str(file), "width": image.width, "height": image.height, "videos": shown},
        )
    else:
        frames = sum(len(one.shots) for one in series)
        whose = videos[0] if len(videos) == 1 else f"{len(videos)} videos"
        output.say(output.printable(f"wrote {file}: {image.width}x{image.height}, {frames} frames of {whose}"))
