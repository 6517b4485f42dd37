"""`strip`: the record goes, the rest stays; a file is replaced whole or not at all. `--no-metadata` has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Cli

SECRET = "a red fox in the snow"


@pytest.fixture
def note(cli: Cli) -> Path:
    """A note with a record."""
    assert cli("run", "m.yaml", "-i", f"text={SECRET}", "-o", "fox.note", "-q").code == 0
    path = Path("fox.note")
    path.write_bytes(path.read_bytes().replace(SECRET.encode(), b"(the note)", 1))
    return path


def test_a_file_is_replaced_by_one_without_its_record(cli: Cli, note: Path) -> None:
    """With the same permissions, through a link, and with nothing left beside it."""
    note.chmod(0o640)
    Path("link.note").symlink_to(note)
    before = set(Path().iterdir())
    result = cli("strip", "link.note")
    assert (result.code, result.err) == (0, "")
    assert result.out == "link.note: the run record and all other tags are gone\n"
    assert note.read_bytes() == b"(the note)"
    assert (note.stat().st_mode & 0o777, Path("link.note").is_symlink()) == (0o640, True)
    assert set(Path().iterdir()) == before
    assert cli("strip", "fox.note").out == "fox.note: there was no run record; all tags are gone\n"
    assert cli("rerun", "fox.note").err.startswith("fox.note: error[no_record]: the file carries no run record\n")


def test_another_file_leaves_the_first_as_it_is(cli: Cli, note: Path) -> None:
    """And records beside it are pointed at."""
    old = note.read_bytes()
    Path("fox.run.json").write_text("{}")
    result = cli("strip", "fox.note", "-o", "clean.note")
    assert (result.out, result.err) == (
        "clean.note: the run record and all other tags are gone\n",
        "fox.run.json still holds the record\n",
    )
    assert (note.read_bytes(), Path("clean.note").read_bytes()) == (old, b"(the note)")
    data = cli("strip", "fox.note", "-o", "clean.note", "--json").lines[0]["data"]
    assert data == {"file": "clean.note", "had_record": True, "records_beside": ["fox.run.json"]}


@pytest.mark.parametrize("form", [SECRET, json.dumps(SECRET)[1:-1], "x" + SECRET])
def test_what_is_still_in_the_file_is_told_and_nothing_is_written(cli: Cli, note: Path, form: str) -> None:
    """A program may have copied a prompt to where no reader of tags looks."""
    note.write_bytes(note.read_bytes().replace(b"(the note)", form.encode()))
    old = note.read_bytes()
    result = cli("strip", "fox.note")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "fox.note: error[record_remains]: the text of inputs.text is still in the file without its tags, "
        f"{len(form) - len(SECRET)} bytes in\n"
        "  why: a program has put it somewhere else, as into subtitles; nothing was written\n"
    )
    assert note.read_bytes() == old
    assert not list(Path().glob(".*.tmp"))


def test_a_record_that_is_no_json_can_be_taken_out(cli: Cli) -> None:
    """Whatever it is; it is looked for all the same."""
    Path("odd.note").write_bytes(b"hello\n--record--\n{not json, but long enough")
    assert cli("strip", "odd.note").code == 0
    assert Path("odd.note").read_bytes() == b"hello"
    Path("odd.note").write_bytes(b"\n--record--\n{not json, but long enough")
    assert cli("strip", "odd.note").code == 0
    assert Path("odd.note").read_bytes() == b""
    Path("odd.note").write_bytes(b"{not json, but\n--record--\n{not json, but")
    assert cli("strip", "odd.note").err.startswith("odd.note: error[record_remains]: the text of the record is still")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["absent.note"], "error[no_record]: absent.note cannot be read: there is no such file\n"),
        (
            ["m.yaml"],
            (
                "m.yaml: error[no_record]: files that end in .yaml carry no run record\n"
                "  fix: name a file that ends in .m4v, .mov, .mp4, .note\n"
            ),
        ),
        (
            ["fox.note", "-o", "absent/clean.note"],
            "error[unwritable]: {here}/absent/clean.note cannot be written: No such file or directory\n",
        ),
        (["fox.note", "-o", "."], "error[unwritable]: {here} cannot be written: Is a directory\n"),
    ],
    ids=["absent", "kind", "folder", "directory"],
)
def test_what_cannot_be_stripped_is_told(cli: Cli, note: Path, args: list[str], text: str, tmp_path: Path) -> None:
    """The whole text."""
    old = note.read_bytes()
    result = cli("strip", *args)
    assert (result.code, result.out, result.err) == (2, "", text.format(here=tmp_path))
    assert note.read_bytes() == old


def test_no_metadata_writes_files_without_records(cli: Cli) -> None:
    """Of `run` and of `rerun`."""
    assert cli("run", "m.yaml", "-i", f"text={SECRET}", "-o", "a.note", "-q", "--no-metadata").code == 0
    assert Path("a.note").read_text() == SECRET
    assert cli("rerun", "last", "-o", "b.note", "-q", "--no-metadata").code == 0
    assert Path("b.note").read_text() == SECRET
    assert cli("rerun", "last", "-o", "c.note", "-q", "--set", "write.embed_record=true").code == 0
    assert b"--record--" in Path("c.note").read_bytes()
