"""Two aligned captures of one specimen, and the registration of each patch of the coarser one in the finer one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from wsisr.dataset.alignment import SlideView, align_captures, map_box, register_patch, require_pixel_size
from wsisr.dataset.records import SCALES
from wsisr.dataset.registration.acceptance import RegistrationFailure
from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.consensus import MapConsensus
from wsisr.dataset.registration.refinement import FittedMap, Float64Array, PixelValues, RegistrationTarget
from wsisr.dataset.slide_facts import SlideFacts
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide

PATCH_SEARCH_PX = 2
"""Search radius of a patch about the map of the whole captures, in px of the coarser one; alignment errs by less."""

MAX_DISTANCE_PX = 1.0
"""Largest distance of a registered patch from the map of the whole captures, in px of the coarser capture."""

FAR_FROM_MAP = "leaves the map of the whole captures"
"""Stored reason for rejecting a patch beyond `MAX_DISTANCE_PX`."""

SCALE_TOLERANCE = 1.25
"""Factor by which the ratio of the pixel sizes may differ from a scale of `SCALES`."""


@dataclass(frozen=True, slots=True)
class RegisteredPatch:
    """A patch of the coarser capture with its position in the finer one."""

    box: Box
    """In px of the coarser capture."""
    fitted: FittedMap
    """From px of the patch, whose origin is the corner of the box, to px of the finer capture."""
    shift: tuple[float, float]
    """x and y from where the map of the whole captures has the centre of the patch, in px of the finer capture."""

    def find_high_box(self, margin: int = 0) -> Box:
        """Return the smallest box of the finer capture that holds the patch and a margin."""
        return map_box(Box.from_size(self.box.size), self.fitted.map, margin)


@dataclass(frozen=True, slots=True)
class AlignedCaptures:
    """Two captures of one specimen, each at its own pixel size, and the map between them."""

    low: SlideView
    high: SlideView
    scale: int
    """High-resolution px per px of the coarser capture in the pairs; the captures' own ratio may differ a little."""
    consensus: MapConsensus
    """Map from the coarser to the finer capture, um to um."""

    @classmethod
    def align(cls, low: Slide, high: Slide, check: Callable[[], None]) -> AlignedCaptures:
        """Align two captures; `check` is called between fields.

        Raises `NoCommonTissueError` if they show no common tissue, `DatasetError` if their pixel sizes fit no scale.
        """
        scale = find_scale(low, high)
        consensus = align_captures(low, high, check)
        low_view, high_view = (SlideView.at_pixel_size(slide, require_pixel_size(slide, 0)) for slide in (low, high))
        return cls(low_view, high_view, scale, consensus)

    @property
    def low_to_high(self) -> Affine:
        """Map from px of the coarser capture to px of the finer one."""
        low_mpp, high_mpp = (require_pixel_size(view.slide, 0) for view in (self.low, self.high))
        return self.consensus.map.rescale(low_mpp, high_mpp)

    def register_patches(self, side: int, facts: SlideFacts, check: Callable[[], None]) -> Iterator[RegisteredPatch]:
        """Yield the patches of `side` px of the coarser capture that were registered; count the others in `facts`."""
        low_to_high = self.low_to_high
        for box in self._grid_boxes(side):
            check()
            patch = self.low.read(box)
            fitted = register_patch(patch, box, self.high, low_to_high, PATCH_SEARCH_PX)
            if isinstance(fitted, RegistrationFailure):
                facts.reject(str(fitted), patch)
                continue
            registered = RegisteredPatch(box, fitted, _measure_shift(box, fitted, low_to_high))
            if math.hypot(*registered.shift) > MAX_DISTANCE_PX * low_to_high.scale:
                facts.reject(FAR_FROM_MAP, patch)
            else:
                yield registered

    def _grid_boxes(self, side: int) -> Iterator[Box]:
        """Yield boxes of the coarser capture without overlap that lie within the finer one."""
        low, high, low_to_high = self.low.size, Box.from_size(self.high.size), self.low_to_high
        for top in range(0, low.height - side + 1, side):
            for left in range(0, low.width - side + 1, side):
                box = Box(left, top, left + side, top + side)
                if high.contains(map_box(box, low_to_high, 2)):
                    yield box

    def simulate_low(self, patch: RegisteredPatch) -> PixelValues:
        """Return the finer capture as the coarser one would show it at the patch, (h, w, 3) of grey levels."""
        fitted = patch.fitted
        around = self.high.clip(patch.find_high_box(round(4 * fitted.map.scale)))
        target = RegistrationTarget.prepare(self.high.read(around), fitted.map.scale)
        return target.resample(fitted.map.translate(-around.left, -around.top), patch.box.size)

    def warp_high(self, patch: RegisteredPatch) -> Float64Array:
        """Return the finer capture on the grid of the coarser one: (p, p, 3), `scale` px per px of that one."""
        # Lanczos' kernel reaches 4 px beyond the patch; 8 leaves room.
        around = self.high.clip(patch.find_high_box(8))
        patch_to_image = patch.fitted.map.translate(-around.left, -around.top)
        return warp_to_grid(self.high.read(around), patch_to_image, patch.box.width * self.scale, self.scale)


def find_scale(low: Slide, high: Slide) -> int:
    """Return the scale of `SCALES` between two captures. Raises `DatasetError` if their pixel sizes fit none."""
    ratio = require_pixel_size(low, 0) / require_pixel_size(high, 0)
    scale = min(SCALES, key=lambda candidate: abs(np.log(ratio / candidate)))
    if not 1 / SCALE_TOLERANCE < ratio / scale < SCALE_TOLERANCE:
        raise DatasetError(
            f"{low.info.path}: its pixels are {ratio:.3g} times as coarse as those of {high.info.path.name}; "
            f"pairs need about {', '.join(map(str, SCALES))} times; name the coarser capture first"
        )
    return scale


def warp_to_grid(image: Rgb, patch_to_image: Affine, side: int, scale: int) -> Float64Array:
    """Warp an image to (side, side, 3) of grey levels, `scale` px per px of the patch, by Lanczos' 8 x 8 px kernel."""
    # OpenCV's Lanczos does not antialias: this relies on the ratio being within `SCALE_TOLERANCE` of the scale.
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        image.astype(np.float32),
        patch_to_image.rescale(1 / scale, 1).opencv_matrix,
        (side, side),
        flags=flags,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(warped, np.float64)


def _measure_shift(box: Box, fitted: FittedMap, low_to_high: Affine) -> tuple[float, float]:
    centre = np.array([[box.width / 2, box.height / 2]])
    x, y = fitted.map(centre)[0] - low_to_high.shift_origin(box.left, box.top)(centre)[0]
    return float(x), float(y)
