"""`plugins new` writes distributions that install, pass their own tests, and take part in the LTX-2 graph."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stagegraph import manifest as manifests
from stagegraph.cli.app import call

PROJECTS = {"stagegraph-sepia": ["--media"], "stagegraph-echo": []}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both projects, which pip has installed into its folder `site`."""
    folder = tmp_path_factory.mktemp("workshop")
    for name, options in PROJECTS.items():
        assert call(["plugins", "new", name, *options, "--directory", str(folder / name)]) == 0
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([*pip, *offline, *(str(folder / name) for name in PROJECTS)], check=True)
    return folder


def python(workshop: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with what is installed in the workshop."""
    environment = {**os.environ, "PYTHONPATH": str(workshop / "site"), "NO_COLOR": "1"}
    command = [sys.executable, *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def stagegraph(workshop: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return python(workshop, folder, "-m", "stagegraph", *args)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_new_plugin_passes_its_own_tests(workshop: Path, name: str) -> None:
    """As it was written, with nothing to fill in: those of its stages, and the conformance suite."""
    done = python(workshop, workshop / name, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^(\d+) passed in", done.stdout, re.M)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 25


def test_a_new_plugin_is_listed(workshop: Path, tmp_path: Path) -> None:
    """With what it registers."""
    listed = stagegraph(workshop, tmp_path, "plugins").stdout
    for name, stages, manifest in (("sepia", "mirror, sepia.tint", "tint"), ("echo", "capitals, echo.repeat", "hello")):
        told = f"{name}  stagegraph-{name} 0.1.0\n    stages: {name}.{stages}\n    manifests: {name}/{manifest}\n"
        assert told in listed


def test_a_new_plugin_is_healthy(workshop: Path, tmp_path: Path) -> None:
    """`plugins doctor` looks it over; importing the one over frames imports no numpy."""
    done = stagegraph(workshop, tmp_path, "plugins", "doctor", "sepia", "--json")
    assert done.returncode == 0, done.stdout
    (plugin,) = json.loads(done.stdout)["data"]["plugins"]
    assert 0 < plugin["cost"].pop("seconds") < 5
    assert plugin == {
        "plugin": "sepia",
        "distribution": "stagegraph-sepia",
        "version": "0.1.0",
        "healthy": True,
        "requires": "<0.2,>=0.1",
        "cost": {"heavy": [], "error": ""},
        "hooks": ["stagegraph_stages", "stagegraph_manifests"],
        "counts": {"stages": 2, "components": 0, "types": 0, "manifests": 1, "codecs": 0},
        "problems": [],
        "undocumented": [],
    }


def test_the_guide_shows_the_stages_of_a_new_plugin(workshop: Path) -> None:
    """What its page explains is what `plugins new` writes."""
    page = (Path(__file__).parent.parent.parent / "docs" / "plugins.md").read_text()
    shown = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    stages = (workshop / "stagegraph-echo" / "stagegraph_echo" / "stages.py").read_text()
    for block in shown[:2]:
        stage = re.sub(r"^import .*\n|^assert .*\n", "", block, flags=re.M).strip()
        assert stage.startswith("@sg.stage")
        assert stage in stages


def test_the_shipped_graph_of_a_new_plugin_runs_as_its_readme_says(workshop: Path, tmp_path: Path) -> None:
    """The command of the README, and what it prints."""
    readme = (workshop / "stagegraph-echo" / "README.md").read_text()
    shown = re.search(r"^\$ stagegraph (run .*)\n(.*)\n```", readme, re.M)
    assert shown is not None
    assert shown[1] == 'run echo/hello -i text="a fox"'
    done = stagegraph(workshop, tmp_path, "run", "echo/hello", "-i", "text=a fox", "-q")
    assert (done.stdout, done.stderr) == (f"{shown[2]}\n", "")


def test_a_stage_of_a_new_plugin_goes_into_the_ltx2_graph(workshop: Path, tmp_path: Path) -> None:
    """One node more and one wire changed, in the manifest alone."""
    text = stagegraph(workshop, tmp_path, "graph", "ltx2/text-to-video", "-f", "yaml").stdout
    written = manifests.loads(text)
    wire = f"frames: {written.nodes['write'].inputs['frames']}"
    node = "\n  tint: {stage: sepia.tint, params: {strength: 0.5}, inputs: {frames: frames}}\n  write:\n"
    (tmp_path / "brown.yaml").write_text(text.replace(wire, "frames: tint").replace("\n  write:\n", node))
    done = stagegraph(workshop, tmp_path, "validate", "brown.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    nodes, wires = len(written.nodes) + 1, sum(len(n.inputs) for n in written.nodes.values()) + 2
    assert done.stdout == f"ok: ltx2/text-to-video, {nodes} nodes, {wires} wires checked, no weights read\n"
