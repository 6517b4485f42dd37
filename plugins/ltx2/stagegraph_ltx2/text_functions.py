"""What is done to prompts before they are encoded, and to hidden states after, by registered name. Needs no torch.

A distribution registers a function of its own as an entry point::

    [project.entry-points."stagegraph_ltx2.preprocess_text"]
    lower = "acme.prompts:lower"

Its identity in the keys of kept outputs is that name with the distribution's name and version, so that a function that
changed with a release is another one. A function without such a name has no identity, and cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from stagegraph.errors import ComponentError, Fault, suggest
from stagegraph_ltx2.errors import failure, fault

if TYPE_CHECKING:
    from torch import Tensor

    from stagegraph_ltx2.text_encoder import EncodedText

#: Before or after the text encoder.
When = Literal["preprocess", "postprocess"]


def preprocess_text(prompt: str) -> str:
    """The prompt as it is."""
    return prompt


def ltx2_postprocess_text(encoded: EncodedText) -> Tensor:
    """The hidden states of every layer, as the connectors of LTX-2 were trained with."""
    return encoded.hidden_states


OWN: Mapping[When, Callable[..., Any]] = MappingProxyType(
    {"preprocess": preprocess_text, "postprocess": ltx2_postprocess_text}
)


def group(when: When) -> str:
    """The group of entry points by which other distributions register such functions."""
    return f"stagegraph_ltx2.{when}_text"


def names(when: When) -> tuple[str, ...]:
    """The registered names."""
    return tuple(dict.fromkeys((OWN[when].__name__, *(found.name for found in entry_points(group=group(when))))))


def name_of(function: Any, when: When) -> Any:
    """The name under which a function is registered; of anything else, itself."""
    if function is OWN[when]:
        return function.__name__
    place = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    found = (point.name for point in entry_points(group=group(when)) if point.value == place)
    return next(found, function)


def faults_in_name(name: str, when: When) -> Iterable[Fault]:
    """Whether exactly one function has this name; it is not imported."""
    points = _points(name, when)
    if (name == OWN[when].__name__) + len(points) > 1:
        owners = ["stagegraph-ltx2"] * (name == OWN[when].__name__) + [_owner(point) for point in points]
        fix = "uninstall all of these but one"
        yield fault("text_function", f'"{name}" is registered by {" and ".join(owners)}', why=_why(when), fix=fix)
    elif not points and name != OWN[when].__name__:
        what = f'no function is registered as "{name}" in {group(when)}'
        yield fault("text_function", what, why=_why(when), fix=suggest(name, names(when)))


def identity(name: str, when: When) -> str:
    """The name with the distribution that registered it and its version; just the name if it is this plugin's."""
    points = _points(name, when)
    return f"{name} of {_owner(points[0])}" if points else name


def function_of(name: str, when: When) -> Callable[..., Any]:
    """The function, imported now.

    Raises:
        ComponentError: it is not registered, or cannot be imported or called.
    """
    for each in faults_in_name(name, when):
        raise ComponentError(each)
    points = _points(name, when)
    if not points:
        return OWN[when]
    try:
        function = points[0].load()
    except Exception as error:  # importing runs code of others
        reason = f"{type(error).__name__}: {error}"
        raise _unusable(name, points[0], f"cannot be imported: {reason}") from error
    if not callable(function):
        raise _unusable(name, points[0], f"is a {type(function).__name__}, which cannot be called")
    return function  # type: ignore[no-any-return]


def _points(name: str, when: When) -> list[EntryPoint]:
    return list(entry_points(group=group(when), name=name))


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _unusable(name: str, point: EntryPoint, reason: str) -> ComponentError:
    what = f'"{name}" of {_owner(point)} ({point.value}) {reason}'
    return failure("text_function", what, fix="tell the author of that distribution, or leave it out")


def _why(when: When) -> str:
    what = "prompts before they are encoded" if when == "preprocess" else "hidden states before they are handed on"
    return f"functions over {what} are named, so that what they change has an identity"
