"""Pictures of nuclei whose places and sizes are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

PINK, BLUE = (236, 200, 222), (92, 70, 150)


def draw_disks(size: Size, centres_um: Sequence[tuple[float, float]], radius_um: float, mpp: float) -> Rgb:
    """Return pink tissue with blue disks, centres x and y from the picture's corner."""
    image = np.full((size.height, size.width, 3), PINK, np.uint8)
    y, x = (np.mgrid[: size.height, : size.width] + 0.5) * mpp
    for left, top in centres_um:
        image[(x - left) ** 2 + (y - top) ** 2 <= radius_um**2] = BLUE
    return image


def list_centres(side_um: float, step_um: float) -> list[tuple[float, float]]:
    """List the points of a grid that is half a step away from the edges."""
    along = np.arange(step_um / 2, side_um - step_um / 4, step_um).tolist()
    return [(x, y) for y in along for x in along]
