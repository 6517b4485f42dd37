"""What `run` keeps without being asked, `-o`, and `diff` of files: from the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stagegraph.store import Store
from stagegraph.store import runs as stored

from .conftest import Cli

RUN = ("run", "m.yaml", "-i", "text=a fox")


def test_outputs_are_kept_and_used_again_and_files_are_still_written(cli: Cli) -> None:
    """Without any option; runs are recorded in the store, and nothing but the file appears here."""
    before = {path.name for path in Path().iterdir()}
    assert cli(*RUN, "-o", "a.note").err.splitlines()[1:] == ["done     say  0.0 s", "done     write  0.0 s"]
    again = cli(*RUN, "-o", "b.note")
    assert again.err == "reused   say\ndone     write  0.0 s\n"
    assert {path.name for path in Path().iterdir()} - before == {"a.note", "b.note"}
    assert [line.split()[3:] for line in cli("runs").out.splitlines()] == [
        ["finished", "1", "ran,", "1", "reused", "notes/say"],
        ["finished", "2", "ran,", "0", "reused", "notes/say"],
    ]
    first, second = (row["id"] for row in reversed(cli("runs", "--json").lines[0]["data"]["runs"]))
    assert cli("explain", "last", "say").out == f"say was reused: its key is the same as when it ran (run {first})\n"
    assert cli("show").out.splitlines()[1:3] == ["    text: a fox", "    seed: 7"]
    assert cli("diff", first, second).out == '    write: params.path: "a.note" -> "b.note"\n'


def test_no_cache_keeps_nothing(cli: Cli) -> None:
    """Neither outputs nor a record."""
    for _ in range(2):
        assert "done     say" in cli(*RUN, "-o", "a.note", "--no-cache").err
    assert cli("runs").out == "no runs are recorded\n"


def test_a_store_that_cannot_be_used_is_a_warning_unless_it_was_asked_for(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outputs are the same; also with -q, and with --json on stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    (tmp_path / "taken").write_text("a file")
    folder = tmp_path / "taken" / "stagegraph" / "store"
    fault = (
        f"[store_failed]: the store failed: [Errno 20] Not a directory: '{folder}'\n"
        "  why: the operating system refused\n"
        f'  fix: ls -ld "{folder}"\n'
    )
    note = "  so nothing is kept of this run; its outputs are the same. --no-cache does without the store\n"
    result = cli(*RUN, "-o", "a.note", "-q")
    assert (result.code, result.out, result.err) == (0, "a.note\n", f"{folder}: warning{fault}{note}")
    assert Path("a.note").read_text().startswith("a fox")
    as_json = cli(*RUN, "-o", "b.note", "--json")
    assert (as_json.code, as_json.err, as_json.lines[-1]["ok"]) == (0, f"{folder}: warning{fault}{note}", True)
    asked = cli(*RUN, "-o", "c.note", "-q", "--cache")
    assert (asked.code, asked.out, asked.err) == (1, "", f"{folder}: error{fault}")
    assert not Path("c.note").exists()
    assert cli(*RUN, "-o", "d.note", "-q", "--no-cache").err == ""


def test_a_run_that_cannot_be_recorded_goes_on_without(cli: Cli) -> None:
    """Found when it begins: the store opens, but takes nothing."""
    with Store() as store:
        (store.folder / "runs").write_text("a file where a folder should be")
    result = cli(*RUN, "-o", "a.note", "-q")
    assert (result.code, result.out) == (0, "a.note\n")
    assert result.err.splitlines()[0].endswith(
        "warning[store_failed]: the store failed: [Errno 20] Not a directory: "
        f"'{store.folder / 'runs'}/{result.err.partition('/runs/')[2][:8]}'"
    )
    assert cli(*RUN, "-o", "b.note", "-q", "--cache").code == 1


def test_a_run_that_failed_goes_on_where_it_stopped(cli: Cli) -> None:
    """With the command that its last line names."""
    Path("broken").touch()
    failed = cli(*RUN, "-o", "a.note", "-q")
    assert failed.code == 1
    command = failed.err.splitlines()[-1].partition("to go on: stagegraph ")[2]
    assert re.fullmatch(r"resume [0-9a-f]{8}", command)
    assert cli(*command.split()).err.splitlines()[-1] == f"to go on: stagegraph {command}"
    Path("broken").unlink()
    assert cli(*command.split()).err == "reused   say\ndone     write  0.0 s\n"
    assert Path("a.note").read_text().startswith("a fox")


def test_a_run_that_is_interrupted_before_its_first_step_goes_on_too(cli: Cli) -> None:
    """While weights are looked at for the keys of its nodes; before that there is nothing to go on with."""
    Path("patience").write_text("1")
    early = cli(*RUN, "-o", "a.note", "-q")
    assert (early.code, early.err) == (130, "error[cancelled]: the run was interrupted\n")
    Path("patience").write_text("2")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    words = [sys.executable, "-m", "stagegraph", *RUN, "-o", "a.note", "-q"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    told, command = done.stderr.splitlines()
    assert told == "error[cancelled]: the run was interrupted"
    assert cli(*command.removeprefix("to go on: stagegraph ").split()).out == "a.note\n"


def test_what_has_not_begun_is_not_gone_on_with(cli: Cli) -> None:
    """Preflight refuses: there is nothing to take up."""
    Path("out").write_text("a file")
    result = cli(*RUN, "-o", "out/a.note", "-q")
    assert (result.code, result.err.splitlines()[0]) == (
        2,
        "m.yaml:10:3: error[unwritable]: write cannot write out/a.note",
    )
    assert "to go on" not in result.err


def test_a_resumed_run_is_given_what_it_was_given(cli: Cli) -> None:
    """Values of ports too, which the record holds."""
    Path("broken").touch()
    assert cli(*RUN, "--given", "say.output=a word", "-o", "a.note", "-q").code == 1
    Path("broken").unlink()
    assert cli("resume").out == "a.note\n"
    assert Path("a.note").read_text().startswith("a word")


def test_sweeps_share_what_is_kept(cli: Cli) -> None:
    """A larger sweep runs only what is new."""
    Path("a.txt").write_text("one\ntwo\n")
    Path("b.txt").write_text("one\ntwo\nthree\n")
    assert cli("run", "m.yaml", "-i", "text=@a.txt", "-q").code == 0
    lines = cli("run", "m.yaml", "-i", "text=@b.txt").err.splitlines()
    assert [line for line in lines if "say" in line] == [
        "reused   say/text-one",
        "reused   say/text-two",
        "done     say/text-three  0.0 s",
    ]
    assert sum(line.startswith("done     write/") for line in lines) == 3


def test_the_path_of_the_only_writer_is_set_by_o(cli: Cli) -> None:
    """One of those that run: the others do not count."""
    other = "  other: {stage: notes.write, inputs: {text: inputs.text}}\noutputs:\n  other: other\n"
    Path("m.yaml").write_text(Path("m.yaml").read_text().replace("outputs:\n", other))
    result = cli(*RUN, "-o", "a.note")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error[no_writer]: -o names one file, but 2 nodes write one: write, other\n"
        "  fix: leave it out, and they go to the run's folder; or --set write.path=... --set other.path=...\n"
    )
    assert cli(*RUN, "-o", "a.note", "--target", "note", "-q").out == "a.note\n"
    assert cli(*RUN, "-o", "a.note", "--target", "say").err == (
        "error[no_writer]: -o names a file, but no node of the run writes one\n"
    )
    assert cli(*RUN, "-o", "a.txt", "--target", "note").err == (
        "-o: error[invalid_value]: write (notes.write): path is a.txt: must end in .note\n"
    )
    assert cli(*RUN, "-o", "a.note", "--set", "write.path=b.note", "--target", "note").err == (
        "error[usage]: -o and --set write.path both say where write writes\n  fix: keep one of them\n"
    )
    Path("texts.txt").write_text("one\ntwo\n")
    assert cli("run", "m.yaml", "-i", "text=@texts.txt", "-o", "a.note", "--target", "note/text-one").out == "a.note\n"
    assert cli("run", "m.yaml", "-i", "text=@texts.txt", "-o", "a.note").err == (
        "error[no_writer]: -o names one file, but 4 nodes write one: write/text-one, write/text-two, other/text-one, "
        "other/text-two\n"
        "  fix: leave it out, and they go to the run's folder\n"
    )


def test_diff_takes_files_and_runs_in_any_mix(cli: Cli) -> None:
    """Params, inputs, weights, versions and wires as named changes."""
    assert cli(*RUN, "-o", "a.note", "-q").code == 0
    Path("weights").write_text("beef")
    Path("device").write_text("cpu")
    assert cli("run", "m.yaml", "-i", "text=a dog", "-o", "b.note", "-q", "--set", "say.times=2").code == 0
    expected = (
        "    say: params.times: 1 -> 2\n"
        '    say: inputs.text: "a fox" -> "a dog"\n'
        "    say: components.model.fingerprint: f00d -> beef\n"
        "    say: components.model.device: none -> cpu\n"
        '    write: params.path: "a.note" -> "b.note"\n'
    )
    for second in ("b.note", "last"):
        assert cli("diff", "a.note", second).out == expected
    assert cli("diff", "b.note", "last").out == "their records tell the same\n"
    found = record(Path("a.note"))
    found["versions"]["python"] = "3.1"
    found["manifest"]["nodes"]["extra"] = {"stage": "notes.hold@1", "inputs": {"handle": "say.output"}}
    found["manifest"]["nodes"]["write"]["inputs"] = {"text": "inputs.text"}
    found["given"] = {"say.inputs.text": "x"}
    Path("c.json").write_text(json.dumps(found))
    python = record(Path("a.note"))["versions"]["python"]
    assert cli("diff", "c.json", "a.note").out == (
        f"    say, write: versions.python: 3.1 -> {python}\n"
        '    say: given.inputs.text: "x" -> none\n'
        '    write: inputs.text: "a fox" -> say.output\n'
        "    extra: only in c.json\n"
    )
    causes = cli("diff", "a.note", "b.note", "--json").lines[0]["data"]["causes"]
    assert causes[0] == {"change": {"name": "params.times", "old": "1", "new": "2"}, "nodes": ["say"]}


def test_show_takes_files(cli: Cli) -> None:
    """What the record tells: inputs, weights, versions."""
    assert cli(*RUN, "-o", "a.note", "-q").code == 0
    found = record(Path("a.note"))
    lines = cli("show", "a.note").out.splitlines()
    assert lines[:3] == [f"{found['id']}  notes/say  {found['created']}", "    text: a fox", "model: f00d"]
    assert "stagegraph-notes 1.5" in lines
    assert cli("show", "a.note", "--json").lines[0]["data"]["record"] == found


def test_the_oldest_runs_are_forgotten(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their folders, a tenth at a time."""
    monkeypatch.setattr(stored, "MOST_RUNS", 10)
    for _ in range(12):
        assert cli(*RUN, "-q", "--target", "say").code == 0
    with Store() as store:
        kept = stored.recent(store, 100)
        assert len(kept) == 11  # the limit, and the one that had just begun
        assert {path.name for path in (store.folder / "runs").iterdir()} == {row.id for row in kept}


def record(path: Path) -> dict:
    """The record in a note."""
    return json.loads(path.read_bytes().partition(b"\n--record--\n")[2])
