"""Every mistake that a graph can have, in one manifest, is told in one report before anything runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stagegraph import errors as engine
from stagegraph.cli.app import call
from stagegraph_ltx2 import errors as ltx2
from stagegraph_media import errors as media
from stagegraph_media import writing

HERE = Path(__file__).parent / "every_mistake"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which fox.mp4 cannot be written below `blocked`, on a machine without an encoder for sound."""
    monkeypatch.chdir(tmp_path)
    Path("blocked").touch()
    Path("graph.yaml").write_text((HERE / "graph.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    Path("tones.yaml").write_text((HERE / "tones.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(writing, "has_encoder", lambda name: name != "aac")


def wanted() -> str:
    """The whole report; what differs from machine to machine stands in angle brackets."""
    (fault,) = writing.missing_encoders()
    text = (HERE / "report.txt").read_text(encoding="utf-8")
    here = {"<folder>": os.path.realpath("."), "<PyAV>": fault.where, "<fix of PyAV>": fault.fix}
    for name, value in here.items():
        text = text.replace(name, value)
    return text


def test_every_mistake_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """With file, line and column, the rule, and what to type; nothing has run, no weights were read."""
    assert call(["validate", "graph.yaml"]) == 2
    assert capsys.readouterr().err == wanted()
    assert sorted(path.name for path in Path().iterdir()) == ["blocked", "graph.yaml", "tones.yaml"]


def test_a_run_tells_the_same_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """Before it looks at the values that it was given."""
    assert call(["run", "graph.yaml"]) == 2
    told, warning = capsys.readouterr().err, wanted().index("graph.yaml:7")
    assert told == wanted()[warning:]


def test_programs_read_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault with its place and a code that is registered; the warning beside them."""
    assert call(["validate", "graph.yaml", "--json"]) == 2
    envelope = json.loads(capsys.readouterr().out)
    assert [fault["code"] for fault in envelope["warnings"]] == ["orphan"]
    codes = {fault["code"] for fault in envelope["faults"]}
    assert codes <= engine.CODES.keys() | ltx2.CODES.keys() | media.CODES.keys()
    assert {
        *("type_mismatch", "cycle", "missing_input", "duplicate_producer", "unknown_input", "unknown_port"),
        *("unknown_param", "unknown_node", "unknown_stage", "unsupported_version", "invalid_value"),
        *("ltx2.no_such_checkpoint", "unwritable", "media.encoder_missing"),
    } <= codes
    for fault in (*envelope["warnings"], *envelope["faults"]):
        assert {"file", "line", "column"} == fault["location"].keys()
        assert fault["location"]["file"] in ("graph.yaml", "tones.yaml")
        place = ":".join(map(str, fault["location"].values()))
        kind = "warning" if fault["code"] == "orphan" else "error"
        assert f"{place}: {kind}[{fault['code']}]: {fault['what']}\n" in wanted()
