"""HTML and SVG built from elements. All text is escaped: only `html_element` produces markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

MAX_TEXT_CHARACTERS = 160
"""Longest name or message taken from a file: enough to recognise it, and a bound on the size of the page."""

VOID_ELEMENTS = {"img", "meta", "image", "line", "rect", "path", "polyline", "use"}
"""Elements without content."""

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


class Html(str):
    """Finished markup; any other string is text and is escaped."""

    __slots__ = ()


HtmlChild: TypeAlias = "str | Iterable[HtmlChild]"
AttributeValue: TypeAlias = "str | float | None"


def html_element(name: str, /, *children: HtmlChild, **attributes: AttributeValue) -> Html:
    """Return an element. `class_` stands for class and `stroke_width` for stroke-width; None omits the attribute."""
    attribute_text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_format_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID_ELEMENTS:
        return Html(f"<{name}{attribute_text}>" if name in {"img", "meta"} else f"<{name}{attribute_text}/>")
    return Html(f"<{name}{attribute_text}>{join_html(children)}</{name}>")


def join_html(child: HtmlChild) -> Html:
    """Concatenate children, escaping those that are text."""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return Html(escape(replace_unprintable(child)))
    return Html("".join(map(join_html, child)))


def shorten_text(value: object) -> str:
    """Return a value from a file as text of at most `MAX_TEXT_CHARACTERS`, not yet escaped."""
    text = str(value)
    return replace_unprintable(text if len(text) <= MAX_TEXT_CHARACTERS else text[: MAX_TEXT_CHARACTERS - 1] + "…")


def replace_unprintable(text: str) -> str:
    """Replace control characters, changes of writing direction and lone surrogates, which browsers may misread."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == NO_BREAK_SPACE else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _format_attribute(value: str | float) -> str:
    return escape(replace_unprintable(value)) if isinstance(value, str) else f"{value:.6g}"
