"""Versions of libraries: what is installed, and what CI installs."""

from __future__ import annotations

from importlib.metadata import version

import openslide
import pyvips
from packaging.utils import canonicalize_name

from tests.support.samples import REPOSITORY

_DISTRIBUTIONS = {"libvips": "pyvips-binary", "openslide": "openslide-bin"}
"""Distributions that bring a library of another name, and of a version that theirs begins with."""


def read_pins() -> dict[str, str]:
    """Return the version of each distribution that the constraints file pins."""
    lines = (REPOSITORY / ".ci" / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def name_installed(words: str) -> str:
    """Return words that begin with the name of a library, with its version behind the name."""
    library, comma, rest = words.partition(",")
    return f"{library} {_find_version(library)}{comma}{rest}"


def find_pin(library: str, pins: dict[str, str]) -> str | None:
    """Return the version of a library that CI installs; None for one that it does not."""
    return pins.get(canonicalize_name(_DISTRIBUTIONS.get(library, library)))


def _find_version(library: str) -> str:
    if library == "libvips":
        return ".".join(str(pyvips.version(number)) for number in range(3))
    return openslide.__library_version__ if library == "openslide" else version(library)
