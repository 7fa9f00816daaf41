"""Nuclei that a bench plants and erases are where it says, and it tells who follows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.bench.science.planted import Follower, count_field
from tests.support.nuclei import PINK, draw_disks, list_centres
from tests.support.planting import PATCH_UM, ChangedTruth, Field, change_truth, measure_clearance
from wsisr.evaluation.nuclei import HaematoxylinSegmenter
from wsisr.evaluation.nuclei_matching import match_points
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import Unchanged, UpscalerInfo

SIDE, MPP = 400, 0.5


@dataclass(frozen=True)
class Blind:
    """An upscaler that shows pink whatever it is given."""

    warnings: tuple[str, ...] = ()

    @property
    def info(self) -> UpscalerInfo:
        return UpscalerInfo("blind", scale=1, receptive_field=0, hardware="in a test")

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return np.full_like(tiles, PINK)


@pytest.fixture(scope="module")
def segment() -> HaematoxylinSegmenter:
    return HaematoxylinSegmenter.from_parts([(draw_field(), Box(0, 0, SIDE, SIDE))], MPP)


def draw_field() -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return draw_disks(Size(SIDE, SIDE), list_centres(SIDE * MPP, 30.0), 3.5, MPP)


@pytest.fixture(scope="module")
def field(segment: HaematoxylinSegmenter) -> Field:
    image = draw_field()
    return Field(image, segment(image, MPP), MPP)


@pytest.fixture(scope="module")
def changed(field: Field) -> ChangedTruth:
    return change_truth(field, 8, np.random.default_rng(0))


def test_planted_nuclei_are_found_where_there_were_none_and_erased_ones_no_more(
    field: Field, changed: ChangedTruth, segment: HaematoxylinSegmenter
) -> None:
    before = field.nuclei.centroids
    after = Field(changed.image, segment(changed.image, MPP), MPP).nuclei.centroids
    assert len(changed.planted) == len(changed.erased) == 8
    assert [len(match_points(changed.planted, found)) for found in (before, after)] == [0, 8]
    assert [len(match_points(changed.erased, found)) for found in (before, after)] == [8, 0]
    assert len(after) == len(before)


def test_nothing_else_is_changed(field: Field, changed: ChangedTruth) -> None:
    marked = np.zeros((SIDE, SIDE), bool)
    x, y = np.floor(np.concatenate([changed.planted, changed.erased]) / MPP).astype(int).T
    marked[y, x] = True
    far = measure_clearance(marked, MPP) > PATCH_UM * 2**0.5 + MPP
    assert (field.image[far] == changed.image[far]).all()
    assert (changed.image == change_truth(field, 8, np.random.default_rng(0)).image).all()


def test_who_shows_its_input_follows_and_who_is_blind_does_not(
    field: Field, changed: ChangedTruth, segment: HaematoxylinSegmenter
) -> None:
    faithful = count_field(field, changed, segment, Unchanged())
    assert (faithful.planted, faithful.recalled, faithful.erased, faithful.ghosts) == (8, 8, 8, 0)
    assert faithful.invented == 0
    assert np.median(faithful.answers) == pytest.approx(1, abs=0.1)  # JPEG takes a little
    blind = count_field(field, changed, segment, Blind())
    assert (blind.recalled, blind.ghosts, blind.answers) == (0, 0, (0.0,) * 8)


def test_what_a_result_adds_in_clear_tissue_is_invented(
    field: Field, changed: ChangedTruth, segment: HaematoxylinSegmenter
) -> None:
    stamped = draw_disks(Size(SIDE, SIDE), [(15 + 30 * i, 30.0) for i in range(1, 6)], 3.5, MPP)

    @dataclass(frozen=True)
    class Inventive(Blind):
        def __call__(self, tiles: RgbBatch) -> RgbBatch:
            return np.minimum(tiles, stamped)

    kept = ChangedTruth(field.image, changed.planted[:0], changed.erased[:0])
    found = count_field(field, kept, segment, Inventive())
    assert isinstance(found, Follower)
    assert found.invented == 5
    assert 0.01 < found.clear_mm2 < (SIDE * MPP / 1000) ** 2
