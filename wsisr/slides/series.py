"""Image series: the images of a file that holds several, and the choice of the one that is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size

_ASSOCIATED_NAME = re.compile("label|macro|thumbnail|overview", re.IGNORECASE)

_MIN_SHARE_OF_LARGEST = 1 / 64
"""A smaller image, in pixels over those of the largest, is taken for a label or macro under another name."""


@dataclass(frozen=True, slots=True)
class ImageSeries:
    """One image of a file; its number is its index among them, from 0."""

    name: str
    size: Size | None
    """Size of its finest level; None where that is not known."""
    refusal: str = ""
    """Why it cannot be read, in words; empty where it can."""


def choose_series(path: Path, all_series: Sequence[ImageSeries], requested: int | None) -> int:
    """Return the number of the image to read: the requested one, by default the largest.

    Raises `SlideError` where there is no image of that number, or it cannot be read. No smaller image replaces a
    largest one that cannot be read, as it may be its label.
    """
    if requested is not None and not 0 <= requested < len(all_series):
        raise SlideError(f"{path}: there is no series {requested}; {_describe_range(all_series)}")
    chosen = requested
    if chosen is None:
        chosen = max(range(len(all_series)), key=lambda number: (_count_pixels(all_series[number]), -number))
    if all_series[chosen].refusal:
        others = f" (series {chosen} of {len(all_series)}; others by --series)" if len(all_series) > 1 else ""
        raise SlideError(f"{path}: {all_series[chosen].refusal}{others}")
    return chosen


def describe_default_choice(all_series: Sequence[ImageSeries], chosen: int) -> tuple[str, ...]:
    """Return the warning for a slide whose largest image was chosen by default; none where no other could be meant."""
    largest = max(map(_count_pixels, all_series))
    slides = sum(
        _count_pixels(series) > largest * _MIN_SHARE_OF_LARGEST and not _ASSOCIATED_NAME.search(series.name)
        for series in all_series
    )
    if slides < 2:
        return ()
    return (f"the file holds {slides} images; series {chosen}, the largest, is read (others by --series)",)


def _describe_range(all_series: Sequence[ImageSeries]) -> str:
    return f"series are 0 to {len(all_series) - 1}" if len(all_series) > 1 else "it holds one image"


def _count_pixels(series: ImageSeries) -> int:
    return series.size.pixel_count if series.size else 0
