"""Several processes make a video: started by the command line or by torchrun, interrupted, and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stagegraph.cli.app import call
from stagegraph_media.reading import read_video

from ..ltx2.parallel.conftest import alive, others, within

SMALL = ["model.path=tiny", "latents.height=64", "latents.width=96", "latents.num_frames=9"]
WORDS = ["run", "ltx2/text-to-video", "-i", "prompt=a fox", *(w for name in SMALL for w in ("--set", name))]
#: A loop that is long enough to be in.
STEPS = 150
SIGMAS = json.dumps([1 - i / STEPS for i in range(STEPS)] + [0.0])
LONG = [*WORDS, "--set", f"denoise.sigmas={SIGMAS}", "--nproc", "2", "--json"]
STAGEGRAPH = [sys.executable, "-m", "stagegraph"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _own_folder(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache of its own, in which the embedded checkpoint is there already."""
    cache = tmp_path / "cache" / "stagegraph" / "ltx2"
    cache.mkdir(parents=True)
    (cache / tiny.name).symlink_to(tiny)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def frames(name: str) -> np.ndarray:
    """The pixels of a video."""
    return read_video(Path(name)).frames.pixels.astype(int)


@contextmanager
def denoising(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs in a process of its own, from the second step that it tells."""
    process = subprocess.Popen([*STAGEGRAPH, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        steps = (line for line in process.stdout if json.loads(line).get("event") == "node_progress")
        next(steps)
        next(steps)
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], code: int) -> list[dict[str, Any]]:
    """What it told before it ended with this code; none of its processes is left."""
    ranks = others(process.pid) or {}
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert within(5, lambda: not any(map(alive, ranks)))
    return [json.loads(line) for line in rest.splitlines()]


def test_two_processes_make_the_video_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Started by `--nproc`, and by torchrun; to rounding, of which a codec makes more in what is only noise."""
    assert call([*WORDS, "-o", "one.mp4", "--no-cache"]) == 0
    assert call([*WORDS, "-o", "two.mp4", "--nproc", "2"]) == 0
    assert capsys.readouterr().err.count("done     denoise") == 2
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*launcher, "stagegraph", *WORDS, "-o", "three.mp4", "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "three.mp4\n"
    assert done.stderr.count("done     denoise") == 1
    expected = frames("one.mp4")
    assert expected.std() > 10
    for other in ("two.mp4", "three.mp4"):
        assert np.abs(frames(other) - expected).mean() < 2
    # What two processes made is used again by one.
    assert call([*WORDS, "-o", "four.mp4"]) == 0
    assert "reused   denoise" in capsys.readouterr().err.splitlines()


def test_a_run_goes_on_after_any_of_its_processes_was_killed() -> None:
    """With as many processes as there were, or with one. What was done is kept, and the record tells what happened."""
    with denoising(*LONG, "--set", "denoise.checkpoint_every=1", "-o", "fox.mp4") as process:
        ranks = others(process.pid)
        assert list(ranks.values()) == [1]
        process.kill()
        process.communicate(timeout=30)
    assert within(5, lambda: not any(map(alive, ranks)))

    with denoising("resume", "--json") as process:
        (rank,) = others(process.pid)
        os.kill(rank, signal.SIGKILL)
        told = ended(process, 1)
    failed = next(event for event in told if event.get("event") == "node_failed")
    assert failed["node"] == "denoise"
    assert failed["faults"][0]["code"] == "ltx2.rank_lost"
    assert failed["faults"][0]["what"] == "rank 1 of 2 was killed by SIGKILL"
    assert told[-1]["error"]["retryable"]

    command = [*STAGEGRAPH, "resume", "--nproc", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["node"] for event in told if event.get("event") == "node_reused"] == ["text", "latents"]
    assert next(event["done"] for event in told if event.get("event") == "node_progress") > 3
    assert told[-1]["data"]["outputs"] == {"video": "fox.mp4"}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell has what it starts in the background ignore interruptions, and so would what tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_ends_all_its_processes() -> None:
    """It is cancelled, as a run of one."""
    with denoising(*LONG) as process:
        process.send_signal(signal.SIGINT)
        told = ended(process, 130)
    assert told[-1]["error"]["code"] == "cancelled"


def test_a_number_of_processes_that_cannot_be_is_refused_before_anything_loads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the heads, by the device, by the graph, and by the launcher."""
    assert call([*WORDS, "--nproc", "3"]) == 3
    assert capsys.readouterr().err == (
        "--nproc 3: error[ltx2.contradiction]: nproc is 3, but the transformer has 2 heads of attention\n"
        "  why: every process takes as many\n"
        "  fix: use 1, 2\n"
    )
    assert call([*WORDS, "--nproc", "2", "--set", "model.device=cuda:1"]) == 3
    assert capsys.readouterr().err == (
        "--nproc 2: error[ltx2.contradiction]: nproc is 2, but device is cuda:1\n"
        "  why: each process has a GPU of its own, cuda:0 to cuda:1, or all of them the CPU\n"
        "  fix: leave device out, or set nproc to 1\n"
    )
    Path("hello.yaml").write_text(
        "stagegraph: 1\nname: hello\nnodes:\n  read: {stage: media.read_image, params: {}, inputs: {path: inputs.p}}\n"
        "inputs:\n  p: {type: str}\noutputs:\n  image: read\n"
    )
    assert call([*WORDS, "--nproc", "65"]) == 2
    assert capsys.readouterr().err == (
        "--nproc 65: error[invalid_value]: nproc is 65, it must be >= 1, <= 64: use 64\n"
    )
    assert call(["run", "hello.yaml", "--nproc", "2"]) == 2
    assert capsys.readouterr().err == (
        "error[usage]: no component of hello is shared between processes\n"
        "  why: those with a param nproc are\n"
        "  fix: leave --nproc out\n"
    )
    launched = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    assert call([*WORDS, "--nproc", "3"]) == 2
    assert capsys.readouterr().err == (
        "error[usage]: --nproc is 3, but 2 processes were started together\n"
        "  fix: leave --nproc to the launcher, or start without one\n"
    )
    monkeypatch.setenv("RANK", "1")
    assert call([*WORDS, "--nproc", "3"]) == 2
    assert capsys.readouterr() == ("", "")
