"""What the page of the plugin shows is what its commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import stagegraph
from stagegraph.cli.app import call

PAGE = Path(stagegraph.__file__).parent.parent / "plugins" / "ltx2" / "README.md"


def commands() -> list[tuple[list[str], str]]:
    """The words of each command with output, in order, and what it prints."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    parts = [part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.M)]
    shown = [(command, out) for command, _, out in parts if out and not command.endswith("\\")]
    return [(shlex.split(command)[1:], out) for command, out in shown if command.startswith("stagegraph")]


@pytest.mark.usefixtures("cache")
def test_the_commands_of_the_page_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, in a folder with the manifest that the page shows whole."""
    monkeypatch.chdir(tmp_path)
    (whole,) = [block for block in manifests() if block.startswith("stagegraph: 1\nname: refined")]
    Path("refined.yaml").write_text(whole)
    shown = commands()
    assert [" ".join(words[:2]) for words, _ in shown] == [
        "ltx2 make-tiny",
        "ltx2 inspect",
        "ltx2 convert",
        "ltx2 make-tiny-lora",
        "ltx2 inspect",
        "run refined.yaml",
    ]
    for words, out in shown:
        assert call(words) == 0
        assert capsys.readouterr().out == out


def manifests() -> list[str]:
    """Whole ones, and parts of some."""
    return re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


UPSAMPLED = """\
inputs: {latents: {type: ltx2.video_latent}}
nodes:
  up: {stage: ltx2.latent_upsampling, components: {upsampler: slower}, inputs: {latents: inputs.latents}}
outputs: {larger: up}
"""
ENCODED = """\
inputs: {prompt: {type: str}}
nodes:
  text: {stage: ltx2.text_encoding, inputs: {prompt: inputs.prompt}}
outputs: {text: text.positive}
"""


def test_the_components_of_the_page_are_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have these kinds and params."""
    shown = [block for block in manifests() if block.startswith("components:")]
    for block, rest, name in zip(shown, (UPSAMPLED, ENCODED), ("slower", "model"), strict=True):
        (tmp_path / "graph.yaml").write_text(f"stagegraph: 1\nname: x\n{block}{rest}")
        assert call(["graph", str(tmp_path / "graph.yaml")]) == 0
        assert name in capsys.readouterr().out
