"""Rendering of templates. Every value is escaped unless it is `Markup`, and an undefined name is an error."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wsisr.progress import format_count

MAX_TEXT_CHARACTERS = 160
"""Longest name or message taken from a file: enough to recognise it, and a bound on the size of the page."""

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def render_template(name: str, **values: object) -> Markup:
    """Render a template of `wsisr/reports/templates`."""
    return Markup(_load_environment().get_template(name).render(values))


@lru_cache
def _load_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("wsisr.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_format_value,  # runs on every value, but not on the text of the template
    )
    environment.filters |= {"plural": format_count, "shorten": shorten_text, "thousands": "{:,}".format}
    return environment


def _format_value(value: object) -> object:
    """Prepare a value for output; Jinja2 then escapes it, unless it is `Markup`."""
    if isinstance(value, float):  # coordinates of SVG, which a screen does not show more exactly
        return f"{value:.6g}"
    return replace_unprintable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


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
