"""Associated images: every label says that the image is derived; the slide's own are copied only if asked."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide

from tests.support.samples import make_noise
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import halve_image
from wsisr.writing import PyramidSpec, PyramidWriter
from wsisr.writing.layouts.associated_images import build_associated_images, draw_label
from wsisr.writing.layouts.catalog import LAYOUTS

SIZE = Size(600, 500)
COPIED = {"label": make_noise(Size(300, 200), 1), "macro": make_noise(Size(500, 100), 2)}
SPEC = PyramidSpec(SIZE, 0.25, 64, magnification=40, title="super-resolved x4", associated_images=COPIED)


def write(path: Path, spec: PyramidSpec) -> Path:
    with PyramidWriter(path, spec) as writer:
        writer.write(Box.from_size(SIZE), make_noise(SIZE))
        deque(writer.finish())
    return path


def test_a_copied_label_stands_above_the_drawn_one() -> None:
    label = build_associated_images(SPEC)["label"]
    np.testing.assert_array_equal(label[:200, :300], COPIED["label"])
    np.testing.assert_array_equal(label[200:, :420], draw_label(SPEC.title))
    assert (label[:200, 300:] == 255).all()


def test_openslide_shows_both_in_an_svs(tmp_path: Path) -> None:
    with openslide.OpenSlide(write(tmp_path / "a.svs", SPEC)) as slide:
        shown = {name: np.asarray(image.convert("RGB")) for name, image in slide.associated_images.items()}
    assert set(shown) == {"thumbnail", "label", "macro"}
    np.testing.assert_array_equal(shown["macro"], COPIED["macro"])
    np.testing.assert_array_equal(shown["label"], build_associated_images(SPEC)["label"])


def test_the_thumbnail_of_an_svs_is_jpeg_as_aperio_s_is(tmp_path: Path) -> None:
    rows, columns = np.indices((SIZE.height, SIZE.width)) * 255 // SIZE.width
    scan = np.dstack([rows, columns, 255 - columns]).astype(np.uint8)
    with PyramidWriter(tmp_path / "a.svs", replace(SPEC, associated_images={})) as writer:
        writer.write(Box.from_size(SIZE), scan)
        deque(writer.finish())
    with tifffile.TiffFile(tmp_path / "a.svs") as tiff:
        page, coarsest = tiff.pages[1].aspage(), tiff.series[0].levels[-1]
        assert (page.compression, page.is_tiled, len(page.dataoffsets)) == (7, False, 1)
        shown, truth = page.asarray().astype(int), halve_image(coarsest.asarray())
        assert np.abs(shown - truth).mean() < 3
        assert [other.aspage().compression for other in tiff.pages][-1] == 5
    with openslide.OpenSlide(tmp_path / "a.svs") as slide:
        assert np.abs(np.asarray(slide.associated_images["thumbnail"].convert("RGB")).astype(int) - shown).max() <= 2


def test_an_ome_tiff_names_them(tmp_path: Path) -> None:
    with tifffile.TiffFile(write(tmp_path / "a.ome.tif", SPEC)) as tiff:
        names = {series.name: series for series in tiff.series}
        assert set(names) == {SPEC.title, "label", "macro"}
        np.testing.assert_array_equal(names["macro"].asarray(), COPIED["macro"])


@pytest.mark.parametrize("name", ["a.svs", "a.ome.tif"])
def test_no_level_is_lost_or_added_by_them(tmp_path: Path, name: str) -> None:
    with_them, without = write(tmp_path / name, SPEC), write(tmp_path / f"0{name}", replace(SPEC, associated_images={}))
    with openslide.OpenSlide(with_them) as one, openslide.OpenSlide(without) as other:
        assert one.level_dimensions == other.level_dimensions
    with tiffslide.TiffSlide(with_them) as one, tiffslide.TiffSlide(without) as other:
        assert one.level_dimensions == other.level_dimensions
    with tifffile.TiffFile(without) as tiff:
        assert [series.name for series in tiff.series if series.name == "macro"] == []


def test_layouts_that_cannot_hold_them_or_mislead_a_reader_refuse_them() -> None:
    LAYOUTS["aperio"].check_associated_images(accept_limited=False)
    LAYOUTS["ome-tiff"].check_associated_images(accept_limited=True)
    with pytest.raises(OutputError, match=r"cuCIM .* --accept-limited-viewers"):
        LAYOUTS["ome-tiff"].check_associated_images(accept_limited=False)
    with pytest.raises(OutputError, match="no place"):
        LAYOUTS["ome-zarr"].check_associated_images(accept_limited=True)
