"""Levels that are padded or shrunk along one axis, shown as a plain pyramid: pixels, places and pixel sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.slides.contract import (
    DamagedSample,
    DamagedSlideContract,
    SlideContract,
    SlideSample,
    make_damaged_sample,
    open_tiff_slide,
    write_damaged_tiff,
)
from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_ome_zarr
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, shrink_image
from wsisr.slides import Slide, open_slide
from wsisr.slides.level_geometry import LevelPlacement
from wsisr.slides.readers.ome_zarr import ZarrSlide, open_zarr
from wsisr.slides.region import select_region
from wsisr.slides.slide import Level
from wsisr.slides.wrappers.aligned_levels import AlignedLevelsSlide

BASE, PADDED, NARROW = make_noise_levels(Size(220, 180), Size(128, 128), Size(55, 180))


def halve_down(stored: Rgb) -> Rgb:
    """Return the mean of each pair of rows, rounded half to even."""
    pairs = stored.reshape(-1, 2, stored.shape[1], 3).astype(int)
    return np.asarray(np.rint(pairs.mean(axis=1)), np.uint8)


def quarter_down(stored: Rgb) -> Rgb:
    fours = stored.reshape(-1, 4, stored.shape[1], 3).astype(int)
    return np.asarray(np.rint(fours.mean(axis=1)), np.uint8)


class TestAlignedLevelsSlide(SlideContract, DamagedSlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        path = write_ome_zarr(tmp_path_factory.mktemp("aligned") / "a", [BASE, PADDED, NARROW], "0.4")
        placements = (
            LevelPlacement(0, 1.0, Size(220, 180)),
            LevelPlacement(1, 2.0, Size(110, 90)),
            LevelPlacement(2, 4.0, Size(55, 45), (1.0, 4.0)),
        )
        levels = [BASE, PADDED[:90, :110], quarter_down(NARROW)]
        return SlideSample(lambda: show_placed(ZarrSlide(*open_zarr(path)), placements), levels)

    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        path = write_damaged_tiff(tmp_path_factory.mktemp("aligned") / "a.tif")
        placements = (LevelPlacement(0, 1.0, Size(512, 512)),)
        return make_damaged_sample(path, lambda file: show_placed(open_tiff_slide(file), placements))


def show_placed(slide: Slide, placements: tuple[LevelPlacement, ...]) -> Slide:
    levels = tuple(Level(placement.size, placement.downsample) for placement in placements)
    return AlignedLevelsSlide(slide, replace(slide.info, levels=levels), placements)


APERIO = "Aperio Image Library v12.0.15\n220x180 [0,0 220x180] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"


@pytest.mark.parametrize("description", [APERIO, None])
def test_levels_padded_to_whole_tiles_are_seen_by_their_sizes_alone_where_only_that_fits(
    tmp_path: Path, description: str | None
) -> None:
    base, padded = make_noise_levels(Size(360, 200), Size(192, 128))
    path = write_generic_pyramid(tmp_path / "a.svs", [base, padded], description=description)
    with open_slide(path) as slide:
        assert slide.info.levels[1] == Level(Size(180, 100), 2.0)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 180, 100), 1), padded[:100, :180])


def test_a_tiff_padded_to_whole_tiles_has_the_pixel_sizes_that_its_pages_record(tmp_path: Path) -> None:
    with_padding = np.full((128, 128, 3), 255, np.uint8)
    with_padding[:90, :110] = shrink_image(BASE, 2, "area")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number, (pixels, mpp) in enumerate([(BASE, 0.5), (with_padding, 1.0)]):
            writer.write(
                pixels,
                subfiletype=min(number, 1),
                tile=(64, 64),
                photometric="rgb",
                metadata=None,
                resolution=(10_000 / mpp, 10_000 / mpp),
                resolutionunit="CENTIMETER",
            )
    with open_slide(tmp_path / "a.tif") as slide:
        assert [slide.info.level_mpp(number) for number in (0, 1)] == [0.5, 1.0]
        assert slide.info.levels[1].size == Size(110, 90)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 110, 90), 1), with_padding[:90, :110])
        assert (slide.read(Box(110, 0, 128, 90), 1) == 255).all()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_halved_across_only_is_one_of_square_pixels(tmp_path: Path, version: str) -> None:
    base, narrow = make_noise_levels(Size(256, 192), Size(128, 192))
    path = write_narrow_zarr(tmp_path / "a", version, base, narrow)
    with open_slide(path) as slide:
        assert [slide.info.level_mpp(number) for number in (0, 1)] == [0.5, 1.0]
        assert slide.info.levels[1].size == Size(128, 96)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 128, 96), 1), halve_down(narrow))
        region = select_region(slide, mpp=0.75)
        assert (region.level, region.mpp) == (0, 0.75)
        assert "it is made square" in slide.info.warnings[0]


def write_narrow_zarr(path: Path, version: str, base: Rgb, narrow: Rgb) -> Path:
    write_ome_zarr(path, [base, narrow], version, scale=0.5)
    file = path / (".zattrs" if version == "0.4" else "zarr.json")
    content = json.loads(file.read_text())
    attributes = content if version == "0.4" else content["attributes"]["ome"]
    scales = [[1, 0.5, 0.5], [1, 0.5, 1.0]]
    for dataset, scale in zip(attributes["multiscales"][0]["datasets"], scales, strict=True):
        dataset["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    file.write_text(json.dumps(content))
    return path


def test_a_level_that_lies_elsewhere_is_not_used(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a", make_noise_levels(Size(256, 192), Size(128, 96)), "0.4", scale=0.5)
    content = json.loads((path / ".zattrs").read_text())
    for number, dataset in enumerate(content["multiscales"][0]["datasets"]):
        dataset["coordinateTransformations"].append({"type": "translation", "translation": [0, 0, number * 40.0]})
    (path / ".zattrs").write_text(json.dumps(content))
    with open_slide(path) as slide:
        assert len(slide.info.levels) == 1
        assert "level 1 (128 x 96 px) is not used" in slide.info.warnings[0]


def test_plain_pyramids_are_not_aligned(tmp_path: Path) -> None:
    levels = [make_noise(Size(221, 183)), make_noise(Size(110, 92)), make_noise(Size(55, 46))]
    with open_slide(write_generic_pyramid(tmp_path / "a.tif", levels)) as slide:
        assert not isinstance(slide, AlignedLevelsSlide)
        assert slide.info.warnings == ()
