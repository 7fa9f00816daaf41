"""The elements of an HTML page, as a browser would find them."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._texts: list[tuple[str, str]] = []
        self._open = ""
        self.feed(str(page))  # `Markup` would escape what the parser takes out of it
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.text += data
        self._texts.append((self._open, data))

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]

    def texts(self, tag: str) -> list[str]:
        """Return the text that follows each such tag."""
        return [text for name, text in self._texts if name == tag]
