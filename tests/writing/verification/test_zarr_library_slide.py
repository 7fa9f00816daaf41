"""The zarr library's view of a result is a slide, too."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise_levels, write_ome_zarr
from wsisr.imaging.geometry import Size
from wsisr.writing.verification.zarr import ZarrLibrarySlide


class TestZarrLibrarySlide(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        levels = make_noise_levels(Size(220, 180), Size(110, 90))
        path = write_ome_zarr(tmp_path_factory.mktemp("zarr") / "a", levels, "0.5")
        return SlideSample(lambda: open_by_zarr(path, len(levels)), levels)


def open_by_zarr(path: Path, levels: int) -> ZarrLibrarySlide:
    group = zarr.open_group(path, mode="r")
    return ZarrLibrarySlide(path, dict(group.attrs), [group[str(number)] for number in range(levels)])
