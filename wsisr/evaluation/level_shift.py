"""Where a stored level lies beside level 0: levels of a slide need not begin at the same place."""

from __future__ import annotations

import numpy as np

from wsisr.dataset.level_relation import MIN_CORRELATION
from wsisr.dataset.patch_quality import to_grey
from wsisr.dataset.registration.translation import Translation, register_translation
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import average_blocks
from wsisr.slides import Slide, SlideInfo

FIELD_PX = 96
"""Side of a field, in px of the stored level."""

FIELDS_ALONG_AXIS = 4
"""Fields are spread evenly, so many along each axis; those with the most contrast are measured."""

MEASURED_FIELDS = 5

LEAST_CONTRAST = 4.0
"""Standard deviation in grey levels below which a field tells nothing of a shift."""

WORTHWHILE_LOW_PX = 64
"""Shorter side in px of the smallest stored level that is an input."""


def list_stored_inputs(info: SlideInfo, scale: int) -> list[int]:
    """List the levels that are a whole multiple of `scale` coarser than level 0, as inputs whose truth is level 0."""
    base, found = info.levels[0].size, []
    for number, level in enumerate(info.levels):
        ratio = round(level.downsample)
        fits = all(
            abs(side * ratio - whole) <= ratio
            for side, whole in ((level.size.width, base.width), (level.size.height, base.height))
        )
        if number and fits and ratio % scale == 0 and min(level.size.width, level.size.height) >= WORTHWHILE_LOW_PX:
            found.append(number)
    return found


def measure_level_shift(slide: Slide, level: int) -> tuple[int, int]:
    """Return the px of level 0, x and y, at which a level begins: the median over fields.

    Zero if no field has contrast. Raises `SlideError` if the two levels show different things.
    """
    ratio = round(slide.info.get_level(level).downsample)
    fields = sorted(_register_fields(slide, level, ratio), key=lambda field: -field[0])[:MEASURED_FIELDS]
    if not fields:
        return 0, 0
    found = [translation for _, translation in fields]
    correlation = float(np.median([translation.correlation for translation in found]))
    if correlation < MIN_CORRELATION:
        raise SlideError(
            f"{slide.info.path}: levels 0 and {level} show different things (correlation {correlation:.2f}); "
            "no row of it"
        )
    dx, dy = (float(np.median([getattr(translation, axis) for translation in found])) for axis in ("dx", "dy"))
    return round(-dx * ratio), round(-dy * ratio)


def _register_fields(slide: Slide, level: int, ratio: int) -> list[tuple[float, Translation]]:
    """Return contrast and shift, in px of the stored level, of each field that has contrast."""
    base = slide.info.levels[0].size
    width, height = base.width // ratio, base.height // ratio
    size = slide.info.levels[level].size
    width, height, side = min(width, size.width), min(height, size.height), min(FIELD_PX, width, height)
    found = []
    for top in np.linspace(0, height - side, FIELDS_ALONG_AXIS).astype(int).tolist():
        for left in np.linspace(0, width - side, FIELDS_ALONG_AXIS).astype(int).tolist():
            box = Box(left, top, left + side, top + side)
            low = to_grey(slide.read(box, level))
            if low.std() >= LEAST_CONTRAST:
                mean = to_grey(average_blocks(slide.read(box * ratio, 0), ratio))
                found.append((float(low.std()), register_translation(mean, low)))
    return found
