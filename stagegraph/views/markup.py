"""Elements of HTML and SVG. What is put into one is text: escaping is the serialiser's work, nobody can forget it."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

Content = Element | str | None


def element(tag: str, *content: Content, **attributes: object) -> Element:
    """An element. Attributes that are None are left out, `_` in a name is `-`: `class_="a", aria_label="b"`."""
    made = Element(tag, {_name(name): _text(value) for name, value in attributes.items() if value is not None})
    return extend(made, content)


def extend(made: Element, content: Iterable[Content]) -> Element:
    """Append texts and elements to an element; None adds nothing."""
    for part in content:
        if isinstance(part, Element):
            made.append(part)
        elif part is not None and len(made):
            made[-1].tail = (made[-1].tail or "") + _text(part)
        elif part is not None:
            made.text = (made.text or "") + _text(part)
    return made


def html(root: Element) -> str:
    """An element as HTML; SVG inside is SVG."""
    return tostring(root, encoding="unicode", method="html")


def xml(root: Element) -> str:
    """An element as a file of its own."""
    return tostring(root, encoding="unicode")


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _text(value: object) -> str:
    """What both HTML and XML can hold: no half surrogates and no control characters but line breaks and tabs."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value).encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
