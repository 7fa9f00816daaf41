"""Of a file that holds several images, which one is read: the one that is asked for, or else the largest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size

_COMPANION = re.compile("label|macro|thumbnail|overview", re.IGNORECASE)

_CHOICE = 1 / 64
"""Of the largest, in pixels: smaller ones are companions by another name."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One image of a file; its number is its place among them."""

    name: str
    size: Size | None
    """Of its finest level; None where that is not known."""
    refusal: str = ""
    """Why it cannot be read, in words."""


def choose(path: Path, scenes: Sequence[Scene], asked: int | None) -> int:
    """Number of the image to read. Raises `SlideError` where there is none of that number, or it cannot be read.

    The largest that cannot be read is refused, too: what else there is may be its label.
    """
    if asked is not None and not 0 <= asked < len(scenes):
        raise SlideError(f"{path}: there is no series {asked}; {_range(scenes)}")
    if asked is None:
        asked = max(range(len(scenes)), key=lambda number: (_pixels(scenes[number]), -number))
    if scenes[asked].refusal:
        others = f" (series {asked} of {len(scenes)}; others by --series)" if len(scenes) > 1 else ""
        raise SlideError(f"{path}: {scenes[asked].refusal}{others}")
    return asked


def said_of(scenes: Sequence[Scene], number: int) -> tuple[str, ...]:
    """What is to be said where nobody asked for a series and there was a choice."""
    largest = max(map(_pixels, scenes))
    several = sum(_pixels(each) > largest * _CHOICE and not _COMPANION.search(each.name) for each in scenes)
    if several < 2:
        return ()
    return (f"the file holds {several} images; series {number}, the largest, is read (others by --series)",)


def _range(scenes: Sequence[Scene]) -> str:
    return f"series are 0 to {len(scenes) - 1}" if len(scenes) > 1 else "it holds one image"


def _pixels(scene: Scene) -> int:
    return scene.size.pixels if scene.size else 0
