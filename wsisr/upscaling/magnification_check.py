"""A second opinion on a slide's pixel pitch: the magnification that a network sees in its tissue.

Asked before any work, of a few windows spread over the tissue, so that what it says is the same however a run goes.
"""

from __future__ import annotations

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.jpeg import for_branch
from wsisr.imaging.pixels import Rgb
from wsisr.models.magnification import Shares, Sight
from wsisr.slides.region import Source
from wsisr.tissue import TissueMap

WINDOW_PX = 128
"""Side of a window, in px of the source."""

WINDOWS = 16
"""How many are looked at; where the tissue has fewer, nothing is said, for four of a small region had misled.

All that is known of how often this is right was found with so many."""

DOUBTED = {2: 0.1, 3: 0.05}
"""By how many magnifications a network tells apart: the share below which that of the pitch counts as contradicted,
where another leads.

So low that none of the slides at hand was doubted under its own pitch: whoever is warned for nothing stops reading.
"""


def contradiction(source: Source, tissue: TissueMap, sight: Sight) -> str | None:
    """What is to be said where a slide does not look as its pitch tells; None where it does, or nobody knows."""
    due = None if source.mpp is None else sight.spec.class_of(source.mpp)
    windows = [] if due is None else windows_of(source, tissue)
    if due is None or not windows:
        return None
    shares = sight(np.stack(windows))
    if not doubted(shares, due):
        return None
    leading = int(shares.argmax())
    seen, told = sight.spec.magnifications[leading], sight.spec.magnifications[due]
    return (
        f"the tissue looks like {seen:g}x ({100 * shares[leading]:.0f} % likely), "
        f"its {source.mpp:.4g} um/px stand for {told:g}x ({100 * shares[due]:.0f} %); if the pitch is wrong, give --mpp"
    )


def doubted(shares: Shares, due: int) -> bool:
    """Whether the magnification that a pitch stands for, by its index, counts as contradicted."""
    least = DOUBTED.get(len(shares), min(DOUBTED.values()))
    return int(shares.argmax()) != due and bool(shares[due] < least)


def windows_of(source: Source, tissue: TissueMap) -> list[Rgb]:
    """What of a source's tissue is looked at, compressed alike; nothing where it has too few windows."""
    boxes = spread_windows(source, tissue)
    return [for_branch(source.read(box)) for box in boxes] if len(boxes) == WINDOWS else []


def spread_windows(source: Source, tissue: TissueMap) -> list[Box]:
    """Evenly chosen windows of one size that hold tissue, in px of the source; `WINDOWS` at most."""
    whole, area = source.readable, Box.of(source.size)
    flags = tissue.cells(whole.size, area.seen_from(whole), WINDOW_PX)
    found = [_inside(source.size, int(row), int(column)) for row, column in np.argwhere(flags)]
    most = min(WINDOWS, len(found))
    return [found[number * len(found) // most] for number in range(most)]


def _inside(size: Size, row: int, column: int) -> Box:
    """A cell as a window, moved to lie within the source where that is large enough."""
    width, height = min(WINDOW_PX, size.width), min(WINDOW_PX, size.height)
    left, top = min(column * WINDOW_PX, size.width - width), min(row * WINDOW_PX, size.height - height)
    return Box(left, top, left + width, top + height)
