"""Pictures of a dataset report: the views of a pair, and the frames drawn on slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from wsisr.dataset.patch_selection import sample_evenly
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.records import MAGNIFICATIONS, PatchRecord
from wsisr.dataset.slide_facts import SlideFacts
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb, enlarge_image, round_to_uint8, shrink_image
from wsisr.reports.pictures import is_base64_jpeg, make_data_uri
from wsisr.reports.templating import render_template

PAIR_VIEW_PX = 192
"""Side of the central part of a patch that is shown; all four pictures of a pair show the same field."""

CHECKERBOARD_SQUARES = 8
"""Squares along a side of a checkerboard."""

DIFFERENCE_GAIN = 3
"""Factor by which a difference is amplified about middle grey."""

SLIDE_MAP_PX = 360
"""Longer side of a slide's picture on the page, in CSS px."""

MAX_FRAMES = 600
"""Most frames drawn on a slide for one magnification."""

MAX_THUMBNAIL_CHARACTERS = 100_000
"""Largest slide picture in base64; a larger one is not shown."""

FRAME_COLOURS: dict[int | None, str] = dict(
    zip((*MAGNIFICATIONS, None), ("#14181f", "#e69500", "#00796b", "#1d4ed8", "#9d174d"), strict=True)
)
"""Frame colour by magnification: unlike the pink and violet of H&E, and distinguishable for most eyes."""


@dataclass(frozen=True, slots=True)
class PairViews:
    """Four pictures of the same field of a pair."""

    low: Rgb
    """As stored; the page shows each pixel as a square."""
    high: Rgb
    checkerboard: Rgb
    """High resolution, and in every other square the low resolution enlarged by bicubic."""
    difference: Rgb
    """(h, w) grey: the area mean of the high resolution minus the low resolution, amplified."""
    mean_difference: float
    """Mean absolute difference of the two, in grey levels."""

    @classmethod
    def from_record(cls, store: PatchStore, record: PatchRecord) -> PairViews:
        """Read a pair and make its pictures. Raises `DatasetError` if the shard is damaged."""
        box = _central_box(record.side // record.scale, PAIR_VIEW_PX // record.scale)
        high_box = box * record.scale
        low = store.read_low(record)[box.rows, box.columns]
        high = store.read_high(record)[high_box.rows, high_box.columns]
        difference = shrink_image(high, record.scale, "area").astype(np.float64) - low
        return cls(
            low=low,
            high=high,
            checkerboard=_checkerboard(high, enlarge_image(low, record.scale, "bicubic")),
            difference=round_to_uint8(128 + DIFFERENCE_GAIN * difference.mean(axis=2)),
            mean_difference=float(np.abs(difference).mean()),
        )


def _central_box(side: int, max_px: int) -> Box:
    shown_px = min(side, max(max_px, 1))
    start = (side - shown_px) // 2
    return Box(start, start, start + shown_px, start + shown_px)


def _checkerboard(first: Rgb, second: Rgb) -> Rgb:
    square = np.arange(len(first)) * CHECKERBOARD_SQUARES // len(first)
    shows_first = (square[:, None] + square[None]) % 2 == 0
    return np.where(shows_first[..., None], first, second)


def render_slide_map(facts: SlideFacts, records: Sequence[PatchRecord]) -> Markup | None:
    """Render a slide's picture with a frame around each chosen patch; None if the slide has no picture."""
    width, height = facts.size
    if min(width, height) < 1 or not is_base64_jpeg(facts.thumbnail, MAX_THUMBNAIL_CHARACTERS):
        return None
    ratio = SLIDE_MAP_PX / max(width, height)
    by_magnification: dict[int | None, list[PatchRecord]] = {}
    for record in records:
        by_magnification.setdefault(record.magnification, []).append(record)
    frames = [
        (FRAME_COLOURS.get(magnification, FRAME_COLOURS[None]), _frame_path(group, ratio, order))
        for order, (magnification, group) in enumerate(sorted(by_magnification.items(), key=lambda item: item[0] or 0))
    ]
    return render_template(
        "dataset/slide_map.html",
        thumbnail=make_data_uri(facts.thumbnail),
        width=round(width * ratio, 2),
        height=round(height * ratio, 2),
        frames=frames,
    )


def _frame_path(records: Sequence[PatchRecord], ratio: float, order: int) -> str:
    """Return one SVG path of all frames, each patch once; a patch too small to see becomes a dot.

    Frames of a higher `order` are inset further, so that those of several magnifications do not cover each other.
    """
    boxes = sample_evenly(list(dict.fromkeys(record.box for record in records)), MAX_FRAMES)
    inset, moves = 0.6 + 1.3 * order, []
    for left, top, right, bottom in boxes:
        width, height = ((end - start) * ratio - 2 * inset for start, end in ((left, right), (top, bottom)))
        x, y = left * ratio + inset, top * ratio + inset
        moves.append(f"M{x:.4g} {y:.4g}h{max(width, 1):.3g}v{max(height, 1):.3g}h-{max(width, 1):.3g}z")
    return "".join(moves)
