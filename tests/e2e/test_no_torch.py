"""What only looks at graphs does not import heavy libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "safetensors", "numpy", "av", "diffusers", "huggingface_hub")
#: `validate` asks PyAV whether it has the encoders that the graph needs.
ALLOWED = {"validate": ("numpy", "av")}


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["run", "--help"],
        ["ltx2", "--help"],
        ["plugins"],
        ["stages"],
        ["validate", "ltx2/text-to-video"],
        ["graph", "ltx2/text-to-video"],
        ["plan", "ltx2/text-to-video", "--json"],
    ],
    ids=" ".join,
)
def test_command_imports_no_heavy_library(args: list[str]) -> None:
    """After the command, in a fresh interpreter, none of the heavy libraries is loaded."""
    heavy = [name for name in HEAVY if name not in ALLOWED.get(args[0], ())]
    code = (
        "import sys; from stagegraph.cli.app import call; code = call(sys.argv[1:]); "
        f"print(code, [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    assert done.stderr == "0 []\n"
    assert done.stdout
