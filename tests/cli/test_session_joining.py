"""What the segments of a session leave becomes one file: one that grows, and one that is exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stagegraph import plugins
from stagegraph.sessions.folder import SessionFolder

from .conftest import Cli
from .test_session import JOIN

GROWING = """\
stagegraph: 1
name: notes/grow
inputs:
  text: {type: str}
  before: {type: str, default: ""}
nodes:
  joined: {stage: notes.join, inputs: {first: inputs.before, second: inputs.text}}
  write: {stage: notes.write, inputs: {text: inputs.text}}
  again: {stage: notes.write, inputs: {text: joined}}
outputs:
  note: write
  all: joined
carry: {before: outputs.all}
"""

GLUE = '''
from stagegraph.errors import Fault, StagegraphError
@sg.stage("notes.glue", version=1, cache=False)
class Glue:
    """Notes, one after the other."""
    path: str = sg.param()
    between: str = sg.param(default=" ")
    def writes(self):
        return [self.path]
    def run(self, *parts: str) -> str:
        Path(self.path).write_text(self.between.join(Path(part).read_text() for part in parts))
        return self.path

def grow(file, parts):
    if Path("unfit").exists():
        raise StagegraphError(Fault("notes.unfit", "the notes do not fit"))
    if parts[0].read_text() == "loose":
        return False
    file.write_text("".join(part.read_text() for part in parts))
    return True

@sg.hookimpl
def stagegraph_joiners():
    return [sg.Joiner((".note",), Glue, grow)]
'''


@pytest.fixture(autouse=True)
def _joining(cli: Cli, tmp_path: Path) -> None:
    plugin = tmp_path / "stagegraph_notes.py"
    source = plugin.read_text().replace("return [Say, hold", "return [join, Glue, Say, hold")
    source = source.replace(
        "import stagegraph as sg",
        "import stagegraph as sg\nimport stagegraph.errors\nsg.Fault = stagegraph.errors.Fault",
    )
    plugin.write_text(source.replace('@sg.stage("notes.hold"', f'{JOIN}\n{GLUE}\n@sg.stage("notes.hold"', 1))
    (tmp_path / "grow.yaml").write_text(GROWING)
    cli("session", "start", "grow.yaml", "film")


def test_a_file_of_all_segments_grows(cli: Cli) -> None:
    """In the session's folder, under the name of the output; it is told after the segments."""
    made = cli("session", "extend", "film", "a", "b")
    assert made.out == "film/segment-0000/write.note\nfilm/segment-0001/write.note\nfilm/note.note\n"
    assert Path("film/note.note").read_text() == "ab"
    told = cli("session", "extend", "film", "c", "--json").lines[-1]["data"]
    assert told["joined"] == ["film/note.note"]
    assert Path("film/note.note").read_text() == "abc"


def test_it_is_brought_up_to_date_after_a_crash(cli: Cli) -> None:
    """One between the end of a segment and the growing: by resume, and by the next segment."""
    cli("session", "extend", "film", "a", "b", "--no-join")
    assert not Path("film/note.note").exists()
    assert cli("session", "resume", "film").out == "film: nothing is pending\nfilm/note.note\n"
    assert Path("film/note.note").read_text() == "ab"
    Path("film/note.note").write_text("a")
    cli("session", "extend", "film", "c")
    assert Path("film/note.note").read_text() == "abc"


def test_files_that_cannot_grow_stay_apart(cli: Cli) -> None:
    """And are exported all the same."""
    assert cli("session", "extend", "film", "loose").out == "film/segment-0000/write.note\n"
    assert not Path("film/note.note").exists()
    assert cli("session", "export", "film", "-o", "all.note", "-q").out == "all.note\n"
    assert Path("all.note").read_text() == "loose"


def test_segments_that_do_not_fit_are_told(cli: Cli) -> None:
    """The segment is made; the next ones can be made without."""
    Path("unfit").touch()
    failed = cli("session", "extend", "film", "a", "b")
    assert failed.code == 1
    assert "error[notes.unfit]: the notes do not fit" in failed.err
    assert "to go on: stagegraph session resume film" in failed.err
    assert len(json.loads(cli("session", "show", "film", "--json").out)["data"]["segments"]) == 1
    assert cli("session", "resume", "film", "--no-join").out == "film/segment-0001/write.note\n"


def test_segments_are_exported(cli: Cli) -> None:
    """In their order, with the settings of what joins them; also where the folder was moved to."""
    cli("session", "extend", "film", *"abcdefghijkl")
    shutil.move("film", "moved")
    assert cli("session", "export", "moved", "-o", "all.note", "-q").out == "all.note\n"
    assert Path("all.note").read_text() == "a b c d e f g h i j k l"
    told = cli("session", "export", "moved", "-o", "all.note", "--set", "between=-", "--output", "note", "--json")
    assert told.lines[-1]["data"]["outputs"] == {"note": "all.note"}
    assert Path("all.note").read_text() == "a-b-c-d-e-f-g-h-i-j-k-l"


def test_a_session_that_goes_on_with_another_has_its_own_segments(cli: Cli) -> None:
    """Those of before are elsewhere."""
    cli("session", "extend", "film", "a")
    cli("session", "snapshot", "film", "-o", "state.json")
    cli("session", "start", "grow.yaml", "other", "--from", "state.json")
    cli("session", "extend", "other", "b", "c")
    assert Path("other/note.note").read_text() == "bc"
    shutil.rmtree("other/segment-0001")
    refused = cli("session", "export", "other", "-o", "x.note")
    assert refused.err.startswith(
        "other/segment-0001/segment.json: error[no_segment]: segment 1 of other has no file of the output note"
    )


@pytest.mark.parametrize("lost", ["write.note", "segment.json", "."])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_segment_that_is_missing_is_told_before_any_work(cli: Cli, lost: str, index: int) -> None:
    """By export, and before the next one is made."""
    cli("session", "extend", "film", "a", "b", "c")
    home = Path(f"film/segment-000{index}")
    shutil.move(home / lost, "lost") if lost != "." else shutil.move(home, "lost")
    for words in (["export", "film", "-o", "all.note"], ["extend", "film", "d"]):
        refused = cli("session", *words)
        assert refused.code == 2
        assert f"error[no_segment]: segment {index} of film has no file of the output note" in refused.err
    assert not Path("all.note").exists()
    assert json.loads(Path("film/state.json").read_text())["segments"] == 3
    assert cli("session", "extend", "film", "d", "--no-join").code == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-o", "all.mp3"], "error[no_joiner]: no installed plugin joins segments to all.mp3\n  fix: name a file"),
        (["-o", "film"], "error[no_joiner]: no installed plugin joins segments to film\n  fix: name a file that"),
        (["-o", "x.note", "--output", "nte"], 'error[unknown_output]: notes/grow has no output "nte"\n  fix: did you'),
        (
            ["-o", "x.note", "--output", "all"],
            "error[no_joiner]: the segments left no such files\n  why: their outputs",
        ),
        (["-o", "x.note", "--set", "betwen=x"], "nodes.join.params.betwen: error[unknown_param]: join (notes.glue)"),
    ],
)
def test_what_cannot_be_exported(cli: Cli, words: list[str], text: str) -> None:
    """With what to do."""
    cli("session", "extend", "film", "a")
    refused = cli("session", "export", "film", *words)
    assert refused.code == 2
    assert refused.err.startswith(text)


def test_a_session_without_segments_has_nothing_to_export(cli: Cli) -> None:
    """Nor has a folder that is none."""
    assert cli("session", "export", "film", "-o", "all.note").err == "error[no_segment]: film has no segments yet\n"
    assert cli("session", "export", "none", "-o", "all.note").err.startswith("error[no_session]: none is no session")


def test_files_outside_of_a_segment_are_none_of_it(cli: Cli, tmp_path: Path) -> None:
    """Whatever the folder says that somebody gave us."""
    cli("session", "extend", "film", "a")
    secret = tmp_path / "secret.note"
    secret.write_text("secret")
    told = Path("film/segment-0000/segment.json")
    made = json.loads(told.read_text())
    for file in ("../../secret.note", str(secret)):
        made["files"], made["outputs"]["note"] = [file], f"segment-0000/{file}"
        told.write_text(json.dumps(made))
        assert SessionFolder(Path("film"), plugins.fill(plugins.discover())).files() == {}
