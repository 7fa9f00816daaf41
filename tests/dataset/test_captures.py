"""A plain image is a capture whose pixel size stands in its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from wsisr.dataset.captures import open_capture, pixel_size_from_name
from wsisr.errors import SlideError


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
    with pytest.raises(SlideError, match="not a slide"):
        open_capture(tmp_path / "a.png")


def test_the_pixel_size_in_a_fields_name_counts_unless_one_is_given(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a_20x.png")
    for given, mpp in ((None, 0.5), (0.4, 0.4)):
        with open_capture(tmp_path / "a_20x.png", given) as field:
            assert field.info.mpp == mpp


def test_a_field_in_grey_or_16_bits_is_refused(tmp_path: Path) -> None:
    """Training on it would take colours that it does not have, or 8 of its bits."""
    Image.new("L", (40, 30)).save(tmp_path / "a_20x.png")
    with pytest.raises(SlideError, match="8-bit grey"):
        open_capture(tmp_path / "a_20x.png")
