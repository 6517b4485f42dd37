"""`stagegraph media`: commands for media files. Needs no PyAV until one runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from stagegraph import history, records
from stagegraph.cli import output
from stagegraph.errors import RecordError, StagegraphError
from stagegraph.registry import Registry
from stagegraph.rerun import Recorded, manifest_of
from stagegraph.writers import PATH
from stagegraph_media.sheetcommand import contact_sheet

if TYPE_CHECKING:
    from stagegraph_media.comparing import Compared, Stream

app = typer.Typer(no_args_is_help=True, help="Videos, sound and images.")


@app.callback()
def media() -> None:
    """Videos, sound and images."""


app.command("contact-sheet")(contact_sheet)


@app.command("compare")
def compare(
    ctx: typer.Context,
    first: Annotated[Path, typer.Argument(metavar="A", help="A video or an image.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Tell whether two files show and sound the same, how far they are apart, and in what their records differ.

    Exit code 0 if pictures and sound are identical, 1 if they are not, 2 if a file cannot be read.
    """
    from stagegraph_media.comparing import compare as compared_by

    try:
        compared = compared_by(first, second)
        told = _records(ctx.find_root().obj.registry, first, second)
    except StagegraphError as error:
        error.exit_code = 2  # 1 says that they differ
        raise
    if json:
        streams = {"pictures": attrs.asdict(compared.pictures), "sound": _sound_dict(compared)}
        output.succeed("media compare", {"identical": compared.identical, **streams, "records": told})
    else:
        output.say("identical" if compared.identical else "different")
        rows = [("  pictures", _told(compared.pictures, "frame", 255))]
        rows += [("  sound", _told(compared.sound, "sample", 1))] if compared.sound is not None else []
        rows += [("  records", line) for line in _lines(told)]
        for line in output.table(rows):
            output.say(output.printable(line))
    if not compared.identical:
        raise typer.Exit(1)


def _told(stream: Stream, unit: str, peak: int) -> str:
    if stream.forms[0] != stream.forms[1]:
        both = zip(stream.counts, stream.forms, strict=True)
        return " against ".join(f"{count} {unit}s, {form}" if form else "none" for count, form in both)
    if stream.identical:
        return f"{stream.counts[0]} {unit}s, {stream.forms[0]}: identical"
    parts = []
    if stream.counts[0] != stream.counts[1]:
        parts.append(f"{stream.counts[0]} {unit}s against {stream.counts[1]}")
    if stream.differing:
        parts.append(f"{stream.differing} of {min(stream.counts)} {unit}s differ, the first is {unit} {stream.first}")
        parts.append(f"at most {stream.most:.3g} of {peak}, PSNR {stream.psnr:.2f} dB")
    elif stream.differing == 0:
        parts.append("what both have is identical")
    return "; ".join(parts)


def _sound_dict(compared: Compared) -> dict[str, Any] | None:
    return attrs.asdict(compared.sound) if compared.sound is not None else None


def _records(registry: Registry, first: Path, second: Path) -> dict[str, Any]:
    """What the records of two files say; what keeps one from being read is told in its place."""
    found: dict[str, Any] = {"missing": []}
    recorded = []
    for path in (first, second):
        try:
            record = Recorded(records.read(path, registry), str(path))
            recorded.append((record.record, manifest_of(record)))
        except RecordError as error:
            found["missing"].append(str(error.faults[0]))
    if len(recorded) < 2:
        return found
    (one, plan), (other, other_plan) = recorded
    rows = (history.rows_of_record(record, manifest) for record, manifest in recorded)
    differences = history.differences(*rows)
    causes = [cause for cause in differences.causes if cause.change.name != f"params.{PATH}"]
    return {
        **found,
        "graphs": [records.graph_digest(manifest, registry) for manifest in (plan, other_plan)],
        "seeds": [record.inputs.get("seed") for record in (one, other)],
        "inputs_agree": one.inputs == other.inputs,
        "weights_agree": one.components == other.components,
        "versions_agree": one.versions == other.versions,
        "differences": [str(cause) for cause in causes],
    }


def _lines(told: Mapping[str, Any]) -> list[str]:
    if told["missing"]:
        return [line.splitlines()[0] for line in told["missing"]]
    graphs, seeds = told["graphs"], told["seeds"]
    agree = [f"graph {graphs[0][:12]}"] if graphs[0] == graphs[1] else []
    agree += [f"seed {seeds[0]}"] if seeds[0] == seeds[1] and seeds[0] is not None else []
    agree += [name for name in ("inputs", "weights", "versions") if told[f"{name}_agree"]]
    lines = [f"the same {', '.join(agree)}"] if agree else []
    lines += [f"graph {graphs[0][:12]} against {graphs[1][:12]}"] if graphs[0] != graphs[1] else []
    return [*lines, *told["differences"]]
