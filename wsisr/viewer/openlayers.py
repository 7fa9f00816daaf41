"""OpenLayers, the library that draws the page, as a wheel brings it.

PyPI has no wheel of OpenLayers alone that is kept up; MapProxy's holds the whole build for its demo pages, with the
licence (BSD-2-Clause) at the head of the style sheet. No code of MapProxy is imported or runs.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from wsisr.errors import ConfigError

_PACKAGE = "mapproxy"
_ADVICE = "pip install 'wsisr[view]'"
LIBRARY_FILES = ("ol.js", "ol.css")
"""Script and style sheet; the licence is in the latter."""


@lru_cache
def read_library_file(name: str) -> bytes:
    """Return one of `LIBRARY_FILES`. Raises `ConfigError` where the extra is not installed."""
    try:
        found = [file for file in files(_PACKAGE) or () if file.name == name]
    except PackageNotFoundError as error:
        raise ConfigError(f"the viewer needs OpenLayers, which is not installed; {_ADVICE}") from error
    if not found:
        raise ConfigError(f"the viewer needs OpenLayers, and this release of MapProxy has no {name}; {_ADVICE}")
    return Path(str(found[0].locate())).read_bytes()
