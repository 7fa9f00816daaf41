"""HTML and SVG put together from elements. Text is escaped wherever it comes in: only `element` makes markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

MOST_CHARACTERS = 160
"""Of a name or a message out of a file: enough to know it by, whatever the file holds."""

VOID = {"img", "meta", "image", "line", "rect", "path", "polyline", "use"}
"""Elements that have no content."""


SPACE = "\N{NO-BREAK SPACE}"


class Html(str):
    """Markup; every other text is escaped."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child]"
Value: TypeAlias = "str | float | None"


def element(name: str, /, *children: Child, **attributes: Value) -> Html:
    """An element. `class_` is the attribute class, `stroke_width` is stroke-width; None leaves an attribute out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{written}>" if name in {"img", "meta"} else f"<{name}{written}/>")
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


def joined(child: Child) -> Html:
    """Children one after the other, text among them escaped."""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return Html(escape(printable(child)))
    return Html("".join(map(joined, child)))


def words(value: object) -> str:
    """Whatever a file holds as text of bounded length, not yet escaped."""
    text = str(value)
    return printable(text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…")


def printable(text: str) -> str:
    """Without what browsers may take for something else: control characters, changes of direction, half characters."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == SPACE else "\N{REPLACEMENT CHARACTER}" for each in text)


def _value(value: str | float) -> str:
    return escape(printable(value)) if isinstance(value, str) else f"{value:.6g}"
