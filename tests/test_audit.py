"""Laws of what is measured while a result is made."""

from __future__ import annotations

import numpy as np
import pytest

from tests.samples import Picture, noise
from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb, Tiles
from wsisr.runtime import load_upscaler
from wsisr.slides import open_slide
from wsisr.source import Source
from wsisr.upscaler import Upscaler
from wsisr.upscaling import Audit, Options, blocks, plan


class Repeat:
    """Averaged back it is what it was; each tile may be darkened by its number."""

    name, hardware, weights, scale, context = "repeat", "nowhere", None, 2, 0
    remarks: tuple[str, ...] = ()

    def __init__(self, darker: int = 0) -> None:
        self.darker, self.tiles = darker, 0

    def __call__(self, tiles: Tiles) -> Tiles:
        self.tiles += 1
        off = self.darker if self.tiles == 4 else 0
        return tiles.repeat(2, axis=1).repeat(2, axis=2) - np.uint8(off)


def audited(pixels: Rgb, upscaler: Upscaler, overlap_px: int | None = None) -> Audit:
    audit = Audit(upscaler.scale)
    work = plan(Source(Picture(pixels), 0), upscaler, Options(128, overlap_px, audit=audit))
    for _ in blocks(work, upscaler):
        pass
    return audit


def test_without_seams_the_score_is_one() -> None:
    assert audited(np.full((300, 400, 3), 90, np.uint8), Repeat()).seams.mean == 1
    seams = audited(noise(Size(520, 390)), Repeat()).seams
    assert seams.borders == 4 * 4 + 5 * 3
    assert seams.mean == pytest.approx(1, abs=0.05)


def test_a_tile_that_differs_is_found_by_its_border_and_by_its_mean() -> None:
    audit = audited(np.full((256, 384, 3), 90, np.uint8), Repeat(darker=3))
    assert audit.seams.at[0] in (0, 256)
    assert audit.seams.worst > 10
    assert (audit.residual.worst, audit.residual.at) == (3, (0, 256))
    assert audit.residual.mean == pytest.approx(3 / 6)
    assert audit.residual.percentile == 3


def test_what_averages_back_to_its_input_has_no_residual() -> None:
    residual = audited(noise(Size(301, 203)), Repeat()).residual
    assert (residual.mean, residual.percentile, residual.worst) == (0, 0, 0)


def test_one_tile_has_no_border() -> None:
    assert audited(noise(Size(60, 50)), Repeat()).seams.borders == 0


def test_without_overlap_the_score_of_a_real_slide_rises(cmu_slide: object) -> None:
    with open_slide(str(cmu_slide)) as slide:
        pixels = slide.read(Box(900, 1100, 1284, 1356), 0)
    upscaler = load_upscaler(scale=2, mpp=0.5, device="cpu")
    assert audited(pixels, upscaler, 0).seams.mean > audited(pixels, upscaler).seams.mean + 0.02
