"""Pictures of a report: small JPEGs that are part of the page, and what is drawn on them."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from wsisr.dataset.patch_selection import spread
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.records import MAGNIFICATIONS, PatchRecord
from wsisr.dataset.report.markup import Html, element
from wsisr.dataset.shard_writer import SlideFacts
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb, enlarge, rounded, shrink

SHOWN_PX = 192
"""Of a patch, from its middle; all four pictures of a pair show the same field."""

SQUARES = 8
"""Of a checkerboard, along a side."""

AMPLIFIED = 3
"""By which a difference is multiplied, about a middle grey."""

THUMBNAIL_PX = 360
"""Longer side of a slide's picture on the page."""

MOST_BOXES = 600
"""Drawn on a slide for one magnification."""

THUMBNAIL_CHARACTERS = 100_000
"""Of a slide's picture in base64, at the most."""

COLOURS: dict[int | None, str] = dict(
    zip((*MAGNIFICATIONS, None), ("#14181f", "#e69500", "#00796b", "#1d4ed8", "#9d174d"), strict=True)
)
"""Of the frames, by magnification: far from pink and violet, and from each other for most eyes."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def jpeg(image: Rgb, quality: int = 85) -> str:
    """(h, w, 3) or (h, w) as the address of a picture that is part of the page."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:4:4")
    return inline(base64.b64encode(file.getvalue()).decode())


def inline(content: str) -> str:
    """A JPEG in base64 as an address."""
    return f"data:image/jpeg;base64,{content}"


def is_picture(content: str, most: int) -> bool:
    """Whether a file holds a picture of `shard_writer`: a JPEG in base64 of at most so many characters."""
    return content.startswith("/9j/") and len(content) <= most and bool(_BASE64.fullmatch(content))


@dataclass(frozen=True, slots=True)
class Views:
    """One pair, seen in four ways."""

    low: Rgb
    """As stored, one square for a pixel."""
    high: Rgb
    checkerboard: Rgb
    """Low resolution, enlarged by bicubic, in every other square."""
    difference: Rgb
    """(h, w) of grey: the high resolution averaged to low px less the low resolution, amplified."""
    apart: float
    """Mean absolute difference in grey levels."""

    @classmethod
    def of(cls, store: PatchStore, record: PatchRecord) -> Views:
        """Raises `DatasetError` where the shard is damaged."""
        box = _middle(record.side // record.scale, SHOWN_PX // record.scale)
        fine = box * record.scale
        low, high = store.low(record)[box.rows, box.columns], store.high(record)[fine.rows, fine.columns]
        apart = shrink(high, record.scale, "area").astype(np.float64) - low
        grey = rounded(128 + AMPLIFIED * apart.mean(axis=2))
        return cls(
            low, high, _chequered(high, enlarge(low, record.scale, "bicubic")), grey, float(np.abs(apart).mean())
        )


def _middle(side: int, most: int) -> Box:
    shown = min(side, max(most, 1))
    start = (side - shown) // 2
    return Box(start, start, start + shown, start + shown)


def _chequered(one: Rgb, other: Rgb) -> Rgb:
    number = np.arange(len(one)) * SQUARES // len(one)
    first = (number[:, None] + number[None]) % 2 == 0
    return np.where(first[..., None], one, other)


def drawn(facts: SlideFacts, records: Sequence[PatchRecord]) -> Html | None:
    """The slide's picture with the chosen patches on it, a frame each; None where there is no picture."""
    width, height = facts.size
    if min(width, height) < 1 or not is_picture(facts.thumbnail, THUMBNAIL_CHARACTERS):
        return None
    ratio = THUMBNAIL_PX / max(width, height)
    size = {"width": round(width * ratio, 2), "height": round(height * ratio, 2)}
    by_class: dict[int | None, list[PatchRecord]] = {}
    for record in records:
        by_class.setdefault(record.magnification, []).append(record)
    classes = sorted(by_class, key=lambda each: each or 0)
    return element(
        "svg",
        element("image", href=inline(facts.thumbnail), preserveAspectRatio="none", **size),
        [
            _frames(by_class[each], ratio, COLOURS.get(each, COLOURS[None]), number)
            for number, each in enumerate(classes)
        ],
        viewBox=f"0 0 {size['width']:g} {size['height']:g}",
        role="img",
        aria_label="The slide, with a frame around each chosen patch",
    )


def _frames(records: Sequence[PatchRecord], ratio: float, colour: str, number: int) -> Html:
    """One path for all, each patch once; a dot where one is too small to be seen. Higher numbers lie further within."""
    boxes = spread(list(dict.fromkeys(record.box for record in records)), MOST_BOXES)
    inset, moves = 0.6 + 1.3 * number, []
    for left, top, right, bottom in boxes:
        width, height = ((end - start) * ratio - 2 * inset for start, end in ((left, right), (top, bottom)))
        x, y = left * ratio + inset, top * ratio + inset
        moves.append(f"M{x:.4g} {y:.4g}h{max(width, 1):.3g}v{max(height, 1):.3g}h-{max(width, 1):.3g}z")
    return element("path", d="".join(moves), fill="none", stroke=colour, stroke_width=1.2)
