"""What the page of the plugin shows is what its commands print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import stagegraph
from stagegraph.cli.app import call

PAGE = Path(stagegraph.__file__).parent.parent / "plugins" / "ltx2" / "README.md"


def commands() -> list[tuple[list[str], str]]:
    """The words of each `stagegraph ltx2` command with output, in order, and what it prints."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    parts = [part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.M)]
    return [(command.split()[1:], out) for command, _, out in parts if command.startswith("stagegraph ltx2") and out]


def test_the_commands_of_the_page_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    shown = commands()
    assert [words[1] for words, _ in shown] == ["make-tiny", "inspect", "convert"]
    for words, out in shown:
        assert call(words) == 0
        assert capsys.readouterr().out == out


def test_the_manifest_of_the_page_is_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its components have these kinds and params."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (block,) = [block for block in blocks if block.startswith("components:")]
    graph = f"stagegraph: 1\nname: x\n{block}nodes:\n  up:\n    stage: ltx2.latent_upsampling\n"
    graph += "    components: {upsampler: slower}\n    inputs: {latents: inputs.latents}\n"
    graph += "inputs:\n  latents: {type: ltx2.video_latent}\noutputs:\n  larger: up\n"
    (tmp_path / "graph.yaml").write_text(graph)
    assert call(["graph", str(tmp_path / "graph.yaml")]) == 0
    assert "slower" in capsys.readouterr().out
