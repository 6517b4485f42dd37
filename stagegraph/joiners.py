"""`Joiner`: how the files that the segments of a session leave become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen(eq=False)
class Joiner:
    """How files of one kind become one, one after the other.

    Attributes:
        suffixes: the endings of such files, in lower case: (".mp4",).
        stage: a stage, class or function, that takes paths, any number of them in their order, and writes the whole to
            its param `path`; what else can be chosen is its other params.
        grow: (file, parts): bring a file up to date that holds the first of these parts, or is not there yet, and tell
            whether files like these can grow at all. Whatever stops it, the file is as it was, or up to date.
    """

    suffixes: tuple[str, ...]
    stage: Any
    grow: Callable[[Path, Sequence[Path]], bool]
