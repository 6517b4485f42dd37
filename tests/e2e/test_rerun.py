"""An LTX-2 video makes itself again, to the bit; other weights are noticed; and it can be shared without its prompt."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from stagegraph.cli.app import call
from stagegraph_ltx2.checkpoint.tiny import make_tiny

PROMPT = "a red fox in fresh snow"
TINY = ["--set", "model.path=tiny"]
SMALL = [
    *("--set", "latents.height=64", "--set", "latents.width=96", "--set", "latents.num_frames=9"),
    *("-i", f"prompt={PROMPT}", "-i", "seed=7", "-q"),
]


@pytest.fixture(autouse=True)
def _own_folder(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_video_makes_itself_again_to_the_bit(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything computed anew: the same frames and samples, by the same graph, seed and weights."""
    assert call(["run", "ltx2/text-to-video", *SMALL, *TINY, "-o", "fox.mp4"]) == 0
    assert call(["rerun", "fox.mp4", "-o", "again.mp4", "--no-cache", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert call(["media", "compare", "fox.mp4", "again.mp4"]) == 0
    assert re.sub("graph [0-9a-f]{12}", "graph ID", capsys.readouterr().out) == (
        "identical\n"
        "  pictures  9 frames, 96x64, 24 fps: identical\n"
        "  sound     7920 samples, 2 channels, 24000 Hz: identical\n"
        "  records   the same graph ID, seed 7, inputs, weights, versions\n"
    )
    assert call(["diff", "fox.mp4", "again.mp4"]) == 0
    assert capsys.readouterr().out == '    write: params.path: "fox.mp4" -> "again.mp4"\n'
    assert call(["rerun", "fox.mp4", "-o", "other.mp4", "-i", "seed=8", "-q"]) == 0
    capsys.readouterr()
    assert call(["media", "compare", "fox.mp4", "other.mp4"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "  records   latents: inputs.seed: 7 -> 8"


def test_videos_without_records_are_equal_byte_by_byte() -> None:
    """The record tells when it was made; nothing else in the file does."""
    assert call(["run", "ltx2/text-to-video", *SMALL, *TINY, "-o", "a.mp4", "--no-metadata"]) == 0
    assert call(["rerun", "last", "-o", "b.mp4", "--no-cache", "-q"]) == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    assert PROMPT.encode() not in Path("a.mp4").read_bytes()


def test_a_stripped_video_shows_the_same_and_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither prompt nor paths nor names."""
    assert call(["run", "ltx2/text-to-video", *SMALL, *TINY, "-o", "fox.mp4"]) == 0
    assert call(["strip", "fox.mp4", "-o", "clean.mp4"]) == 0
    assert capsys.readouterr().err == "fox.run.json still holds the record\n"
    assert call(["media", "compare", "fox.mp4", "clean.mp4"]) == 0
    content = Path("clean.mp4").read_bytes()
    assert not any(text in content for text in (PROMPT.encode(), b"stagegraph", b"ltx2", b"fox.mp4", b"torch"))
    assert call(["rerun", "clean.mp4"]) == 2


def test_other_weights_are_noticed_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint that was changed in its place."""
    make_tiny(Path("weights"), seed=0)
    assert call(["run", "ltx2/text-to-video", *SMALL, "--set", "model.path=weights", "-o", "fox.mp4"]) == 0
    shutil.rmtree("weights")
    make_tiny(Path("weights"), seed=1)
    capsys.readouterr()
    assert call(["rerun", "fox.mp4", "-o", "again.mp4"]) == 2
    told = capsys.readouterr()
    assert re.sub("[0-9a-f]{12,}", "ID", told.err.partition("\n")[2]) == (
        "    components.model.fingerprint: ID -> ID\n"
        "fox.mp4: error[weights_changed]: the weights of model (ltx2.checkpoint) are others: ID... then, ID... now\n"
        "  fix: --accept weights runs it with the weights that are here\n"
    )
    assert not Path("again.mp4").exists()
    assert call(["rerun", "fox.mp4", "-o", "again.mp4", "--accept", "weights", "-q"]) == 0
    assert call(["media", "compare", "fox.mp4", "again.mp4"]) == 1
