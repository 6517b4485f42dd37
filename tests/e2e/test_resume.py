"""A run that is killed goes on where it stopped, inside the denoising loop, and ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stagegraph as sg
from stagegraph import events, manifest, yaml
from stagegraph.artifacts import Codecs
from stagegraph.builder import find
from stagegraph.caching import Caching
from stagegraph.plugins import default_registry
from stagegraph.store import Store
from stagegraph.store.runs import load
from stagegraph_media.reading import probe

SETTINGS = {
    "model.path": "tiny",
    "latents.height": "64",
    "latents.width": "96",
    "latents.num_frames": "9",
    "denoise.checkpoint_every": "1",
    "write.path": "out.mp4",
}
WORDS = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]


def killed_in_step_5(folder: Path) -> list[dict]:
    """Start the run in a process of its own and kill it when it has told its fifth step; gives what it told."""
    command = [sys.executable, "-m", "stagegraph", "run", "ltx2/text-to-video", "-i", "prompt=a fox", *WORDS]
    told = []
    with subprocess.Popen([*command, "--json"], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(json.loads(line))
            if told[-1].get("event") == "node_progress" and told[-1]["done"] == 5:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    return told


@pytest.fixture
def folder(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cache of its own, in which the embedded checkpoint is there already."""
    cache = tmp_path / "cache" / "stagegraph" / "ltx2"
    cache.mkdir(parents=True)
    (cache / tiny.name).symlink_to(tiny)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_killed_run_goes_on_inside_the_loop_and_gives_the_same_latents(folder: Path) -> None:
    """Steps that were done are not done again; the latents are equal bit by bit to those of an uninterrupted run."""
    killed_in_step_5(folder)
    registry = default_registry()
    settings = {name: yaml.typed(value) for name, value in SETTINGS.items()}
    g = sg.Graph.from_manifest(manifest.override(find("ltx2/text-to-video", registry), settings))
    whole = g.run(prompt="a fox", outputs=["denoise"])
    told: list[events.Event] = []
    codecs = Codecs(registry.codecs.values())
    with Store() as store:
        stored = load(store, codecs, "last")
        assert stored.row.status == "interrupted"
        resumed = g.run(
            prompt="a fox", outputs=["denoise"], caching=Caching(store, codecs, resumed=stored), on_event=told.append
        )
    steps = [event.done for event in told if isinstance(event, events.NodeProgress) and event.node == "denoise"]
    assert steps[-1] == 8
    assert steps[0] >= 5  # the kill came while the fifth step was told, or soon after
    assert {event.node for event in told if isinstance(event, events.NodeReused)} == {"text", "latents"}
    assert torch.equal(resumed["denoise.video"].latent, whole["denoise.video"].latent)
    assert torch.equal(resumed["denoise.audio"].latent, whole["denoise.audio"].latent)


def test_the_command_goes_on_with_the_last_run(folder: Path) -> None:
    """`stagegraph resume` makes the video; the nodes that were complete are reused."""
    killed_in_step_5(folder)
    command = [sys.executable, "-m", "stagegraph", "resume"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "out.mp4\n"
    assert probe(folder / "out.mp4").num_frames == 9
    lines = done.stderr.splitlines()
    assert lines[:2] == ["reused   text", "reused   latents"]
    assert any(line.startswith("done     denoise") for line in lines)
    listed = subprocess.run([*command[:-1], "runs", "--json"], cwd=folder, capture_output=True, text=True, check=True)
    runs = json.loads(listed.stdout)["data"]["runs"]
    assert [run["status"] for run in runs] == ["finished"]
