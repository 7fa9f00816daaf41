"""Truths that differ from a real one in known places: nuclei that were planted, and nuclei that were erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.evaluation.nuclei import TISSUE_DENSITY, Labels, Mask
from wsisr.evaluation.nuclei_matching import Nuclei, Points
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import Float32Array
from wsisr.imaging.pixels import Rgb

PATCH_UM = 8.0
"""Half the side of the squares that are moved: a nucleus with what is around it."""

CLEAR_UM = 6.0
"""Distance of a place from the nearest nucleus, where there is room for one."""

APART_UM = 18.0
"""Least distance of two changes: none is in the other's square."""

RIM_UM = 1.0
"""How far around its mask a nucleus is moved with its own surroundings, blurred."""

DONOR_AREAS_UM2 = (20.0, 70.0)
"""Areas of the nuclei that are planted and erased: neither fragments nor clumps."""

TISSUE_WINDOW_UM = 8.0
"""Side of the square whose mean density tells tissue from glass."""


@dataclass(frozen=True, slots=True)
class ChangedTruth:
    """A truth with nuclei planted and erased, and where."""

    image: Rgb
    planted: Points
    erased: Points


@dataclass(frozen=True, slots=True)
class Field:
    """A real truth and the nuclei in it."""

    image: Rgb
    labels: Labels
    mpp: float

    @property
    def nuclei(self) -> Nuclei:
        box = Box(0, 0, self.image.shape[1], self.image.shape[0])
        return Nuclei.from_labels(self.labels, box, (0, 0), self.mpp)

    @property
    def radius_px(self) -> int:
        return round(PATCH_UM / self.mpp)

    def cut_square(self, place: tuple[int, int]) -> tuple[slice, slice]:
        """Return the square around a pixel, x and y."""
        (x, y), radius = place, self.radius_px
        return slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)


def change_truth(field: Field, count: int, random: np.random.Generator) -> ChangedTruth:
    """Plant up to `count` nuclei of the field where it has none, and erase as many others."""
    lone = _find_lone_nuclei(field)
    free = _find_free_places(field)
    taken: list[tuple[int, int]] = []
    sites = _choose_apart(free, count, random, taken, field)
    erased = _choose_apart(lone, count, random, taken, field)
    image = field.image.copy()
    if not lone or not free:
        return ChangedTruth(image, np.empty((0, 2)), np.empty((0, 2)))
    for site in sites:
        donor = lone[int(random.integers(len(lone)))]
        _paste(image, field, site, field.image[field.cut_square(donor)], _measure_alpha(field, donor, RIM_UM))
    for place in erased:
        ground = field.image[field.cut_square(free[int(random.integers(len(free)))])]
        alpha = _measure_alpha(field, place, 2 * RIM_UM)
        _paste(image, field, place, _match_surroundings(ground, image[field.cut_square(place)], alpha), alpha)
    return ChangedTruth(image, _to_points(sites, field.mpp), _to_points(erased, field.mpp))


def find_tissue_pixels(image: Rgb, mpp: float) -> Mask:
    """Return where the mean optical density around a pixel is that of tissue, (h, w)."""
    density = -np.log((image.mean(axis=2, dtype=np.float32) + 1) / 256)
    side = max(1, round(TISSUE_WINDOW_UM / mpp))
    return np.asarray(cv2.blur(density, (side, side)) >= TISSUE_DENSITY)


def measure_clearance(mask: Mask, mpp: float) -> Float32Array:
    """Return the distance in um of each pixel from the nearest one of a mask, (h, w); far away if it is empty."""
    distances = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances * mpp, np.float32)


def _find_free_places(field: Field) -> list[tuple[int, int]]:
    """List the pixels, x and y, of tissue around which there is room for a nucleus."""
    is_free = find_tissue_pixels(field.image, field.mpp) & (measure_clearance(field.labels > 0, field.mpp) > CLEAR_UM)
    rows, columns = np.nonzero(_inside(field, is_free))
    return list(zip(columns.tolist(), rows.tolist(), strict=True))


def _find_lone_nuclei(field: Field) -> list[tuple[int, int]]:
    """List the centroids, x and y in px, of nuclei of usual size that touch no other one."""
    nuclei, height, width = field.nuclei, *field.labels.shape
    found = []
    for (x, y), area in zip(nuclei.centroids / field.mpp, nuclei.areas, strict=True):
        place = int(x), int(y)
        near = field.radius_px <= x < width - field.radius_px and field.radius_px <= y < height - field.radius_px
        if near and DONOR_AREAS_UM2[0] <= area <= DONOR_AREAS_UM2[1] and _is_lone(field, place):
            found.append(place)
    return found


def _is_lone(field: Field, place: tuple[int, int]) -> bool:
    square = field.labels[field.cut_square(place)]
    own = square[field.radius_px, field.radius_px]
    others = measure_clearance((square > 0) & (square != own), field.mpp)
    return bool(own and others[square == own].min() > 2 * RIM_UM)


def _inside(field: Field, mask: Mask) -> Mask:
    inner = np.zeros_like(mask)
    part = slice(field.radius_px, -field.radius_px - 1)
    inner[part, part] = mask[part, part]
    return inner


def _choose_apart(
    places: Sequence[tuple[int, int]],
    count: int,
    random: np.random.Generator,
    taken: list[tuple[int, int]],
    field: Field,
) -> list[tuple[int, int]]:
    """Choose up to `count` places that are apart from each other and from those that are taken; adds to these."""
    chosen: list[tuple[int, int]] = []
    for number in random.permutation(len(places))[: 40 * count].tolist():
        place = places[number]
        if all(np.hypot(place[0] - x, place[1] - y) * field.mpp >= APART_UM for x, y in taken):
            taken.append(place)
            chosen.append(place)
        if len(chosen) == count:
            break
    return chosen


def _measure_alpha(field: Field, place: tuple[int, int], rim_um: float) -> Float32Array:
    """Return how much of a square belongs to the nucleus in its middle, 0 to 1, (side, side, 1)."""
    square = field.labels[field.cut_square(place)]
    own = square == square[field.radius_px, field.radius_px]
    alpha = (measure_clearance(own, field.mpp) <= rim_um).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), rim_um / 2 / field.mpp), np.float32)[..., None]


def _match_surroundings(ground: Rgb, around: Rgb, alpha: Float32Array) -> npt.NDArray[np.float32]:
    """Return ground in the mean colour of what lies around the place that it is to cover."""
    outside = 1 - alpha
    wanted, own = ((outside * image).sum(axis=(0, 1)) / outside.sum() for image in (around, ground))
    return np.asarray(ground + (wanted - own), np.float32)


def _paste(
    image: Rgb, field: Field, place: tuple[int, int], patch: npt.NDArray[np.number], alpha: Float32Array
) -> None:
    square = field.cut_square(place)
    image[square] = np.rint(image[square] + alpha * (patch - image[square].astype(np.float32))).clip(0, 255)


def _to_points(places: Sequence[tuple[int, int]], mpp: float) -> Points:
    return (np.array(places, np.float64).reshape(-1, 2) + 0.5) * mpp
