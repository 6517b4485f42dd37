"""`stagegraph session`: a session in a folder, from the command line."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from .conftest import Cli

GROWING = """\
stagegraph: 1
name: notes/grow
inputs:
  text: {type: str}
  before: {type: str, default: ""}
  mood: {type: str, default: calm}
components:
  model: {kind: notes.voice}
nodes:
  said: {stage: notes.say, inputs: {text: inputs.text}}
  joined: {stage: notes.join, inputs: {first: inputs.before, second: said}}
  write: {stage: notes.write, inputs: {text: joined}}
outputs:
  note: write
  all: joined
carry: {before: outputs.all}
"""

JOIN = '''
@sg.stage("notes.join", version=1)
def join(first: str, second: str) -> str:
    """One after the other."""
    if second == "broken":
        raise OSError("the line is broken")
    return f"{first}|{second}"
'''


@pytest.fixture(autouse=True)
def _growing(cli: Cli, tmp_path: Path) -> None:
    plugin = tmp_path / "stagegraph_notes.py"
    source = plugin.read_text().replace("return [Say, hold", "return [join, Say, hold")
    plugin.write_text(source.replace('@sg.stage("notes.hold"', f'{JOIN}\n@sg.stage("notes.hold"', 1))
    (tmp_path / "grow.yaml").write_text(GROWING)


def note(index: int, folder: str = "film") -> str:
    """What a segment wrote."""
    return Path(folder, f"segment-{index:04d}", "write.note").read_text()


def test_a_session_grows(cli: Cli) -> None:
    """Segments go on from each other, in this call and the next; the files are printed."""
    begun = cli("session", "start", "grow.yaml", "film", "-i", "mood=wild", "--set", "said.times=2")
    assert (begun.code, begun.out) == (0, "film: a session of notes/grow\n")
    made = cli("session", "extend", "film", "one", "two")
    assert made.out == "film/segment-0000/write.note\nfilm/segment-0001/write.note\n"
    assert cli("session", "extend", "film", "-i", "text=three", "-q").out == "film/segment-0002/write.note\n"
    assert [note(i) for i in range(3)] == ["|one one", "|one one|two two", "|one one|two two|three three"]
    shown = cli("session", "show", "film").out
    assert re.fullmatch(
        r"film: notes/grow, 3 segments, since \S+\n"
        r"     0  text 'one'\n     1  text 'two'\n     2  text 'three'\n",
        shown,
    )


def test_a_file_of_prompts(cli: Cli) -> None:
    """A segment a line."""
    Path("words").write_text("one\ntwo\n")
    cli("session", "start", "grow.yaml", "film")
    assert cli("session", "extend", "film", "-i", "text=@words", "--json").lines[-1]["data"] == {
        "session": "film",
        "segments": [
            {
                "index": i,
                "outputs": {"note": f"film/segment-000{i}/write.note", "all": ["|one", "|one|two"][i]},
                "files": ["write.note"],
            }
            for i in range(2)
        ],
        "joined": [],
    }


def test_a_snapshot_goes_on_in_another_folder(cli: Cli) -> None:
    """With its number and its inputs; both make the same."""
    cli("session", "start", "grow.yaml", "film", "-i", "mood=wild")
    cli("session", "extend", "film", "one")
    assert cli("session", "snapshot", "film", "-o", "state.json").code == 0
    assert json.loads(cli("session", "snapshot", "film").out) == json.loads(Path("state.json").read_text())
    begun = cli("session", "start", "grow.yaml", "other", "--from", "state.json")
    assert begun.out == "other: a session of notes/grow after 1 segments\n"
    assert json.loads(Path("other/state.json").read_text())["inputs"] == {"mood": "wild"}
    for folder in ("film", "other"):
        assert cli("session", "extend", folder, "two").out == f"{folder}/segment-0001/write.note\n"
    assert note(1) == note(1, "other") == "|one|two"


def test_an_error_that_passes_leaves_the_rest_pending(cli: Cli) -> None:
    """What is done stays; resume makes the rest, and nothing else is begun before."""
    cli("session", "start", "grow.yaml", "film")
    Path("broken").touch()
    failed = cli("session", "extend", "film", "one", "two")
    assert failed.code == 1
    assert "OSError: the disk is broken" in failed.err
    assert "to go on: stagegraph session resume film" in failed.err
    assert cli("session", "show", "film").out.endswith(
        "  pending  text 'one'\n  pending  text 'two'\nto go on: stagegraph session resume film\n"
    )
    refused = cli("session", "extend", "film", "three")
    assert (refused.code, refused.err.splitlines()[0]) == (
        2,
        "error[pending]: 2 segments that were asked for are not done",
    )
    Path("broken").unlink()
    assert cli("session", "resume", "film").out == "film/segment-0000/write.note\nfilm/segment-0001/write.note\n"
    assert cli("session", "resume", "film").out == "film: nothing is pending\n"
    assert note(1) == "|one|two"


def test_what_is_pending_can_be_given_up(cli: Cli) -> None:
    """And the session goes on otherwise."""
    cli("session", "start", "grow.yaml", "film")
    assert cli("session", "extend", "film", "one", "broken", "two").code == 1
    assert cli("session", "resume", "film", "--forget").code == 0
    assert cli("session", "extend", "film", "three").out == "film/segment-0001/write.note\n"
    assert note(1) == "|one|three"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["extend", "film"], "error[missing_input]: notes/grow needs a value for its input text (str)"),
        (["extend", "film", "-i", "txt=a"], 'error[unknown_input]: notes/grow has no input "txt"'),
        (["extend", "film", "a", "-i", "text=b"], "error[usage]: it is not clear which input the values are for"),
        (
            ["extend", "film", "a", "b", "-i", "mood=@words"],
            "error[usage]: inputs have different numbers of values: mood has 3, text has 2",
        ),
        (["extend", "none", "a"], "error[no_session]: none is no session: session.json cannot be read: "),
        (["start", "m.yaml", "x"], "error[no_carry]: notes/say carries nothing from one run to the next"),
        (["start", "grow.yaml", "film"], "error[folder_taken]: film is not empty"),
        (["start", "grow.yaml", "x", "-i", "mod=a"], 'error[unknown_input]: notes/grow has no input "mod"'),
        (["start", "grow.yaml", "x", "--from", "words"], "error[invalid_json]: the snapshot: it is not JSON"),
        (
            ["start", "grow.yaml", "x", "--set", "write.path=a.note"],
            "error[unwritable]: write writes to a.note, so that each segment would write over the one before",
        ),
        (["snapshot", "none"], "error[usage]: none/state.json cannot be read: "),
    ],
)
def test_what_cannot_be_done(cli: Cli, words: list[str], text: str) -> None:
    """Nothing is begun, and nothing stays pending."""
    cli("session", "start", "grow.yaml", "film")
    Path("words").write_text("1\n2\n3\n")
    refused = cli("session", *words)
    assert refused.code == 2
    assert refused.err.startswith(text)
    assert not Path("film/pending.json").exists()
    assert not Path("x").exists()


@pytest.mark.parametrize("file", ["session.json", "state.json"])
@pytest.mark.parametrize("content", ["", "{}", "[]", '{"segments": 1}', "\0"])
def test_a_damaged_folder(cli: Cli, file: str, content: str) -> None:
    """Is refused with the file's name."""
    cli("session", "start", "grow.yaml", "film")
    Path("film", file).write_text(content)
    refused = cli("session", "extend", "film", "one")
    assert refused.code == 2
    assert f"film/{file}" in refused.err


def test_two_at_once_are_refused(cli: Cli) -> None:
    """The second does nothing."""
    cli("session", "start", "grow.yaml", "film")
    other = sqlite3.connect("film/lock", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    refused = cli("session", "extend", "film", "one")
    other.close()
    assert refused.err.startswith("error[session_busy]: another process makes segments of film")
    assert cli("session", "extend", "film", "one").code == 0
