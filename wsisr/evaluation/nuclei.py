"""Nuclei of an image: found by a classical, stated method, or by a function of the user's.

Haematoxylin by colour deconvolution (Ruifrok and Johnston 2001), smoothed; a threshold by Otsu (1979) over the tissue
of the truth, one for all images of a row; touching nuclei parted by a watershed on the distance to the background. No
learned segmenter: what one was trained on would be measured, too. scikit-image does it (the extra `wsisr[evaluate]`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.errors import ConfigError
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import Float32Array
from wsisr.imaging.pixels import Rgb

Labels: TypeAlias = npt.NDArray[np.int32]
"""(h, w): 0 is no nucleus, every other number one nucleus."""

Mask: TypeAlias = npt.NDArray[np.bool_]
"""(h, w)"""

SMOOTHING_UM = 0.5
"""Standard deviation of the Gaussian on the haematoxylin: less than a nucleus by far, more than grains of JPEG."""

SMOOTHING_RADIUS_UM = 4 * SMOOTHING_UM + 1
"""How far it reaches, with a pixel or more to spare."""

LEAST_AREA_UM2 = 8.0
"""Smaller spots are no nuclei, and smaller holes in one are filled: a circle of 3.2 um."""

LEAST_DISTANCE_UM = 3.0
"""Two centres of a clump that lie nearer are one nucleus."""

CENTRE_SMOOTHING_UM = 0.75
"""Standard deviation of the Gaussian on the distances whose maxima are centres."""

TISSUE_DENSITY = 0.15
"""Mean optical density (natural logarithm) from which a pixel counts as tissue."""

HISTOGRAM_END, HISTOGRAM_BINS = 0.5, 1000
"""Haematoxylin, in the units of scikit-image, up to which it is counted for the threshold; more counts as that."""

_STRIP_PX = 1 << 18
"""Pixels at a time whose stains are separated, in double precision."""

_LIGHTEST_TISSUE = 256 * float(np.exp(-TISSUE_DENSITY)) - 1
"""Mean grey level of the lightest tissue."""


class NucleusSegmenter(Protocol):
    """Anything that finds nuclei. The user's own is given to `NucleiOptions`, in Python."""

    def __call__(self, image: Rgb, mpp: float) -> npt.NDArray[Any]:
        """Return labels of nuclei (h, w), whole numbers with 0 for none, in (h, w, 3) of that pixel size in um/px."""
        ...


@dataclass(frozen=True, slots=True)
class HaematoxylinSegmenter:
    """The classical method of this module. Equal pixels give equal nuclei."""

    threshold: float
    """Haematoxylin above which a pixel is of a nucleus, in the units of `skimage.color.rgb2hed`."""

    @classmethod
    def from_parts(cls, parts: Iterable[tuple[Rgb, Box]], mpp: float) -> Self:
        """Choose the threshold by Otsu over the tissue of all parts together; they are looked at one by one.

        A part is an image, and the box in it that counts: with `SMOOTHING_RADIUS_UM` around it, it does not matter how
        a level was divided.
        """
        from skimage.filters import threshold_otsu  # noqa: PLC0415 - an extra

        counts, edges = np.histogram([], HISTOGRAM_BINS, (0, HISTOGRAM_END))
        for image, box in parts:
            stain, grey = measure_haematoxylin(image, mpp), image.mean(axis=2, dtype=np.float32)
            of_tissue = stain[box.rows, box.columns][grey[box.rows, box.columns] <= _LIGHTEST_TISSUE]
            counts = counts + np.histogram(of_tissue.clip(0, HISTOGRAM_END), edges)[0]
        if np.count_nonzero(counts) < 2:
            return cls(HISTOGRAM_END)
        return cls(float(threshold_otsu(hist=(counts, (edges[1:] + edges[:-1]) / 2))))

    def __call__(self, image: Rgb, mpp: float) -> Labels:
        return separate_nuclei(measure_haematoxylin(image, mpp) > self.threshold, mpp)


def check_nuclei_extra() -> None:
    """Raise `ConfigError` if scikit-image is missing."""
    try:
        import skimage  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise ConfigError("finding nuclei needs scikit-image; pip install 'wsisr[evaluate]'") from error


def measure_haematoxylin(image: Rgb, mpp: float) -> Float32Array:
    """Return the amount of haematoxylin in each pixel, smoothed: (h, w, 3) to (h, w)."""
    import cv2  # noqa: PLC0415 - as in wsisr.imaging.pixels
    from skimage.color import hed_from_rgb, separate_stains  # noqa: PLC0415 - an extra

    rows = max(1, _STRIP_PX // image.shape[1])
    strips = (image[top : top + rows] for top in range(0, image.shape[0], rows))
    stain = np.concatenate([separate_stains(strip, hed_from_rgb)[..., 0].astype(np.float32) for strip in strips])
    return np.asarray(cv2.GaussianBlur(stain, (0, 0), SMOOTHING_UM / mpp), np.float32)


def separate_nuclei(mask: Mask, mpp: float) -> Labels:
    """Number the nuclei of a mask, touching ones apart, spots and holes dropped: (h, w) to (h, w)."""
    import cv2  # noqa: PLC0415
    from skimage.feature import peak_local_max  # noqa: PLC0415
    from skimage.segmentation import watershed  # noqa: PLC0415

    least_px = LEAST_AREA_UM2 / mpp**2
    filled = ~_drop_small(~_drop_small(mask, least_px), least_px)
    distances = cv2.distanceTransform(filled.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    smooth = cv2.GaussianBlur(distances, (0, 0), CENTRE_SMOOTHING_UM / mpp)
    clumps = _label_components(filled)[0]
    centres = peak_local_max(
        smooth, min_distance=max(1, round(LEAST_DISTANCE_UM / mpp)), labels=clumps, exclude_border=False
    )
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(centres.T)] = np.arange(1, len(centres) + 1)
    return np.asarray(watershed(-smooth, markers, mask=filled), np.int32)


def _drop_small(mask: Mask, least_px: float) -> Mask:
    """Return the mask without its components of fewer pixels."""
    labels, areas = _label_components(mask)
    keep = areas >= least_px
    keep[0] = False
    return np.asarray(keep[labels])


def _label_components(mask: Mask) -> tuple[Labels, npt.NDArray[np.int64]]:
    """Return the numbers of the components, 0 for what is outside of the mask, and the area of each number in px."""
    import cv2  # noqa: PLC0415

    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return np.asarray(labels, np.int32), statistics[:, cv2.CC_STAT_AREA].astype(np.int64)
