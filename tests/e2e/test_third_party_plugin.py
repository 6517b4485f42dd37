"""A second distribution, installed for real, takes part in the LTX-2 graph by an edit of the manifest alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stagegraph import manifest as manifests
from stagegraph_media.reading import read_video

PLUGIN = Path(__file__).parent.parent / "plugins" / "stagegraph-negative"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the plugin."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", str(folder), str(PLUGIN)], check=True)
    return folder


def stagegraph(site: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, with what is installed in `site`."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "stagegraph", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_plugin_is_listed_with_distribution_and_version(site: Path, tmp_path: Path) -> None:
    """Its entry point is found, and its stage is in the catalogue."""
    listed = stagegraph(site, tmp_path, "plugins").stdout
    assert "negative  stagegraph-negative 0.3.0\n    stages: negative.invert\n" in listed
    assert stagegraph(site, tmp_path, "stages", "negative.invert").stdout == (
        "negative.invert@1  negative (stagegraph-negative 0.3.0)\n"
        "    Turn every colour into its opposite.\n"
        "  inputs\n"
        "    frames  Frames\n"
        "  outputs\n"
        "    output  Frames\n"
        "  params\n"
        "    amount  float  = 1.0  1 inverts, 0 leaves the frames unchanged. (>= 0, <= 1)\n"
    )


@pytest.mark.usefixtures("tiny")
def test_stage_is_inserted_into_the_ltx2_graph_by_editing_the_manifest(site: Path, tmp_path: Path) -> None:
    """One node more and one wire changed; the video comes out inverted."""
    text = stagegraph(site, tmp_path, "graph", "ltx2/text-to-video", "-f", "yaml").stdout
    written = manifests.loads(text)
    plain, edited = tmp_path / "plain.yaml", tmp_path / "edited.yaml"
    plain.write_text(text)
    changed = text.replace(f"frames: {written.nodes['write'].inputs['frames']}", "frames: invert")
    changed = changed.replace(
        "\n  write:\n", "\n  invert: {stage: negative.invert, inputs: {frames: frames}}\n  write:\n"
    )
    assert changed != text
    edited.write_text(changed)
    small = [f"latents.{setting}" for setting in ("height=64", "width=96", "num_frames=9")]
    settings = [word for setting in ["model.path=tiny", *small, "write.crf=0"] for word in ("--set", setting)]
    for path in (plain, edited):
        args = ["run", path.name, "-i", "prompt=x", "-q", *settings, "--set", f"write.path={path.stem}.mp4"]
        done = stagegraph(site, tmp_path, *args)
        assert (done.returncode, done.stderr) == (0, "")
    before, after = (read_video(tmp_path / f"{name}.mp4").frames.pixels.astype(int) for name in ("plain", "edited"))
    # Lossless H.264, but in YUV with colours at half the resolution: a few steps of 255 are lost.
    assert abs(before - (255 - after)).mean() < 3
    assert before.std() > 2


def test_without_the_plugin_the_edited_manifest_says_what_is_missing(tmp_path: Path) -> None:
    """Whoever lacks the plugin is told which stage nobody registers, and where."""
    (tmp_path / "edited.yaml").write_text(
        "stagegraph: 1\nname: x\nnodes:\n  invert: {stage: negative.invert}\noutputs: {frames: invert}\n"
    )
    done = stagegraph(tmp_path, tmp_path, "validate", "edited.yaml")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        'edited.yaml:4:19: error[unknown_stage]: there is no stage "negative.invert"'
    )


def test_broken_plugin_is_reported_and_does_not_stop_other_commands(site: Path, tmp_path: Path) -> None:
    """A plugin that fails to import is named; graphs that do without it validate."""
    broken = tmp_path / "site"
    (broken / "stagegraph_broken-9.9.dist-info").mkdir(parents=True)
    info = broken / "stagegraph_broken-9.9.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stagegraph-broken\nVersion: 9.9\n")
    (info / "entry_points.txt").write_text("[stagegraph.plugins]\nbroken = stagegraph_broken\n")
    (broken / "stagegraph_broken.py").write_text("import a_library_that_is_not_there\n")
    assert stagegraph(broken, tmp_path, "validate", "ltx2/text-to-video").returncode == 0
    listed = stagegraph(broken, tmp_path, "plugins").stdout
    assert listed.endswith(
        "plugin broken (stagegraph-broken 9.9): error[plugin_import]: importing stagegraph_broken failed: "
        "ModuleNotFoundError: No module named 'a_library_that_is_not_there'\n"
        "  fix: update or uninstall stagegraph-broken, or run with --no-plugin broken\n"
    )
    assert "broken" not in stagegraph(broken, tmp_path, "--no-plugin", "broken", "plugins").stdout
