"""Sweeps: one run for many values of an input, in which what they share is done once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import stagegraph as sg
from stagegraph import events
from stagegraph import plan as plans
from stagegraph.cli.app import call
from stagegraph.executors import serial, threads
from stagegraph.sweeps import sweep


@sg.stage("sweeps.encode", version=1)
def encode(prompt: str) -> str:
    """Encode a prompt."""
    return prompt.upper()


@sg.stage("sweeps.draw", version=1)
def draw(code: str, seed: int, *more: str) -> str:
    """Draw a picture."""
    return f"{code}{seed}{''.join(more)}"


@sg.stage("sweeps.frame", version=1)
def frame() -> str:
    """Make what depends on nothing."""
    return "|"


def graph() -> sg.graph.Graph:
    """A prompt and a seed become a picture."""
    g = sg.Graph("sweep")
    code = g.add(encode, prompt=g.input("prompt", str))
    around = g.add(frame)
    g.output("code", code)
    g.output("picture", g.add(draw, code=code, seed=g.input("seed", int, 1), more=[around]))
    return g.bind()


@pytest.mark.parametrize("runner", [serial.run, threads.run])
def test_every_combination_is_made_and_shared_ancestors_run_once(runner: object) -> None:
    """Two prompts and three seeds: two encodings, six pictures, one frame."""
    swept = sweep(graph(), {"prompt": ["cat", "a red fox"], "seed": [1, 2, 3]})
    told: list[events.Event] = []
    run = runner(plans.make(swept), {}, on_event=told.append)
    assert dict(run.outputs) == {
        "code/prompt-cat": "CAT",
        "code/prompt-2": "A RED FOX",
        **{f"picture/prompt-cat/seed-{seed}": f"CAT{seed}|" for seed in (1, 2, 3)},
        **{f"picture/prompt-2/seed-{seed}": f"A RED FOX{seed}|" for seed in (1, 2, 3)},
    }
    stages = Counter(event.stage for event in told if isinstance(event, events.NodeStarted))
    assert stages == {"sweeps.encode@1": 2, "sweeps.draw@1": 6, "sweeps.frame@1": 1}


def test_the_graph_of_a_sweep_is_written_and_read_like_any_other() -> None:
    """Its record says what was made."""
    swept = sweep(graph(), {"seed": [1, 2]})
    run = serial.run(plans.make(swept), {"prompt": "cat"})
    manifest = sg.manifest.loads(json.dumps(run.record.manifest))
    again = sg.Graph.from_manifest(manifest, sg.Registry.of(encode, draw, frame))
    assert dict(again.run(prompt="cat").outputs) == dict(run.outputs)


def test_a_condition_may_be_swept() -> None:
    """True and false in one run."""
    g = sg.Graph("when")
    g.output("y", g.add(encode, prompt=sg.constant("a"), when=g.input("on", bool)))
    run = serial.run(plans.make(sweep(g.bind(), {"on": [True, False]})), {})
    assert dict(run.outputs) == {"y/on-True": "A"}
    assert run.outputs.skipped == {"y/on-False": "its condition is false"}


MANIFEST = """\
stagegraph: 1
name: sweep
inputs: {prompt: {type: str}, seed: {type: int, default: 1}}
nodes: {draw: {stage: sweeping.draw, inputs: {prompt: inputs.prompt, seed: inputs.seed}}}
outputs: {picture: draw}
"""

PLUGIN = """
import stagegraph as sg

@sg.stage("sweeping.draw", version=1)
def draw(prompt: str, seed: int) -> str:
    '''Draw.'''
    return prompt + str(seed)

@sg.hookimpl
def stagegraph_stages():
    return [draw]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plugin, a manifest and a file of prompts."""
    info = tmp_path / "stagegraph_sweeping-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stagegraph-sweeping\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[stagegraph.plugins]\nsweeping = stagegraph_sweeping\n")
    (tmp_path / "stagegraph_sweeping.py").write_text(PLUGIN)
    (tmp_path / "m.yaml").write_text(MANIFEST)
    (tmp_path / "prompts.txt").write_text("cat\n\na red fox\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("parallel", [[], ["--parallel"]], ids=["serial", "parallel"])
def test_the_command_line_sweeps_ranges_and_files(parallel: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every combination, each output under its own name; a text with dots or two @ is no sweep."""
    args = ["run", "m.yaml", "-q", *parallel]
    assert call([*args, "-i", "prompt=@prompts.txt", "-i", "seed=2..1"]) == 0
    assert capsys.readouterr().out == (
        "picture/prompt-cat/seed-2: cat2\n"
        "picture/prompt-cat/seed-1: cat1\n"
        "picture/prompt-2/seed-2: a red fox2\n"
        "picture/prompt-2/seed-1: a red fox1\n"
    )
    assert call([*args, "-i", "prompt=1..3"]) == 0
    assert capsys.readouterr().out == "1..31\n"
    assert call([*args, "-i", "prompt=@@home"]) == 0
    assert capsys.readouterr().out == "@home1\n"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("word", "text"),
    [
        (
            "prompt=@absent.txt",
            (
                "error[usage]: -i prompt=@absent.txt: the file cannot be read: No such file or directory\n"
                "  fix: write -i prompt=@@absent.txt for the text itself\n"
            ),
        ),
        ("seed=1..99999", "error[too_large]: -i seed=1..99999 has more than 10000 values\n  fix: sweep in parts\n"),
    ],
    ids=["file", "range"],
)
def test_sweeps_that_cannot_be_are_told(word: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything runs."""
    assert (
        call(["run", "m.yaml", "-q", "-i", "prompt=a", "-i", word] if "seed" in word else ["run", "m.yaml", "-i", word])
        == 2
    )
    assert capsys.readouterr().err == text
