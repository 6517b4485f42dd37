"""`stagegraph media`: commands for media files. Needs no PyAV until one runs."""

from __future__ import annotations

import typer

from stagegraph_media.sheetcommand import contact_sheet

app = typer.Typer(no_args_is_help=True, help="Videos, sound and images.")


@app.callback()
def media() -> None:
    """Videos, sound and images."""


app.command("contact-sheet")(contact_sheet)
