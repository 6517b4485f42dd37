"""Files that a command line names: reading documents, writing texts; what fails is told like any other fault."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stagegraph import yaml
from stagegraph.document import Document
from stagegraph.errors import Fault, UsageError


def read_document(path: Path) -> Document:
    """A YAML or JSON file.

    Raises:
        UsageError: it cannot be read.
        ManifestError: it is neither YAML nor JSON.
    """
    with _told(path, "read"):
        return yaml.read(path.read_text(encoding="utf-8"), str(path))


def write_text(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UsageError: it cannot be written.
    """
    with _told(path, "written"):
        path.write_text(text, encoding="utf-8", newline="")


def replace_text(path: Path, text: str) -> None:
    """Change a file in one go: whoever reads it meanwhile, or after a crash, finds the old text or the new one.

    Raises:
        UsageError: it cannot be written.
    """
    target = path.resolve()  # through a link, not over it
    with _told(path, "written"):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            shutil.copymode(target, name)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _told(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(Fault("usage", f"{path} cannot be {done}: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise UsageError(Fault("usage", f"{path} cannot be {done}: it is not UTF-8 text")) from None
