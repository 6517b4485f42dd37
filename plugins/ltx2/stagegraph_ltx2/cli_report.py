"""How `stagegraph ltx2 inspect` prints what it found. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from stagegraph.cli import output
from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.lora.summary import LoraSummary
from stagegraph_ltx2.checkpoint.report import ComponentReport, Report

#: Form of the keys of a LoRA -> whose it is.
FORMS: Mapping[str, str] = MappingProxyType(
    {
        "official": "the official files",
        "diffusers": "diffusers",
        "PEFT": "PEFT",
        "kohya": "kohya",
        "bare": "bare paths",
    }
)


def lines(report: Report) -> Iterator[str]:
    """The report for people."""
    release = f"LTX-{report.family} " if report.family else ""
    state = {True: ", distilled", False: ", not distilled", None: ""}[report.distilled]
    yield f"{release}{report.kind}{state}"
    yield f"  {report.path}"
    if report.evidence:
        yield f"  {report.evidence}"
    elif report.complete_for or report.incomplete_for:
        yield "  nothing says whether it is distilled: set schedule of ltx2.denoising to distilled or base"
    if report.lora is not None:
        yield from _lora(report.lora)
    if report.components:
        yield ""
        yield from (f"  {line}".rstrip() for line in output.table(list(_rows(report.components))))
    for remark in report.remarks:
        yield f"  note: {remark}"
    if report.complete_for:
        yield ""
        yield f"  complete for: {', '.join(report.complete_for)}"
    if report.incomplete_for:
        yield from _incomplete(report)
    if report.faults:
        yield ""
        yield from (f"  {line}" for fault in report.faults for line in str(fault).splitlines())


def _lora(lora: LoraSummary) -> Iterator[str]:
    numbers = count(lora.parameters) if lora.parameters >= 100_000 else f"{lora.parameters:,}"
    changed = f"{lora.layers} layer{'s' * (lora.layers != 1)} by {numbers} parameters"
    yield f"  changes {changed}, rank {_span(lora.ranks)}"
    alpha = f"alpha {_span(lora.alphas)}" if lora.alphas else "no alpha"
    yield f"  {alpha}, so that its changes are scaled by {_span(lora.scales)}"
    yield f"  keys in the form of {' and '.join(FORMS[form] for form in lora.forms)}"
    if lora.distils:
        yield "  its official name says that a checkpoint is distilled with it"


def _span(numbers: Sequence[float]) -> str:
    """The number that several are, or the least and the greatest."""
    return f"{numbers[0]:g}" if len(numbers) == 1 else f"{numbers[0]:g} to {numbers[-1]:g}"


def _rows(components: Iterable[ComponentReport]) -> Iterator[tuple[str, ...]]:
    total = 0
    for one in components:
        total += one.bytes
        state = "!!" if one.faults else "ok"
        numbers = count(one.parameters) if one.parameters else ""
        size = memory(one.bytes) if one.bytes else ""
        yield state, one.title, numbers.rjust(7), " ".join(one.formats), size.rjust(9), one.place
    yield "", "total", "", "", memory(total).rjust(9), ""


def _incomplete(report: Report) -> Iterator[str]:
    """What it is not complete for, by what it lacks."""
    by_lack: dict[tuple[str, ...], list[str]] = {}
    for use, lacking in report.incomplete_for.items():
        by_lack.setdefault(lacking, []).append(use)
    yield ""
    for lacking, uses in by_lack.items():
        yield f"  not for: {', '.join(uses)}"
        yield f"    lacks the {_titles(lacking)}"
    by_fix: dict[str, list[str]] = {}
    for name, fix in report.fixes.items():
        by_fix.setdefault(fix, []).append(name)
    for fix, names in by_fix.items():
        if fix:
            yield f"  fix for the {_titles(names)}: {fix}"


def _titles(names: Sequence[str]) -> str:
    *first, last = (COMPONENTS[name].title for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def count(number: int) -> str:
    """A count of parameters."""
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def memory(number: int) -> str:
    """A size on the disk."""
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.2f} MB"


def as_data(report: Report) -> dict[str, Any]:
    """The report for programs."""
    return {
        "path": str(report.path),
        "kind": report.kind,
        "family": report.family,
        "distilled": report.distilled,
        "evidence": report.evidence,
        "components": [
            {
                "name": one.name,
                "place": one.place,
                "parameters": one.parameters,
                "bytes": one.bytes,
                "formats": list(one.formats),
                "faults": _faults(one.faults),
            }
            for one in report.components
        ],
        "complete_for": list(report.complete_for),
        "incomplete_for": {use: list(names) for use, names in report.incomplete_for.items()},
        "fixes": dict(report.fixes),
        "remarks": list(report.remarks),
        **({"lora": attrs.asdict(report.lora)} if report.lora is not None else {}),
    }


def _faults(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    return [fault.as_dict() for fault in faults]
