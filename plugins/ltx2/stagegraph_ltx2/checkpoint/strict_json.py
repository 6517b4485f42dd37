"""JSON files from checkpoints: bounded, no key twice, no NaN. Needs no torch."""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Never

from stagegraph_ltx2.errors import failure, plain, unreadable

#: Bytes. The index of the released transformer is 0.4 MB, the largest configuration 10 KB.
JSON_LIMIT = 16_000_000


class _DuplicateKeyError(ValueError):
    """Kept apart from the errors of the JSON module, so that its text is not taken for one of theirs."""


def parse_object(text: bytes) -> dict[str, Any]:
    """The JSON object that `text` is.

    Raises:
        ValueError: damaged JSON, another JSON value than an object, a key twice, NaN or infinity, too deep a nesting.
    """
    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except _DuplicateKeyError:
        raise
    except ValueError as error:
        # Also what int() says of a number of thousands of digits.
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__} where an object is required")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _DuplicateKeyError(f'the key "{plain(twice)}" appears twice')
    return found


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON number")


def read_object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file.

    Raises:
        ComponentError: absent, unreadable, larger than `JSON_LIMIT`, or not a JSON object.
    """
    text = read_bounded(path, JSON_LIMIT)
    try:
        return parse_object(text)
    except ValueError as error:
        raise failure(
            "bad_json",
            f"{path.name}: {error}",
            where=path,
            why="configurations are JSON objects in which every key appears once",
            fix=_again(path),
        ) from None


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        ComponentError: absent, not a regular file, unreadable, or larger.
    """
    try:
        status = path.stat()
        # Opening a FIFO would wait for a writer for ever.
        if not stat.S_ISREG(status.st_mode):
            raise failure("missing_file", f"{path.name} is not a regular file", where=path, fix=_again(path))
        if status.st_size > limit:
            raise failure(
                "too_large",
                f"{path.name} is {status.st_size} bytes long",
                where=path,
                why=f"files of its kind have at most {limit} bytes",
                fix=_again(path),
            )
        with path.open("rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise failure("missing_file", f"{path.name} is absent", where=path, fix=_again(path)) from None
    except OSError as error:
        raise unreadable(path, error) from None


def _again(path: Path) -> str:
    return f"download {path.parent.name}/{path.name} again"
