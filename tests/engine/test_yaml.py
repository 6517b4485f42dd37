"""YAML 1.2 and JSON are read strictly, within limits, with the place of everything."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.errors import ManifestError
from stagegraph.yaml import Document, Limits, parse_value, read, rewrite, typed

MANIFEST = """\
# a comment
stagegraph: 1
name: fox
inputs:
  prompt: {type: str}   # what to paint
nodes:
  paint:
    stage: fake.paint
    params: {frames: 49, style: "oil"}
    inputs:
      prompt: inputs.prompt
outputs:
  image: paint
"""


def error_of(text: str, limits: Limits | None = None) -> str:
    """The whole text of the error that reading gives."""
    with pytest.raises(ManifestError) as caught:
        read(text, "a.yaml", limits)
    return str(caught.value)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("3.5", 3.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.5e1", -5.0),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("tRue", "tRue"),
        ("16:9", "16:9"),
        ("1:30:00", "1:30:00"),
        ("012", "012"),
        ("-012", "-012"),
        ("012.5", "012.5"),
        ("0o14", "0o14"),
        ("0x1f", "0x1f"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("2001-12-14", "2001-12-14"),
        ("2001-99-99", "2001-99-99"),
        ("=", "="),
        ("e5", "e5"),
        (".", "."),
        ("--", "--"),
        ('"3"', "3"),
        ("'true'", "true"),
        ("|\n  3\n", "3\n"),
        (">-\n  a\n  b\n", "a b"),
        ('"\\u00e4\\/\\t"', "ä/\t"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\U0001F600"', "😀"),
        ("[1, [], {}]", [1, [], {}]),
    ],
)
def test_scalars_are_those_of_the_core_schema(scalar: str, value: Any) -> None:
    """Only null, true, false and decimal numbers are not text; nothing of YAML 1.1 is."""
    read_value = read(f"a: {scalar}", "a.yaml").data["a"]
    assert read_value == value
    assert type(read_value) is type(value)


def test_keys_are_text() -> None:
    """A key is its text, whatever it looks like."""
    assert read("1: a\ntrue: b\nnull: c\n'': d\n1.5: e", "a.yaml").data == {
        "1": "a",
        "true": "b",
        "null": "c",
        "": "d",
        "1.5": "e",
    }


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_an_empty_document_is_null(text: str) -> None:
    """No data is null, not an error of the reader."""
    assert read(text, "a.yaml").data is None


def test_every_key_and_value_has_its_place() -> None:
    """Paths lead to lines and columns, counted from 1; what the text lacks has the place above it."""
    document = read(MANIFEST, "fox.yaml")
    assert str(document.locate(())) == "fox.yaml:2:1"
    assert str(document.locate(("nodes", "paint", "params", "style"))) == "fox.yaml:9:33"
    assert str(document.locate(("nodes", "paint", "params", "style"), at_key=True)) == "fox.yaml:9:26"
    assert str(document.locate(("nodes", "paint", "params", "size"))) == "fox.yaml:9:13"
    assert str(document.locate(("nodes", "sketch", "stage"))) == "fox.yaml:7:3"
    assert str(read("- a\n- [b, c]\n", "l.yaml").locate((1, 1))) == "l.yaml:2:7"
    assert str(read("", "empty.yaml").locate(("nodes",))) == "empty.yaml"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "a: &x 1\nb: *x\n",
            "a.yaml:1:4: error[syntax]: anchors and aliases are not used here\n  fix: write the value out",
        ),
        ("a: *x\n", "a.yaml:1:4: error[syntax]: anchors and aliases are not used here\n  fix: write the value out"),
        ("&a [*a]", "a.yaml:1:1: error[syntax]: anchors and aliases are not used here\n  fix: write the value out"),
        ("&k a: 1", "a.yaml:1:1: error[syntax]: anchors and aliases are not used here\n  fix: write the value out"),
        (
            "a: !!int 3",
            "a.yaml:1:4: error[syntax]: tags such as tag:yaml.org,2002:int are not used here\n  fix: remove the tag",
        ),
        (
            "a: !!py/x",
            "a.yaml:1:4: error[syntax]: tags such as tag:yaml.org,2002:py/x are not used here\n  fix: remove the tag",
        ),
        ("!x {a: 1}", "a.yaml:1:1: error[syntax]: tags such as !x are not used here\n  fix: remove the tag"),
        ("a:\n  <<: {b: 1}\n", "a.yaml:2:3: error[syntax]: merge keys are not used here\n  fix: write the values out"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2:1: error[syntax]: the file holds more than one document"),
        ("%YAML 1.1\n---\na: no\n", "a.yaml:2:1: error[syntax]: the document says that it is not YAML 1.2"),
        ("? [a]\n: 1", "a.yaml:1:3: error[syntax]: a key must be a plain word or a quoted string"),
        ("{{a: 1}: 2}", "a.yaml:1:2: error[syntax]: a key must be a plain word or a quoted string"),
        ("a: [1, 2", "a.yaml:1:9: error[syntax]: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c", "a.yaml:1:5: error[syntax]: mapping values are not allowed here"),
        ("a:\n\tb: 1", "a.yaml:2:1: error[syntax]: found character '\\t' that cannot start any token"),
        ('a: "x', "a.yaml:1:6: error[syntax]: found unexpected end of stream"),
        ('a: "\\q"', "a.yaml:1:6: error[syntax]: found unknown escape character 'q'"),
        ('a: "\\ud800"', "a.yaml:1:4: error[syntax]: a text holds half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"', "a.yaml: error[syntax]: Python int too large to convert to C int"),
        ("a: .inf", "a.yaml:1:4: error[invalid_value]: .inf is not a finite number"),
        ("a: -.INF", "a.yaml:1:4: error[invalid_value]: -.INF is not a finite number"),
        ("a: .nan", "a.yaml:1:4: error[invalid_value]: .nan is not a finite number"),
        ("a: 1e400", "a.yaml:1:4: error[invalid_value]: 1e400 is not a finite number"),
    ],
)
def test_what_manifests_exclude_is_refused_where_it_stands(text: str, error: str) -> None:
    """Each excluded feature and each malformed text is an error with its place."""
    assert error_of(text) == error


@pytest.mark.parametrize(
    ("text", "place", "code"),
    [
        ("a: 1\nb: x\x00", "2:5", "0000"),
        ("a: x\u2028y", "1:5", "2028"),
        ('"\x7f"', "1:2", "007F"),
        ("\ud800", "1:1", "D800"),
    ],
)
def test_what_yaml_cannot_hold_as_it_is_must_be_escaped(text: str, place: str, code: str) -> None:
    """Control characters, and line breaks of other standards, are refused with what to type instead."""
    assert error_of(text) == (
        f"a.yaml:{place}: error[syntax]: the text holds the unprintable character U+{code}\n"
        f'  fix: write it as "\\u{code.lower()}", in double quotes'
    )


def test_every_duplicate_key_is_told() -> None:
    """Duplicates are reported all at once; two wires into one input are called what they are."""
    text = "a: 1\na: 2\nnodes:\n  n:\n    inputs:\n      x: a\n      x: b\n    inputs: {}\n"
    assert error_of(text) == (
        'a.yaml:2:1: error[syntax]: the key "a" of the document appears twice\n'
        "  why: first in line 1\n"
        "  fix: keep one of them\n"
        "a.yaml:7:7: error[duplicate_producer]: the input x of node n is fed from two places\n"
        "  why: first in line 6\n"
        "  fix: keep one of them\n"
        'a.yaml:8:5: error[syntax]: the key "inputs" of nodes.n appears twice\n'
        "  why: first in line 5\n"
        "  fix: keep one of them"
    )


def test_a_key_spelled_with_an_escape_is_the_same_key() -> None:
    """Escapes do not hide a duplicate."""
    assert 'the key "kind" of the document appears twice' in error_of('{"kind": 1, "k\\u0069nd": 2}')


@pytest.mark.parametrize(
    ("text", "limits", "error"),
    [
        ("a: ä", Limits(bytes=4), "a.yaml: error[too_large]: the text has more than 4 bytes"),
        ("[[[]]]", Limits(depth=1), "a.yaml:1:3: error[too_large]: values are nested more than 1 deep"),
        ("{a: {b: {c: 1}}}", Limits(depth=2), "a.yaml:1:13: error[too_large]: values are nested more than 2 deep"),
        ("[1, 2, 3]", Limits(values=3), "a.yaml:1:8: error[too_large]: there are more than 3 values"),
        ("a: 12345", Limits(digits=4), "a.yaml:1:4: error[too_large]: a number has more than 4 digits"),
        ("a: " + "9" * 5000, None, "a.yaml:1:4: error[too_large]: a number has more than 64 digits"),
        ("a: 0." + "9" * 64, None, "a.yaml:1:4: error[too_large]: a number has more than 64 digits"),
    ],
)
def test_limits_are_refused_by_name(text: str, limits: Limits | None, error: str) -> None:
    """Each limit has its message; what is just within it passes."""
    assert error_of(text, limits) == error


def test_what_is_at_the_limit_passes() -> None:
    """The limits themselves are allowed."""
    limits = Limits(bytes=9, depth=2, values=5, digits=2)
    assert read("[[1, 99]]", "a.yaml", limits).data == [[1, 99]]
    assert read("a: " + "9" * 64, "a.yaml").data == {"a": int("9" * 64)}
    deep = read("[" * 64 + "]" * 64, "a.yaml").data
    assert json.dumps(deep) == "[" * 64 + "]" * 64


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", '{"a":', "[\n", "[{a: "])
def test_deep_nesting_is_refused_at_once(unit: str) -> None:
    """A hundred thousand levels cost what the allowed ones cost, and never the stack."""
    began = time.process_time()
    assert "error[" in error_of(unit * 100_000)
    assert time.process_time() - began < 5


def test_deep_nesting_is_a_typed_error_on_a_short_stack() -> None:
    """With a recursion limit of 200 the deepest allowed text is read, and a deeper one is a ManifestError."""
    program = """
        import sys
        from stagegraph import yaml
        from stagegraph.errors import ManifestError
        yaml.read("a: [1]", "a.yaml")
        sys.setrecursionlimit(200)
        for unit, end in (("[", "]"), ('{"a":', "}")):
            yaml.read(unit * 64 + "1" + end * 64, "a.yaml")
            try:
                yaml.read(unit * 100_000, "a.yaml")
            except ManifestError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "a.yaml:1:66: error[too_large]: values are nested more than 64 deep\n"
        "a.yaml:1:326: error[too_large]: values are nested more than 64 deep\n"
    )


def test_bombs_are_refused_at_their_first_anchor() -> None:
    """Aliases that would grow without end are refused before anything is built of them."""
    laughs = "a: &a [lol, lol]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert error_of(laughs) == (
        "a.yaml:1:4: error[syntax]: anchors and aliases are not used here\n  fix: write the value out"
    )


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_is_read_by_the_same_reader(indent: Any) -> None:
    """JSON texts read as JSON does, at any indentation."""
    data = {"a": [1, 2.5, True, None, "x/y", "\t", "1", {"b": {}}], "c d": "😀"}
    assert read(json.dumps(data, indent=indent), "a.json").data == data
    assert read(json.dumps(data, indent=indent, separators=(",", ":")), "a.json").data == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("a text", "a text"),
        ("a: b: c", "a: b: c"),
        ("&a 1", "&a 1"),
        ("[1,", "[1,"),
        ("\udc80", "\udc80"),
    ],
)
def test_a_text_that_is_no_yaml_is_itself(text: str, value: Any) -> None:
    """What is typed on a command line never fails to be read."""
    assert parse_value(text) == value
    assert typed(text) == text
    assert typed(text).value == value


def test_rewriting_keeps_comments_and_layout() -> None:
    """Only what differs is touched."""
    data = read(MANIFEST, "fox.yaml").data
    data["nodes"]["paint"]["params"] |= {"frames": 57, "strength": 0.5}
    data["outputs"]["again"] = "paint.output"
    assert rewrite(MANIFEST, data) == MANIFEST.replace(
        '{frames: 49, style: "oil"}', "{frames: 57, style: oil, strength: 0.5}"
    ).replace("  image: paint\n", "  image: paint\n  again: paint.output\n")


def test_rewriting_removes_what_is_gone() -> None:
    """Keys that the data does not have leave the text; their neighbours keep their comments."""
    text = "a: 1 # one\nb: 2\nc:\n  d: 3\n  e: 4 # two\n"
    assert rewrite(text, {"a": 1, "c": {"e": 4}}) == "a: 1 # one\nc:\n  e: 4 # two\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [(1, True), (1, 1.0), (0, False), ([1], [True]), ({"x": 1}, {"x": True}), ("1", 1)],
)
def test_rewriting_sees_differences_that_python_does_not(old: Any, new: Any) -> None:
    """1, 1.0 and true are equal in Python and different in a manifest."""
    text = rewrite(None, {"a": old})
    assert json.dumps(read(rewrite(text, {"a": new}), "a.yaml").data) == json.dumps({"a": new})


@pytest.mark.parametrize(
    "scalar", ["2001-99-99", "9999-99-99T99:99:99Z", "0x_", "0o9", "1_0", "12:30:45", "=", "no", "012"]
)
def test_rewriting_reads_scalars_as_reading_does(scalar: str) -> None:
    """What YAML 1.1 takes for dates and odd numbers is text to the writer too, and stays as it is."""
    text = f"a: {scalar}\nb: 1 # kept\n"
    assert rewrite(text, {"a": scalar, "b": 2}) == f"a: {scalar}\nb: 2 # kept\n"


numbers = ["012", ".5e3", "1e3", "1.", "+.5", "0o14", "0x_", "1_0", "1:30", "2001-01-01", ".inf", "~", "null", "no"]
marks = [
    "",
    "<<",
    "=",
    "-",
    "- ",
    "? x",
    "a: b",
    "# x",
    "%x",
    "!x",
    "&x",
    "*x",
    '"',
    "'",
    "{",
    "]",
    ",",
    "@",
    "`",
    "---",
]
spaces = [
    "\t",
    "x\n",
    "\n",
    "\x85",
    "\u2028",
    "\ufeff",
    "a\n\n b",
    "  lead",
    "a\tb " * 40,
    "x  y " * 40,
    "\x7f",
    "x\r\ny",
]
odd_texts = st.sampled_from([*numbers, *marks, *spaces])
json_trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | odd_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20) | odd_texts, inner, max_size=4),
    max_leaves=10,
)


@given(json_trees, st.sampled_from([None, 1, "\t"]))
def test_a_tree_dumped_as_json_reads_back_equal(tree: Any, indent: Any) -> None:
    """The reader takes whatever a JSON writer writes, and gives back the same."""
    assert json.dumps(read(json.dumps(tree, indent=indent), "a.json").data) == json.dumps(tree)


@given(st.dictionaries(st.text(max_size=20) | odd_texts, json_trees, min_size=1, max_size=4))
def test_a_tree_written_as_yaml_reads_back_equal(tree: dict[str, Any]) -> None:
    """The reader takes whatever the writer writes, also when it is written a second time."""
    text = rewrite(None, tree)
    assert json.dumps(read(text, "a.yaml").data) == json.dumps(tree)
    assert json.dumps(read(rewrite(text, tree), "a.yaml").data, sort_keys=True) == json.dumps(tree, sort_keys=True)


def read_or_refuse(text: str) -> None:
    """A Document or a ManifestError; anything else fails the test."""
    with contextlib.suppress(ManifestError):
        assert isinstance(read(text, "a.yaml"), Document)


@given(st.text() | st.text(alphabet="\x00\ud800[]{}:,-?!&*#|>%@`\"'\\ \n\tabU0x1~<="))
def test_any_text_is_a_document_or_a_manifest_error(text: str) -> None:
    """No text makes the reader fail in another way than by its own error."""
    read_or_refuse(text)


@given(st.data())
def test_any_change_of_a_manifest_is_a_document_or_a_manifest_error(data: st.DataObject) -> None:
    """Nor does a manifest with pieces cut out, doubled or put in."""
    text = MANIFEST
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        piece = data.draw(st.sampled_from(["", text[start:end] * 2]) | st.text(max_size=4) | odd_texts)
        text = text[:start] + piece + text[end:]
    read_or_refuse(text)
