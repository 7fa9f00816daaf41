"""wsidicomizer makes DICOM of what wsisr writes: all levels, the pixel size, and the stored pixels."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import openslide
import pytest

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Box, Size
from wsisr.writing import PyramidSpec, PyramidWriter

wsidicomizer = pytest.importorskip("wsidicomizer", reason="wsidicomizer is not installed")

SIZE = Size(700, 520)
SPEC = PyramidSpec(SIZE, 0.25, 128, magnification=40, title="super-resolved x2")


@pytest.mark.filterwarnings("ignore")  # what wsidicom and pydicom say of each other
@pytest.mark.parametrize("name", ["a.ome.tif", "a.svs"])
def test_both_layouts_become_dicom_with_the_same_pixels(tmp_path: Path, name: str) -> None:
    source, folder = tmp_path / name, tmp_path / "dicom"
    with PyramidWriter(source, SPEC) as writer:
        writer.write(Box.from_size(SIZE), make_noise(SIZE))
        deque(writer.finish())
    wsidicomizer.WsiDicomizer.convert(source, folder)
    slides = [path for path in sorted(folder.rglob("*.dcm")) if openslide.OpenSlide.detect_format(path) == "dicom"]
    with openslide.OpenSlide(slides[0]) as converted, openslide.OpenSlide(source) as written:
        assert converted.level_dimensions == written.level_dimensions
        assert float(converted.properties["openslide.mpp-x"]) == pytest.approx(SPEC.mpp)
        for level, size in enumerate(written.level_dimensions):
            seen, stored = (np.asarray(slide.read_region((0, 0), level, size)) for slide in (converted, written))
            np.testing.assert_array_equal(seen, stored)
