"""The colours of a trust layer, as a picture to lay over the result.

What is bounded by 5 grey levels is clear, from there on it goes from yellow over orange to dark red at 40. What is grey
is unknown, or no tissue: a place of which nothing is known must not look as if it could be trusted.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from wsisr.upscaling.trust.summary import NOT_CALIBRATED, BoundPlane

_CLEAR, _DARKEST = 5, 40
"""Grey levels up to which a place is left clear, and from which on the colour gets no darker."""
_RAMP = np.array([(255, 237, 120, 70), (253, 141, 40, 150), (140, 10, 20, 200)], float)
"""Red, green, blue and opacity at the beginning, in the middle and at the end."""
_UNKNOWN = (120, 130, 140, 90)


def draw_bounds(bounds: BoundPlane) -> bytes:
    """Return a PNG, a pixel a cell."""
    picture = Image.fromarray(bounds)
    colours = list_bound_colours()
    picture.putpalette(colours[:, :3].tobytes())
    file = BytesIO()
    picture.save(file, "PNG", transparency=colours[:, 3].tobytes())
    return file.getvalue()


def list_bound_colours() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return red, green, blue and opacity of each value of the layer, (256, 4) uint8."""
    share = (np.arange(256) - _CLEAR) / (_DARKEST - _CLEAR)
    channels = [np.interp(share, np.linspace(0, 1, len(_RAMP)), _RAMP[:, channel]) for channel in range(4)]
    colours = np.stack(channels, axis=1)
    colours[: _CLEAR + 1, 3] = 0
    colours[NOT_CALIBRATED] = _UNKNOWN
    return np.asarray(np.rint(colours), np.uint8)
