"""A second opinion on a slide's pixel size: the magnification that a network sees in its tissue.

Done before any tile, on a few windows spread over the tissue, so that a resumed run comes to the same result.
"""

from __future__ import annotations

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.jpeg import recompress_for_classifier
from wsisr.imaging.pixels import Rgb
from wsisr.models.magnification import ClassProbabilities, MagnificationClassifier
from wsisr.slides.region import SlideRegion
from wsisr.tissue import TissueMap

WINDOW_PX = 128
"""Side of a window, in px of the region."""

WINDOW_COUNT = 16
"""Windows that are classified. A region with fewer is not checked: on four windows of a small region, the network was
wrong. Every figure about how often this check is right was measured with this number."""

LEAST_PLANNED_PX = 64 * WINDOW_PX**2
"""Pixels of the smallest region that a dry run checks: of smaller ones a window is more than 2 % of the run."""

CONTRADICTED_BELOW = {2: 0.1, 3: 0.05}
"""Number of magnifications that a network distinguishes, to the probability below which the recorded magnification
counts as contradicted, where another one leads.

So low that none of the slides at hand was doubted at its own pixel size: users who see false warnings stop reading.
"""


def check_magnification(region: SlideRegion, tissue: TissueMap, classifier: MagnificationClassifier) -> str | None:
    """Return a warning if the tissue looks like another magnification than the region's pixel size stands for.

    None if it does not, or if the pixel size, the classifier or the tissue is not enough to tell. Files record the
    text, and a finished file counts as the same only if its text is.
    """
    expected = None if region.mpp is None else classifier.spec.magnification_class(region.mpp)
    boxes = [] if expected is None else choose_windows(region, tissue)
    if expected is None or len(boxes) < WINDOW_COUNT:
        return None
    total = np.zeros(len(classifier.spec.magnifications))
    for box in boxes:
        total += classifier(np.stack([_read_window(region, box)]))
        # The remaining windows can only add to it: mostly the first one or two decide.
        if total[expected] >= WINDOW_COUNT * _doubt_limit(len(total)):
            return None
    probabilities = total / WINDOW_COUNT
    if not is_contradicted(probabilities, expected):
        return None
    leading, magnifications = int(probabilities.argmax()), classifier.spec.magnifications
    return (
        f"the tissue looks like {magnifications[leading]:g}x ({100 * probabilities[leading]:.0f} % likely), its "
        f"{region.mpp:.4g} um/px stand for {magnifications[expected]:g}x ({100 * probabilities[expected]:.0f} %); "
        "if the pitch is wrong, give --mpp"
    )


def is_contradicted(probabilities: ClassProbabilities, expected: int) -> bool:
    """Return whether the classifier rules out the expected magnification, given by its index."""
    return int(probabilities.argmax()) != expected and bool(probabilities[expected] < _doubt_limit(len(probabilities)))


def _doubt_limit(magnification_count: int) -> float:
    """Return the probability from which on the recorded magnification is not doubted."""
    return CONTRADICTED_BELOW.get(magnification_count, min(CONTRADICTED_BELOW.values()))


def read_windows(region: SlideRegion, tissue: TissueMap) -> list[Rgb]:
    """Read the windows to classify, all with the same JPEG compression; none if the tissue has too few."""
    boxes = choose_windows(region, tissue)
    return [_read_window(region, box) for box in boxes] if len(boxes) == WINDOW_COUNT else []


def _read_window(region: SlideRegion, box: Box) -> Rgb:
    return recompress_for_classifier(region.read(box))


def choose_windows(region: SlideRegion, tissue: TissueMap) -> list[Box]:
    """Return evenly spaced windows of one size that hold tissue, in px of the region; `WINDOW_COUNT` at most."""
    readable, area = region.readable_box, Box.from_size(region.size)
    has_tissue = tissue.mask_cells(readable.size, area.relative_to(readable), WINDOW_PX)
    boxes = [_window_box(region.size, int(row), int(column)) for row, column in np.argwhere(has_tissue)]
    count = min(WINDOW_COUNT, len(boxes))
    return [boxes[number * len(boxes) // count] for number in range(count)]


def _window_box(size: Size, row: int, column: int) -> Box:
    """Return a cell as a window, moved to lie within the region where that is large enough."""
    width, height = min(WINDOW_PX, size.width), min(WINDOW_PX, size.height)
    left, top = min(column * WINDOW_PX, size.width - width), min(row * WINDOW_PX, size.height - height)
    return Box(left, top, left + width, top + height)
