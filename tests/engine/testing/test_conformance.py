"""The conformance suite, run by pytest on a plugin that keeps to nothing: each breach is a failed test that says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stagegraph.testing.inspection import import_cost

from .conftest import Install, Python

#: Runs a test file: the name of each test -> what pytest says of it, empty if it passed.
Suite = Callable[[str], dict[str, str]]

BAD = '''
import pathlib, random, time
import stagegraph as sg
from stagegraph.errors import Cancelled, Fault
from stagegraph.facts import FactError
import numpy

class Thing:
    """Cannot be written as JSON, nor sent elsewhere."""
    def __reduce__(self):
        raise TypeError("it holds a lock")
    def __repr__(self):
        return "Thing"

class Encoder: pass

@sg.component("bad.model", version=1)
class Model:
    path: str = sg.param(default="x")
    @sg.part
    def encoder(self) -> Encoder:
        return Encoder()

@sg.stage("bad.mute", version=1)
class Mute:
    loud: bool = sg.param(default=False)
    def run(self, text: str) -> str:
        return text

@sg.stage("bad.silent", version=1)
def silent(text: str) -> str:
    return text

@sg.stage("worse.elsewhere", version=1)
def elsewhere(text: str, *, times: int = sg.param(default=1, help="Not used.")) -> str:
    """Stand in the name of another plugin."""
    return text

@sg.stage("bad.liar", version=1)
class Liar:
    """Return something else."""
    def run(self, text: str) -> str:
        """Not a text."""
        return 3

@sg.outputs
class Pair:
    """Two texts."""
    first: str
    second: str

@sg.stage("bad.half", version=1)
class Half:
    """Return half of what it declares."""
    def run(self, text: str) -> Pair:
        """A wrong second."""
        return Pair(text, None)

@sg.stage("bad.dice", version=1)
class Dice:
    """Draw a number."""
    def run(self) -> float:
        """Any number."""
        return random.random()

@sg.stage("bad.greedy", version=1)
class Greedy:
    """Change what comes in."""
    def run(self, items: list[int]) -> int:
        """Take the last."""
        return items.pop()

@sg.stage("bad.deaf", version=1)
class Deaf:
    """Never look."""
    def run(self, seconds: float, *, context: sg.StageContext) -> float:
        """Take its time to stop."""
        try:
            context.check_cancelled()
        except Cancelled:
            time.sleep(seconds)
        return seconds

@sg.stage("bad.stuck", version=1)
class Stuck:
    """Hold what cannot leave the process."""
    thing: Thing = sg.param(factory=Thing, help="A lock.")
    def run(self) -> int:
        """Nothing."""
        return 1

@sg.stage("bad.lax", version=1)
class Lax:
    """Bring any number into range."""
    share: float = sg.param(default=0.5, ge=0, le=1, help="0 to 1.")
    def __init__(self, *, share: float = 0.5):
        self.__attrs_init__(share=min(share, 1.0))
    def run(self) -> float:
        """The share."""
        return self.share

@sg.stage("bad.chatty", version=1)
class Chatty:
    """Join texts."""
    def run(self, *texts: str) -> str:
        """Join them."""
        return " ".join(map(str, texts))

class Clip:
    """Tells its width."""
    def __init__(self, width):
        self.width = width
    def __reduce__(self):
        return Clip, (self.width,)
    @property
    def facts(self):
        return {"width": self.width}

@sg.stage("bad.prophet", version=1)
class Prophet:
    """Foretell what does not come."""
    foretold: str = sg.param(default="width", help="What it foretells.")
    def facts(self, inputs):
        if self.foretold == "key":
            return {"output": {"width": inputs["clip"]["width"]}}
        if self.foretold == "refusal":
            raise FactError(f"{inputs.get('clip', {}).get('width', 0)} is too narrow", port="clip")
        return {
            "right": {"output": {"width": 2 * inputs.get("clip", {}).get("width", 32)}},
            "width": {"output": {"width": 63}},
            "height": {"output": {"height": 1}},
            "port": {"outputs": {"width": 64}},
        }[self.foretold]
    def run(self, clip: Clip) -> Clip:
        """A wider one."""
        return Clip(2 * clip.width)

@sg.stage("bad.writer", version=1)
class Writer:
    """Object, and write another file than it says."""
    def check(self):
        return [Fault("bad.format", "there is no encoder")]
    def writes(self):
        return ["a.txt", "b.txt"]
    def facts(self, inputs):
        return {"output": {"length": 5}}
    def run(self) -> str:
        """Write."""
        pathlib.Path("b.txt").write_text("b")
        return "b.txt"

@sg.stage("bad.lonely", version=1)
class Lonely:
    """Have no example."""
    def run(self) -> int:
        """1."""
        return 1

@sg.hookimpl
def stagegraph_stages():
    return [Mute, silent, elsewhere, Liar, Half, Dice, Greedy, Deaf, Stuck, Lax, Prophet, Writer, Chatty, Lonely]

@sg.hookimpl
def stagegraph_components():
    return [Model]

@sg.hookimpl
def stagegraph_types():
    return {}

@sg.hookimpl
def stagegraph_manifests():
    here = pathlib.Path(__file__).parent
    return {"bad/broken": here / "broken.yaml", "bad/other": here / "other.yaml"}
'''

SUITE = """
import bad_plugin as bad
from stagegraph.testing import Example, conformance

test_it = conformance("bad", [
    Example(bad.Mute(), inputs={"text": 3}),
    Example(bad.silent, inputs={"text": "a"}),
    Example(bad.elsewhere, inputs={"text": "a"}),
    Example(bad.Liar(), inputs={"text": "a"}),
    Example(bad.Half(), inputs={"text": "a"}),
    Example(bad.Dice()),
    Example(bad.Dice(), equal=lambda one, other: abs(one - other) <= 1, name="about"),
    Example(bad.Greedy(), inputs=lambda: {"items": [1, 2]}),
    Example(bad.Deaf(), inputs={"seconds": 0.0}),
    Example(bad.Deaf(), inputs={"seconds": 0.0}, quick=True, name="quick"),
    Example(bad.Deaf(), inputs={"seconds": 1.1}, quick=True, name="not-quick"),
    Example(bad.Stuck()),
    Example(bad.Lax()),
    Example(bad.Chatty(), inputs={"texts": ["a", "b"]}, name="right"),
    Example(bad.Chatty(), inputs={"texts": ["a", 3]}, name="wrong"),
    *(Example(bad.Prophet(foretold=what), inputs={"clip": bad.Clip(32)}, name=what)
      for what in ("right", "width", "height", "port", "key", "refusal")),
    Example(bad.Writer(), name="mute"),
    Example(bad.Writer(), facts={"output": lambda text: {"length": len(text)}}, name="told"),
])
"""

STUCK = "the params of Stuck(thing=Thing)"
NO_JSON = "Object of type Thing is not JSON serializable"
#: Test id -> its whole message.
BREACHES = {
    "bad-requires": (
        "bad-plugin does not require stagegraph: add a range that you tested to its dependencies, "
        'such as "stagegraph>=0.1,<0.2"'
    ),
    "bad-registers": "its hook stagegraph_types registers nothing: drop the hook, or return something",
    "bad-names": 'it registers "worse.elsewhere", which does not start with "bad.": others may take the name',
    "bad-imports": (
        "importing bad_plugin imports numpy: import them inside run and the loaders, or list them in allow_imports"
    ),
    "bad/other-valid": 'the manifest registered as "bad/other" is named "bad/else"',
    "bad.model-docs": (
        "bad.model: its class has no docstring\n"
        "bad.model: part encoder has no docstring\n"
        "bad.model: param path has no help"
    ),
    "bad.mute-docs": (
        "bad.mute: its class has no docstring\nbad.mute: run has no docstring\nbad.mute: param loud has no help"
    ),
    "bad.silent-docs": "bad.silent: its function has no docstring",
    "bad.lonely-example": "no example shows bad.lonely: add Example(Lonely(...), inputs=...)",
    "bad.liar-outputs": "run declares output as str, but returned 3",
    "bad.half-outputs": "run declares second as str, but returned None",
    "bad.dice-deterministic": (
        "two runs on the same inputs gave different results: take randomness from a seed "
        "(context.generator, derive_seed), or compare with equal="
    ),
    "bad.dice-in_graph": "the engine got another result than a call of run",
    "bad.greedy-inputs_kept": "run changed its input items, which other stages may read: work on a copy",
    "bad.prophet-width-foretold": "facts says that width of output is 63, but run made 64",
    "bad.prophet-height-foretold": "facts tells height of output, which tells only: width",
    "bad.prophet-port-foretold": "facts tells of outputs, but the outputs are: output",
    "bad.prophet-key-foretold": (
        "facts says that width of output is 32, but run made 64\nfacts fails, with nothing known: KeyError: 'clip'"
    ),
    "bad.prophet-refusal-foretold": (
        "facts refuses the example, with what is known of clip: 32 is too narrow\n"
        "facts refuses the example, with nothing known: 0 is too narrow"
    ),
    "bad.writer-mute-foretold": (
        "check objects to the example: error[bad.format]: there is no encoder\n"
        "writes names a.txt, but run has not written it\n"
        "facts tells of output, but 'b.txt' does not: give str a property facts, or the "
        'example facts={"output": ...}'
    ),
    "bad.writer-told-foretold": (
        "check objects to the example: error[bad.format]: there is no encoder\n"
        "writes names a.txt, but run has not written it"
    ),
    "bad.lax-params": "param share takes 2, although it must be >= 0, <= 1",
    "bad.chatty-wrong-inputs": "the example gives texts list of 2, but it is list[str]",
    "bad.mute-inputs": "the example gives text 3, but it is str",
    "bad.mute-outputs": "run declares output as str, but returned 3",
    "bad.stuck-params": "\n".join([f"{STUCK} cannot be written and read again: {NO_JSON}"] * 2),
    "bad.stuck-travels": "Stuck(thing=Thing) cannot be sent to another process: TypeError: it holds a lock",
    "bad.deaf-cancellation": (
        "run went to its end although it was cancelled: call context.progress or context.check_cancelled "
        "as it works, or say quick=True"
    ),
    "bad.deaf-not-quick-cancellation": (
        "the example says quick=True, but run took 1.1 s: call context.check_cancelled as it works"
    ),
}
#: Tests of claims that fail because the stage or the engine raises: the last line that pytest shows.
ERRORS = {
    "bad.chatty-wrong-in_graph": "error[invalid_type]: input input_texts_1 is str, but was given int 3",
    "bad.mute-in_graph": "error[invalid_type]: input input_text is str, but was given int 3",
    "bad.prophet-refusal-in_graph": "prophet (bad.prophet): 32 is too narrow",
    "bad.writer-mute-in_graph": "error[bad.format]: there is no encoder",
    "bad.writer-told-in_graph": "error[bad.format]: there is no encoder",
    "bad.liar-in_graph": "error[stage_output]: liar (bad.liar) declares output as str but returned 3",
    "bad.half-in_graph": "error[stage_output]: half (bad.half) declares second as str but returned None",
}


@pytest.fixture
def suite(install: Install, python: Python, tmp_path: Path) -> Suite:
    """A test file is run by a pytest of its own."""

    def run(text: str) -> dict[str, str]:
        (tmp_path / "work" / "test_suite.py").write_text(text)
        python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--junitxml=verdicts.xml")
        cases = ElementTree.parse(tmp_path / "work" / "verdicts.xml").iter("testcase")
        failures = {case.attrib["name"]: case.find("failure") for case in cases}
        return {name: "" if failure is None else failure.attrib["message"] for name, failure in failures.items()}

    return run


def test_every_breach_is_a_failed_test_that_says_what_to_do(install: Install, suite: Suite) -> None:
    """And nothing else fails: the whole message of each."""
    site = install("bad", BAD, requires=())
    (site / "broken.yaml").write_text("stagegraph: 1\nname: bad/broken\nnodes: {x: {stage: bad.gone}}\n")
    (site / "other.yaml").write_text("stagegraph: 1\nname: bad/else\nnodes: {x: {stage: bad.dice}}\n")
    verdicts = {re.sub(r"test_it\[(.*)\]", r"\1", name): message for name, message in suite(SUITE).items()}
    failed = {id: message.removeprefix("Failed: ") for id, message in verdicts.items() if message}
    broken = f'{site}/broken.yaml:3:20: error[unknown_stage]: there is no stage "bad.gone"'
    assert failed.pop("bad/broken-valid").startswith(broken)
    for id, text in ERRORS.items():
        assert text in failed.pop(id)
    assert failed == BREACHES
    assert {"bad-loads", "bad.dice-about-deterministic", "bad.deaf-quick-cancellation"} <= {*verdicts}


def test_a_plugin_that_does_not_load_fails_one_test(install: Install, suite: Suite) -> None:
    """Which says why; without an installation, that there is none."""
    install("bad", "import a_library_that_is_not_there", requires=())
    assert suite(
        "from stagegraph.testing import conformance\n"
        "test_bad = conformance('bad')\n"
        "test_absent = conformance('absent')\n"
    ) == {
        "test_bad[bad-loads]": (
            "Failed: plugin bad (bad-plugin 1.2): error[plugin_import]: importing bad_plugin failed: "
            "ModuleNotFoundError: No module named 'a_library_that_is_not_there'\n"
            "  fix: update or uninstall bad-plugin, or run with --no-plugin bad"
        ),
        "test_absent[absent-loads]": (
            'Failed: no installed distribution has a plugin "absent": pip install -e . in its folder'
        ),
    }


def test_heavy_libraries_can_be_allowed() -> None:
    """By name, for a plugin that cannot do without; what fails is told with its last line."""
    assert import_cost("numpy").heavy == ("numpy",)
    assert import_cost("numpy", ["numpy"]).heavy == ()
    assert import_cost("gone").error == "ModuleNotFoundError: No module named 'gone'"
