"""Measuring in blocks gives what measuring the whole image gives, for every score."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.samples import make_noise, write_generic_pyramid
from wsisr.errors import SlideError
from wsisr.evaluation import (
    AS_STORED,
    BackProjection,
    EvaluationInput,
    ExamplePatch,
    FlatScores,
    Sampling,
    ScoreRow,
    evaluate_level,
    list_levels_to_evaluate,
    list_stored_inputs,
)
from wsisr.evaluation.level_shift import measure_level_shift
from wsisr.evaluation.pairs import LevelPair
from wsisr.imaging.density import scale_density
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.jpeg import recompress_jpeg
from wsisr.imaging.metrics import compute_psnr, compute_ssim
from wsisr.imaging.pixels import FilterName, Rgb, RgbBatch, average_blocks, halve_image, resize_image, shrink_image
from wsisr.imaging.resampling import ResampledGrid
from wsisr.imaging.texture import compare_texture
from wsisr.models.upscaler import Resampling, Upscaler, UpscalerInfo
from wsisr.progress import Progress
from wsisr.slides import Slide, open_slide


@dataclass(frozen=True)
class Repeat:
    """Every pixel `scale` times in both directions."""

    scale: int
    warnings: tuple[str, ...] = ()

    @property
    def info(self) -> UpscalerInfo:
        return UpscalerInfo("repeat", self.scale, receptive_field=0, hardware="in a test")

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return tiles.repeat(self.scale, axis=1).repeat(self.scale, axis=2)


def make_picture() -> Rgb:
    """(397, 531, 3), neither side even: cloudy, sharp and flat parts."""
    image = resize_image(make_noise(Size(60, 45)), 531, 397, "bicubic").copy()
    image[200:, :150] = make_noise(Size(150, 197))
    image[60:300, 300:] = 251 + make_noise(Size(231, 240)) % 3
    return image


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyramid of three levels at 0.25 um/px."""
    top = make_picture()
    levels = [top, halve_image(top), np.full((20, 27, 3), 200, np.uint8)]
    file = tmp_path_factory.mktemp("slides") / "small.tif"
    return write_generic_pyramid(file, levels, resolution=(40000, 40000), resolutionunit=3)


def evaluate_to_row(
    path: Path,
    upscaler: Upscaler,
    kernel: FilterName,
    level: int = 0,
    sampling: Sampling | None = None,
    quality: int | None = None,
) -> ScoreRow:
    with open_slide(path) as slide:
        source = EvaluationInput(kernel, quality)
        return evaluate_source(slide, upscaler, source, level, sampling)


def evaluate_source(
    slide: Slide, upscaler: Upscaler, source: EvaluationInput, level: int = 0, sampling: Sampling | None = None
) -> ScoreRow:
    *steps, last = evaluate_level(slide, upscaler, level, source, sampling or Sampling())
    assert all(isinstance(step, Progress | ExamplePatch) for step in steps)
    assert isinstance(last, ScoreRow)
    return last


def inside(image: Rgb) -> Rgb:
    return image[8:-8, 8:-8]


def high_and_low(scale: int, kernel: FilterName) -> tuple[Rgb, Rgb]:
    high = make_picture()[: 397 // scale * scale, : 531 // scale * scale]
    return high, shrink_image(high, scale, kernel)


@pytest.mark.parametrize("block_px", [64, 192, 512])
@pytest.mark.parametrize("kernel", ["area", "bicubic", "lanczos"])
@pytest.mark.parametrize("scale", [2, 4])
def test_blocks_score_as_the_whole_image(path: Path, scale: int, kernel: FilterName, block_px: int) -> None:
    high, low = high_and_low(scale, kernel)
    upscalers: list[Upscaler] = [Resampling("lanczos", scale), Resampling("bicubic", scale), BackProjection(scale)]
    found = evaluate_to_row(path, upscalers[0], kernel, sampling=Sampling(block_px))
    for upscaler, scores in zip(upscalers, (found.model, found.bicubic, found.back_projection), strict=True):
        output = upscaler(low[None])[0]
        assert scores.psnr == compute_psnr(inside(output), inside(high))
        assert scores.ssim == pytest.approx(compute_ssim(inside(output), inside(high)), abs=1e-9)
        border = 8 // scale
        drift = shrink_image(output, scale, "area").astype(float)[border:-border, border:-border]
        assert scores.consistency_error == np.abs(drift - low[border:-border, border:-border]).mean()
        cells = tuple(slice(60, (side - 8) // 64 * 64 + 4) for side in high.shape[:2])
        whole = compare_texture(output[cells], high[cells])
        assert scores.texture is not None
        assert whole is not None
        assert scores.texture.distance == pytest.approx(whole.distance, rel=1e-5)
        assert scores.texture.detail == pytest.approx(whole.detail, rel=1e-5)


@pytest.mark.parametrize("block_px", [64, 192, 512])
@pytest.mark.parametrize("scale", [2, 4])
def test_an_input_stored_as_jpeg_scores_as_the_whole_image_stored_at_once(
    path: Path, scale: int, block_px: int
) -> None:
    high, low = high_and_low(scale, "bicubic")
    seen = recompress_jpeg(low, 60)
    upscalers: list[Upscaler] = [Resampling("lanczos", scale), Resampling("bicubic", scale), BackProjection(scale)]
    found = evaluate_to_row(path, upscalers[0], "bicubic", sampling=Sampling(block_px), quality=60)
    assert found.source.quality == 60
    for upscaler, scores in zip(upscalers, (found.model, found.bicubic, found.back_projection), strict=True):
        output = upscaler(seen[None].copy())[0]
        assert scores.psnr == compute_psnr(inside(output), inside(high))
        border = 8 // scale
        drift = shrink_image(output, scale, "area").astype(float)[border:-border, border:-border]
        assert scores.consistency_error == np.abs(drift - seen[border:-border, border:-border]).mean()


@pytest.mark.parametrize("block_px", [64, 512])
@pytest.mark.parametrize("scale", [2, 4])
def test_flat_cells_score_as_cut_out_of_the_whole_image(path: Path, scale: int, block_px: int) -> None:
    high, low = high_and_low(scale, "area")
    outputs = [Repeat(scale)(low[None])[0], Resampling("bicubic", scale)(low[None])[0]]
    cells = [
        np.s_[top : top + 64, left : left + 64]
        for top in range(64, high.shape[0] - 8 - 63, 64)
        for left in range(64, high.shape[1] - 8 - 63, 64)
    ]
    flat = [cell for cell in cells if high[cell].mean(axis=2).std() < 6]
    errors = np.array([[((out[cell].astype(float) - high[cell]) ** 2).mean() for cell in flat] for out in outputs])
    decibels = 10 * np.log10(255**2 / errors.mean(axis=1))
    found = evaluate_to_row(path, Repeat(scale), "area", sampling=Sampling(block_px)).flat
    assert isinstance(found, FlatScores)
    assert (found.cells, found.cells_below) == (len(flat), int((errors[0] > errors[1]).sum()))
    assert 0 < found.cells < len(cells)
    assert [found.model_psnr, found.bicubic_psnr] == pytest.approx(decibels)


@pytest.mark.parametrize("size", [Size(120, 700), Size(700, 120), Size(150, 389)])
def test_scores_of_a_narrow_image_do_not_depend_on_the_blocks(tmp_path: Path, size: Size) -> None:
    file = write_generic_pyramid(tmp_path / "narrow.tif", [make_noise(size)])
    small, large = (evaluate_to_row(file, Repeat(2), "bicubic", sampling=Sampling(block_px)) for block_px in (64, 512))
    assert small.bicubic.ssim == pytest.approx(large.bicubic.ssim, abs=1e-9)
    assert [s.psnr for s in (small.model, small.bicubic, small.back_projection)] == [
        s.psnr for s in (large.model, large.bicubic, large.back_projection)
    ]
    assert small.bicubic.consistency_error == large.bicubic.consistency_error


@pytest.mark.parametrize("kernel", ["area", "bicubic"])
def test_bicubic_gains_nothing_over_bicubic(path: Path, kernel: FilterName) -> None:
    found = evaluate_to_row(path, Resampling("bicubic", 4), kernel)
    assert found.gain == 0
    assert found.model == found.bicubic
    assert found.flat is not None
    assert (found.flat.gain, found.flat.cells_below) == (0, 0)


@pytest.mark.parametrize("scale", [2, 4])
def test_back_projection_beats_bicubic_and_is_more_consistent(path: Path, scale: int) -> None:
    found = evaluate_to_row(path, Repeat(scale), "area")
    assert found.back_projection_gain > 0
    assert found.back_projection.consistency_error < found.bicubic.consistency_error


def test_repeating_pixels_is_perfectly_consistent_and_worse_than_bicubic(path: Path) -> None:
    found = evaluate_to_row(path, Repeat(2), "area")
    assert found.model.consistency_error == 0
    assert found.gain < 0


def test_a_row_says_what_was_measured(path: Path) -> None:
    found = evaluate_to_row(path, Repeat(2), "area", level=1)
    assert (found.slide, found.level, found.source) == (path, 1, EvaluationInput("area"))
    assert found.mpp_hr == pytest.approx(0.5, rel=1e-2)
    assert found.mpp_lr == pytest.approx(1.0, rel=1e-2)
    # Level 1 is 266 x 199 px, of which 266 x 198 are a multiple of the scale.
    assert found.pixels == found.level_pixels == (266 - 16) * (198 - 16)


def test_the_blocks_are_counted_to_the_end(path: Path) -> None:
    with open_slide(path) as slide:
        steps = list(evaluate_level(slide, Repeat(2), 0, EvaluationInput(), Sampling(128)))
    counts = [step for step in steps if isinstance(step, Progress)]
    assert counts == [Progress("evaluate", done, 6) for done in range(7)]


def test_a_level_beyond_the_limit_is_sampled_and_the_row_says_so(path: Path) -> None:
    sampling = Sampling(64, limit_px=5 * 128**2)
    found = evaluate_to_row(path, Repeat(2), "area", sampling=sampling)
    assert 0 < found.pixels <= sampling.limit_px < found.level_pixels
    assert found == evaluate_to_row(path, Repeat(2), "area", sampling=sampling)


def test_a_level_without_flat_cells_has_no_flat_scores(tmp_path: Path) -> None:
    file = write_generic_pyramid(tmp_path / "busy.tif", [make_noise(Size(150, 150))])
    found = evaluate_to_row(file, Repeat(2), "area")
    assert (found.flat, found.mpp_hr, found.mpp_lr) == (None, None, None)


def test_a_level_that_is_too_small_is_refused_in_words(path: Path) -> None:
    with pytest.raises(SlideError, match=r"small\.tif: level 2 is 27 x 20 px, too small .* at least 28 px"):
        evaluate_to_row(path, Repeat(2), "area", level=2)


def test_a_level_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(SlideError, match="no level 3"):
        evaluate_to_row(path, Repeat(2), "area", level=3)


@pytest.mark.parametrize("size", [Size(28, 28), Size(29, 31)])
def test_the_smallest_image_has_finite_scores(tmp_path: Path, size: Size) -> None:
    file = write_generic_pyramid(tmp_path / "tiny.tif", [make_noise(size)], tile=(16, 16))
    found = evaluate_to_row(file, Repeat(2), "area")
    assert np.isfinite([found.model.psnr, found.model.ssim, found.model.consistency_error]).all()


def test_all_levels_are_those_large_enough(path: Path, tmp_path: Path) -> None:
    with open_slide(path) as slide:
        assert list_levels_to_evaluate(slide.info) == [0]
    levels = [make_noise(Size(1030, 512)), make_noise(Size(515, 256)), make_noise(Size(257, 128))]
    large = write_generic_pyramid(tmp_path / "large.tif", levels)
    with open_slide(large) as slide:
        assert list_levels_to_evaluate(slide.info) == [0, 1]


def test_a_faded_truth_scores_as_a_slide_that_has_faded(path: Path, tmp_path: Path) -> None:
    faded = write_generic_pyramid(tmp_path / "faded.tif", [scale_density(make_picture(), 0.3)])
    with open_slide(path) as slide, open_slide(faded) as other:
        found = evaluate_source(slide, Repeat(2), replace(AS_STORED, density=0.3), sampling=Sampling(64))
        expected = evaluate_source(other, Repeat(2), AS_STORED)
    assert [found.model.psnr, found.bicubic.psnr] == [expected.model.psnr, expected.bicubic.psnr]
    assert found.flat == expected.flat


def test_a_pixel_size_between_levels_scores_as_a_slide_of_that_pixel_size(path: Path, tmp_path: Path) -> None:
    picture, factor = make_picture(), 2**0.25
    grid = ResampledGrid(Size(531, 397), (factor, factor))
    coarser = grid.read(Box.from_size(grid.size), lambda box: picture[box.rows, box.columns])
    written = write_generic_pyramid(tmp_path / "coarser.tif", [coarser])
    with open_slide(path) as slide, open_slide(written) as other:
        found = evaluate_source(slide, Repeat(4), EvaluationInput(coarsening=factor), sampling=Sampling(64))
        expected = evaluate_source(other, Repeat(4), EvaluationInput())
    assert [found.model.psnr, found.bicubic.psnr] == [expected.model.psnr, expected.bicubic.psnr]
    assert found.pixels == expected.pixels
    assert found.mpp_hr == pytest.approx(0.25 * factor, rel=1e-2)


@pytest.mark.parametrize("shift", [(0, 0), (3, 1), (-2, 2), (-5, -1)])
@pytest.mark.parametrize("ratio", [2, 4])
def test_a_stored_level_is_compared_where_it_lies(tmp_path: Path, ratio: int, shift: tuple[int, int]) -> None:
    """The area mean of its truth is the level itself, but for what is rounded in between."""
    scene = resize_image(make_noise(Size(100, 80)), 400, 320, "bicubic")
    top, left = 8 + shift[1], 8 + shift[0]
    stored = shrink_image(scene[top : top + 288, left : left + 368], ratio, "area")
    file = write_generic_pyramid(tmp_path / "moved.tif", [scene[8:296, 8:376], stored])
    with open_slide(file) as slide:
        assert list_stored_inputs(slide.info, 2) == [1]
        assert measure_level_shift(slide, 1) == shift
        pair = LevelPair.from_slide(slide, 0, 2, EvaluationInput(None, stored_level=1))
        for block in Sampling(64).choose_blocks(pair.low_size, 2, 3)[-2:]:
            truth = pair.read_block(block)
            differences = np.abs(average_blocks(truth.high, 2).astype(int) - truth.low)
            assert differences.max() <= (ratio > 2)


def test_a_level_that_shows_something_else_is_no_input(tmp_path: Path) -> None:
    file = write_generic_pyramid(tmp_path / "a.tif", [make_noise(Size(400, 400)), make_noise(Size(200, 200), 1)])
    with open_slide(file) as slide, pytest.raises(SlideError, match="levels 0 and 1 show different things"):
        evaluate_source(slide, Repeat(2), EvaluationInput(None, stored_level=1))


def test_stored_levels_that_are_no_multiple_of_the_scale_are_no_inputs(tmp_path: Path) -> None:
    sizes = [Size(780, 780), Size(390, 390), Size(260, 260), Size(195, 195), Size(60, 60)]
    file = write_generic_pyramid(tmp_path / "a.tif", [make_noise(size) for size in sizes])
    with open_slide(file) as slide:
        assert (list_stored_inputs(slide.info, 2), list_stored_inputs(slide.info, 4)) == ([1, 3], [3])
