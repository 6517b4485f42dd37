"""A new plugin gets names that work, in a folder of its own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from stagegraph.cli.app import call
from stagegraph.errors import CODES, UsageError
from stagegraph.scaffold import Project, compatible, write

SHAPE = 'ASCII letters, digits, "-", "_" and ".", with a letter or digit at both ends'
WORD = "it must start with a letter and be no word of Python"
MISTAKES = {
    "a b": ('"a b" cannot be the name of a distribution', SHAPE),
    "": ('"" cannot be the name of a distribution', SHAPE),
    "../sepia": ('"../sepia" cannot be the name of a distribution', SHAPE),
    "sepia-": ('"sepia-" cannot be the name of a distribution', SHAPE),
    "füchse": ('"füchse" cannot be the name of a distribution', SHAPE),
    "stagegraph-3d": ('"3d" cannot be the name of a plugin, with which its stage ids begin', WORD),
    "class": ('"class" cannot be the name of a plugin, with which its stage ids begin', WORD),
    "json": ('"json" cannot be used', '"json" is taken'),
    "stagegraph": ('"stagegraph" cannot be used', '"stagegraph" is taken'),
    "Stagegraph_Stagegraph": ('"Stagegraph_Stagegraph" cannot be used', '"stagegraph" is taken'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    """With the rule, before anything is written."""
    with pytest.raises(UsageError) as caught:
        Project.named(name)
    what, why = MISTAKES[name]
    assert str(caught.value) == (
        f"error[invalid_name]: {what}\n  why: {why}\n  fix: use a name such as stagegraph-sepia"
    )


def test_the_name_of_an_installed_plugin_is_refused() -> None:
    """Two plugins of one name could not be used together."""
    with pytest.raises(UsageError) as caught:
        Project.named("media")
    assert str(caught.value) == (
        'error[plugin_conflict]: there is a plugin "media" already, of stagegraph-media 0.1.0\n'
        "  fix: use another name, or uninstall stagegraph-media"
    )


def test_names_follow_from_that_of_the_distribution() -> None:
    """The package is its normal form, the plugin the package without the prefix."""
    project = Project.named("Stagegraph.Film_Grain")
    assert (project.package, project.plugin) == ("stagegraph_film_grain", "film_grain")
    assert Project.named("acme").plugin == "acme"


@pytest.mark.parametrize(
    ("version", "range"),
    [("0.1.0", ">=0.1,<0.2"), ("0.9.3", ">=0.9,<0.10"), ("1.0.0", ">=1.0,<2"), ("2.7.1rc1", ">=2.7,<3")],
)
def test_the_engine_is_required_in_the_range_that_keeps_its_interface(version: str, range: str) -> None:
    """The next minor version may break before 1.0, the next major version after."""
    assert compatible(version) == range


@pytest.mark.parametrize("media", [False, True])
def test_the_project_requires_what_its_stages_need(tmp_path: Path, media: bool) -> None:
    """The engine alone, unless it works on frames."""
    files = write(Project.named("stagegraph-sepia", media=media), tmp_path / "new" / "sepia")
    assert all(path.is_file() and "$" not in path.read_text().replace("$ ", "") for path in files)
    project = tomllib.loads((tmp_path / "new" / "sepia" / "pyproject.toml").read_text())["project"]
    more = ["stagegraph-media>=0.1,<0.2", "numpy>=1.26"] if media else []
    assert project["dependencies"] == ["stagegraph>=0.1,<0.2", *more]
    assert project["entry-points"] == {"stagegraph.plugins": {"sepia": "stagegraph_sepia.plugin"}}


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a file of that name, and a place that cannot be written to; an empty folder is used."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    why = {"full": "exists and is not an empty folder", "file": "exists and is not an empty folder"}
    for name, told in {**why, "file/below": "cannot be written to: Not a directory"}.items():
        folder = tmp_path / name
        assert call(["plugins", "new", "stagegraph-sepia", "--directory", str(folder)]) == 2
        assert (
            capsys.readouterr().err == f"error[folder_taken]: {folder} {told}\n  fix: give another with --directory\n"
        )
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert call(["plugins", "new", "stagegraph-sepia", "--directory", str(tmp_path / "empty")]) == 0
    assert {"folder_taken", "invalid_name", "plugin_conflict"} <= CODES.keys()


def test_what_was_written_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path a line on stdout, what to type next on stderr."""
    monkeypatch.chdir(tmp_path)
    assert call(["plugins", "new", "stagegraph-echo"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1] == str(Path("stagegraph-echo/pyproject.toml"))
    assert all(Path(line).is_file() for line in printed.out.splitlines())
    assert printed.err == 'next: cd stagegraph-echo && pip install -e ".[test]" && pytest\n'
