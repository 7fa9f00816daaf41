"""A plain image is a slide of one level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise
from wsisr.dataset.captures import ImageSlide, open_capture, pixel_size_from_name
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size


class TestImageSlide(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls) -> SlideSample:
        pixels = make_noise(Size(220, 180))
        pixels.flags.writeable = False  # as Pillow's are
        return SlideSample(lambda: ImageSlide(Path("field"), pixels, 0.5), [pixels])


@pytest.mark.parametrize(
    ("path", "mpp"), [("a_20x.png", 0.5), ("40x/a.png", 0.25), ("10X/b-2.5x.tif", 4.0), ("max2x3.png", None)]
)
def test_a_magnification_in_a_name_stands_for_a_pixel_size(path: str, mpp: float | None) -> None:
    assert pixel_size_from_name(Path(path)) == mpp


def test_a_torn_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(SlideError, match=r"a\.png"):
        open_capture(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["EPS", "BMP", "GIF", "PPM", "WEBP"])
def test_a_field_is_a_png_or_jpeg_by_its_content(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png", kind)
    with pytest.raises(SlideError, match="cannot be read as an image"):
        open_capture(tmp_path / "a.png")


@pytest.mark.parametrize("make", [lambda: Box(-3, 5, 4, 9), lambda: Box(15, 18, 25, 30)])
def test_what_lies_outside_a_field_is_white(make: Callable[[], Box]) -> None:
    field = ImageSlide(Path("a.png"), np.zeros((20, 20, 3), np.uint8), 1.0)
    pixels = field.read(make(), 0)
    assert pixels.shape[:2] == (make().height, make().width)
    assert set(np.unique(pixels)) == {0, 255}
