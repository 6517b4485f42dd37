"""What the LTX-2 stages say of their outputs before a run is what the run makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagegraph import manifest, yaml
from stagegraph import plan as plans
from stagegraph.builder import find
from stagegraph.cli.app import call
from stagegraph.executors import serial
from stagegraph.graph import build
from stagegraph.plugins import default_registry
from stagegraph.preflight import facts


@pytest.mark.parametrize(
    ("height", "width", "num_frames", "frame_rate"), [(64, 96, 9, "24"), (96, 64, 17, "30000/1001")]
)
def test_facts_agree_with_what_is_made(tiny: Path, height: int, width: int, num_frames: int, frame_rate: str) -> None:
    """Latents, tokens of sound, frames and rates, for every value that has facts."""
    settings = {"height": height, "width": width, "num_frames": num_frames, "frame_rate": frame_rate}
    overrides = {f"latents.{name}": yaml.typed(str(value)) for name, value in settings.items()}
    registry = default_registry()
    written = manifest.override(find("ltx2/text-to-video", registry), {**overrides, "model.path": str(tiny)})
    graph = build(written, registry)
    known = facts(plans.make(graph))
    assert len(known) == 4
    names = [str(ref) for ref in known]
    run = serial.run(plans.make(graph, names), {"prompt": "a red circle"})
    for ref, told in known.items():
        made = run[str(ref)].facts
        assert told
        assert dict(told) == {name: made[name] for name in told}


def test_an_absent_checkpoint_and_a_path_that_cannot_be_written_are_found_by_validate(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, without running."""
    words = ["--set", f"model.path={tmp_path / 'absent'}", "--set", f"write.path={tmp_path / 'd.mp4'}"]
    (tmp_path / "d.mp4").mkdir()
    assert call(["validate", "ltx2/text-to-video", *words]) == 3
    told = capsys.readouterr().err
    assert f"--set model.path: error[ltx2.no_such_checkpoint]: no such folder: {tmp_path / 'absent'}\n" in told
    assert f"error[unwritable]: write cannot write {tmp_path / 'd.mp4'}\n  why: it is a folder\n" in told


def test_validate_makes_and_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded checkpoint is not written, a repository is not asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for path in ("tiny", "Lightricks/LTX-2"):
        assert call(["validate", "ltx2/text-to-video", "--set", f"model.path={path}"]) == 0
    assert capsys.readouterr().out.count("ok: ") == 2
    assert not list(tmp_path.iterdir())
