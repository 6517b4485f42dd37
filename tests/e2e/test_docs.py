"""What the documentation shows is what happens."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import stagegraph as sg
from stagegraph import plugins
from stagegraph.cli.app import call
from stagegraph.plugins import default_plugins
from stagegraph_media.audio import write_audio
from stagegraph_media.png import write_image
from stagegraph_media.reading import probe
from stagegraph_media.values import Frames, Image, Waveform
from stagegraph_media.writing import write_video

ROOT = Path(__file__).parent.parent.parent
OF_LTX2 = ROOT / "plugins" / "ltx2" / "README.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", OF_LTX2, *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def transcript(command: str) -> str:
    """What the README shows below a command."""
    for block in blocks(ROOT / "README.md", "console"):
        for part in re.split(r"^\$ ", block, flags=re.M):
            if part.startswith(command):
                return part.partition("\n")[2]
    raise AssertionError(f"the README does not show {command}")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_runs_as_one_program(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks run in order; what a comment behind a print says is what is printed."""
    program = "\n".join(blocks(page, "python"))
    module = f"page_{page.parent.name}_{page.stem}".replace("-", "_")
    (tmp_path / f"{module}.py").write_text(program, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = vars(importlib.import_module(module))
    printed = capsys.readouterr().out
    for said in re.findall(r"^ *print\(.*\)  # (?=[A-Z]\w+\(|error)(.*)$", program, re.M):
        assert said in printed
    if "Tint" in names:
        _check_the_plugin(names)


SMALL = {"height": 64, "width": 96, "num_frames": 17}


@pytest.fixture
def media(_own_folder: None) -> None:
    """The files that the commands of the pages name."""
    rng = np.random.default_rng(0)
    for name in ("fox.png", "night.png"):
        write_image(name, Image(rng.integers(0, 256, (64, 96, 3), np.uint8)))
    sound = Waveform(rng.uniform(-0.1, 0.1, (2, 24_000)).astype(np.float32), 24_000)
    write_audio("story.wav", sound)
    write_video("clip.mp4", Frames(rng.integers(0, 256, (25, 64, 96, 3), np.uint8), 24), sound)


def _commands(page: Path, start: str) -> list[str]:
    shown = "\n".join(blocks(page, "console")).replace("\\\n", "")
    return [line.removeprefix("$ ") for line in shown.splitlines() if line.startswith(f"$ {start}")]


@pytest.mark.slow
@pytest.mark.usefixtures("media", "tiny")
@pytest.mark.parametrize("command", _commands(OF_LTX2, "stagegraph run ltx2/"))
def test_a_run_of_the_page_of_ltx2_makes_its_video(command: str) -> None:
    """As it stands there, but for the weights and the size, which are small."""
    _, *words = re.sub(r"--set (model\.path|latents\.)\S+", "", command).split(" ", 1)
    words = shlex.split(words[0])
    small = [] if "ltx2/retake" in words else [w for name, n in SMALL.items() for w in ("--set", f"latents.{name}={n}")]
    assert call([*words, *small]) == 0, words
    video = words[words.index("-o") + 1] if "-o" in words else next(Path("runs").glob("*/write.mp4"))
    assert probe(video).num_frames == (25 if "ltx2/retake" in words else 17)


def test_yaml_of_the_page_of_ltx2_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """That with three pictures; the other whole one is run where its LoRA is made."""
    (whole,) = [text for text in blocks(OF_LTX2, "yaml") if text.startswith("stagegraph: 1\nname: three-pictures")]
    Path("mine.yaml").write_text(whole)
    assert call(["validate", "mine.yaml"]) == 0
    assert capsys.readouterr().out.startswith("ok: three-pictures, ")


def _check_the_plugin(names: dict[str, object]) -> None:
    tint = names["Tint"]
    grey = Frames(np.full((1, 2, 2, 3), 100, np.uint8), 24)
    brown = tint(strength=1.0).run(grey, context=sg.StageContext())  # type: ignore[operator]
    assert brown.pixels[0, 0, 0].tolist() == [107, 74, 43]
    assert tint(strength=0.0).run(grey, context=sg.StageContext()) == grey  # type: ignore[operator]
    hook = names["stagegraph_stages"]
    assert hook() == [tint]  # type: ignore[operator]
    assert {n for n in names if n.startswith("stagegraph_")} <= set(plugins.HOOKS)


def test_yaml_of_the_readme_has_the_faults_that_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest of the README, validated, gives the transcript below it, line and column included."""
    (text,) = blocks(ROOT / "README.md", "yaml")
    Path("mine.yaml").write_text(text)
    assert call(["validate", "mine.yaml"]) == 2
    assert capsys.readouterr().err == transcript("stagegraph validate mine.yaml").partition("$ ")[0]
    mended = text.replace("denoise.vidoe", "denoise.video").replace("inputs:\n", "inputs:\n  seed: {type: int}\n", 1)
    Path("mine.yaml").write_text(mended)
    assert call(["validate", "mine.yaml"]) == 0


def test_mistakes_of_the_readme_give_the_errors_that_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """The command of the transcript, run."""
    shown = transcript("stagegraph run ltx2/text-to-video -i prompt=x --set latents.width=400")
    words = ["--set", "latents.width=400", "--set", "latents.num_frames=120"]
    assert call(["run", "ltx2/text-to-video", "-i", "prompt=x", *words]) == 2
    assert capsys.readouterr().err == shown


def test_every_shipped_manifest_is_valid_and_named_like_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Of every installed plugin."""
    registry = plugins.fill(default_plugins())
    assert registry.manifests
    for name in registry.manifests:
        assert call(["validate", name]) == 0
        assert capsys.readouterr().out.startswith(f"ok: {name}, ")


def test_a_shipped_manifest_is_printed_as_it_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    """To start from: its comments say what to set for other weights. With settings it is printed as it is bound."""
    for name, path in plugins.fill(default_plugins()).manifests.items():
        assert call(["graph", name, "-f", "yaml"]) == 0
        assert capsys.readouterr().out == path.read_text(encoding="utf-8")
    assert call(["graph", "ltx2/continue", "-f", "yaml", "--set", "noise.height=256"]) == 0
    Path("mine.yaml").write_text(capsys.readouterr().out)
    assert "height: 256" in Path("mine.yaml").read_text()
    assert call(["validate", "mine.yaml"]) == 0


def test_architecture_names_files_that_exist() -> None:
    """Every file or module that the table of the page points at is there."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    homes = [ROOT, ROOT / "stagegraph", ROOT / "plugins/ltx2/stagegraph_ltx2", ROOT / "plugins/media/stagegraph_media"]
    for name in re.findall(r"`([\w/]+\.py|[\w]+/)`", page):
        assert any((home / name).exists() for home in homes), name


@pytest.mark.usefixtures("tiny")
def test_example_makes_a_video() -> None:
    """`examples/text_to_video.py`, run as its docstring says."""
    command = [sys.executable, str(ROOT / "examples" / "text_to_video.py"), "a red circle", "out.mp4"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "out.mp4\n"
    assert probe("out.mp4").num_frames == 25
