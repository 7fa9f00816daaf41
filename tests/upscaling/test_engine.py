"""Laws of the main job, on pictures and on a real slide."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import InMemorySlide, make_noise, upscale_pixels, write_tiff
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import Resampling, UpscalerInfo
from wsisr.progress import Progress
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion, select_region
from wsisr.upscaling.batches import group_batches
from wsisr.upscaling.engine import enlarge_blocks, upscale_region
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling
from wsisr.writing import read_metadata


class Repeat:
    """Nearest neighbour: the simplest upscaler there is."""

    info = UpscalerInfo("repeat", scale=2, receptive_field=0, hardware="nowhere")
    warnings: Sequence[str] = ()

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        self.shapes.append(tiles.shape)
        return tiles.repeat(self.info.scale, axis=1).repeat(self.info.scale, axis=2)


class Talkative(Repeat):
    """Has something to say once it has worked."""

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        self.warnings = ("first", "second")
        return super().__call__(tiles)


def consumed(steps: Sequence[Progress]) -> Progress:
    return list(steps)[-1]


@given(st.integers(1, 400), st.integers(1, 300), st.integers(1, 4), st.sampled_from(["bicubic", "lanczos"]))
def test_a_filter_through_tiles_equals_the_filter_on_the_whole_image(
    width: int, height: int, batch: int, kernel: str
) -> None:
    pixels = make_noise(Size(width, height))
    upscaler = Resampling("bicubic" if kernel == "bicubic" else "lanczos", 4)
    whole = upscaler(pixels[None])[0]
    np.testing.assert_array_equal(upscale_pixels(pixels, upscaler, UpscaleOptions(tile_px=64, batch=batch)), whole)


def test_a_region_is_enlarged_as_the_whole_slide_is() -> None:
    picture, upscaler = InMemorySlide(make_noise(Size(260, 200))), Resampling("bicubic", 4)
    source = SlideRegion(picture, 0).crop_to_area(Box(37, 51, 137, 131))
    plan = plan_upscaling(source, upscaler, UpscaleOptions(tile_px=64))
    whole = upscaler(picture.pixels[None])[0]
    for box, pixels in enlarge_blocks(plan):
        place = box.translate(37 * 4, 51 * 4)
        np.testing.assert_array_equal(pixels, whole[place.rows, place.columns])


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 5))
def test_a_batch_has_one_shape_and_the_asked_size_at_most(width: int, height: int, batch: int) -> None:
    upscaler = Repeat()
    plan = plan_upscaling(
        SlideRegion(InMemorySlide(make_noise(Size(width, height))), 0), upscaler, UpscaleOptions(tile_px=128)
    )
    batches = list(group_batches(plan.grid, batch))
    assert [tile for tiles in batches for tile in tiles] == list(plan.grid)
    assert all(len(tiles) <= batch and len({tile.input_box.size for tile in tiles}) == 1 for tiles in batches)


def test_a_real_slide_becomes_a_pyramid_with_the_right_pitch(cmu_slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "cmu.x2.ome.tif"
    with open_slide(cmu_slide) as slide:
        steps = list(upscale_region(select_region(slide), Resampling("bicubic", 2), output))
        low = slide.read(Box(900, 1100, 1000, 1200), 0)
    assert steps[-1].done == steps[-1].total
    with openslide.OpenSlide(output) as result:
        assert result.dimensions == (4440, 5934)
        assert result.level_count == 6
        assert float(result.properties["openslide.mpp-x"]) == pytest.approx(0.499 / 2, rel=1e-4)
        stored = np.asarray(result.read_region((1800, 2200), 0, (200, 200)).convert("RGB"))
    expected = Resampling("bicubic", 2)(low[None])[0]
    assert np.abs(stored[8:-8, 8:-8].astype(int) - expected[8:-8, 8:-8]).mean() < 3  # JPEG at quality 90
    assert read_metadata(output)["model"] == "bicubic"
    assert "research use only" in read_metadata(output)["derived"]


def test_the_file_says_nothing_of_the_slides_name(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "JANE-DOE-1970.tif", make_noise(Size(40, 30)), photometric="rgb")
    output = tmp_path / "result.tif"
    with open_slide(slide, mpp=0.5) as opened:
        consumed(list(upscale_region(select_region(opened), Resampling("bicubic", 2), output)))
    assert b"JANE" not in output.read_bytes()


def test_progress_never_goes_back_and_ends_at_its_total(tmp_path: Path) -> None:
    source = SlideRegion(InMemorySlide(make_noise(Size(300, 200))), 0)
    steps = list(upscale_region(source, Repeat(), tmp_path / "a.tif", options=UpscaleOptions(tile_px=128)))
    for stage in ("upscale", "pyramid", "assemble"):
        counts = [step.done for step in steps if step.stage == stage]
        assert counts == sorted(counts)
        assert counts[-1] == next(step.total for step in steps if step.stage == stage)


@pytest.mark.parametrize("tile_px", [0, 1, 100, 129])
def test_tiles_that_do_not_fit_the_stored_ones_are_refused(tile_px: int) -> None:
    with pytest.raises(OutputError, match="multiple of 128"):
        plan_upscaling(
            SlideRegion(InMemorySlide(make_noise(Size(30, 30))), 0), Repeat(), UpscaleOptions(tile_px=tile_px)
        )


def test_a_slide_is_never_its_own_output(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "a.tif", make_noise(Size(40, 30)), photometric="rgb")
    before = slide.read_bytes()
    with open_slide(slide, mpp=0.5) as opened, pytest.raises(OutputError, match="belongs to the slide"):
        list(upscale_region(select_region(opened), Repeat(), slide, overwrite=True))
    assert slide.read_bytes() == before


def test_what_the_upscaler_remarks_on_the_way_is_in_the_file(tmp_path: Path) -> None:
    source, output = SlideRegion(InMemorySlide(make_noise(Size(50, 40))), 0), tmp_path / "out.tif"
    consumed(list(upscale_region(source, Talkative(), output)))
    assert read_metadata(output)["remarks"] == "first; second"


@pytest.mark.parametrize("scale", [2, 4])
def test_every_level_of_a_part_lies_in_um_where_the_part_lies_on_the_slide(tmp_path: Path, scale: int) -> None:
    mpp, area, output = 0.5, Box(40, 30, 340, 230), tmp_path / "part.ome.zarr"
    source = select_region(InMemorySlide(make_noise(Size(400, 300)), mpp), area=area)
    deque(upscale_region(source, Resampling("bicubic", scale), output), 0)
    attributes: Any = zarr.open_group(output, mode="r").attrs.asdict()
    datasets = attributes["ome"]["multiscales"][0]["datasets"]
    assert len(datasets) > 1
    for each in datasets:
        scaling, shift = each["coordinateTransformations"]
        # Places are of pixel centres, the first pixel of the slide lies at 0.
        corner = np.array(shift["translation"]) - np.array(scaling["scale"]) / 2
        np.testing.assert_allclose(corner[1:], [(area.top - 0.5) * mpp, (area.left - 0.5) * mpp])
