"""Laws of a slide with undecodable places: white there, as scanned elsewhere, and the same however it is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise, write_tiff
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import FaultTolerantSlide, open_slide
from wsisr.slides.slide import UndecodableError
from wsisr.slides.unreadable import UnreadableRegion, describe_unreadable_regions, merge_regions

SIZE = Size(500, 300)
PIXELS = make_noise(SIZE)


def damaged(path: Path, *tiles: int) -> Path:
    """A slide in tiles of 112 px, 5 a row, of which some hold no image."""
    write_tiff(path, PIXELS, tile=(112, 112), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        places = [(page.dataoffsets[tile], page.databytecounts[tile]) for tile in tiles]
    with path.open("r+b") as file:
        for offset, count in places:
            file.seek(offset)
            file.write(bytes(count))
    return path


@pytest.fixture(scope="module")
def damaged_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged(tmp_path_factory.mktemp("damaged") / "a.tif", 6, 14)


class TestFaultTolerantSlide(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, damaged_file: Path) -> SlideSample:
        pixels = PIXELS.copy()
        pixels[64:256, 64:256] = 255
        pixels[192:, 448:] = 255
        return SlideSample(lambda: FaultTolerantSlide(open_slide(damaged_file, mpp=0.5)), [pixels])


@given(st.integers(-20, 480), st.integers(-20, 280), st.integers(1, 200), st.integers(1, 200))
def test_a_box_is_the_same_whatever_is_read_with_it(
    damaged_file: Path, left: int, top: int, width: int, height: int
) -> None:
    box = Box(left, top, left + width, top + height).intersection(Box.from_size(SIZE))
    with (
        FaultTolerantSlide(open_slide(damaged_file, mpp=0.5)) as one,
        FaultTolerantSlide(open_slide(damaged_file, mpp=0.5)) as other,
    ):
        whole = other.read(Box.from_size(SIZE), 0)
        np.testing.assert_array_equal(one.read(box, 0), whole[box.rows, box.columns])
        assert set(one.unreadable_regions) <= set(other.unreadable_regions)


def test_what_can_be_decoded_is_as_scanned_and_the_rest_is_listed(damaged_file: Path) -> None:
    with FaultTolerantSlide(open_slide(damaged_file, mpp=0.5)) as forgiving:
        seen = forgiving.read(Box.from_size(SIZE), 0)
        holes = merge_regions(forgiving.unreadable_regions)
    lost = np.zeros(PIXELS.shape[:2], bool)
    for hole in holes:
        lost[hole.top : hole.bottom, hole.left : hole.right] = True
    np.testing.assert_array_equal(seen, np.where(lost[..., None], np.uint8(255), PIXELS))
    assert lost[112:224, 112:224].all()
    assert lost[224:, 448:].all()
    assert describe_unreadable_regions(holes) == "level 0: 192 x 192 px at 64, 64; level 0: 52 x 108 px at 448, 192"


def test_without_forgiveness_it_is_an_error_that_names_the_place(damaged_file: Path) -> None:
    with (
        open_slide(damaged_file, mpp=0.5) as opened,
        pytest.raises(UndecodableError, match=r"level 0, x 100, y 100, 50 x 50"),
    ):
        opened.read(Box(100, 100, 150, 150), 0)


@pytest.mark.parametrize("change", ["cut short", "gone", "written again"])
def test_a_slide_that_changes_meanwhile_is_not_forgiven(tmp_path: Path, change: str) -> None:
    path = damaged(tmp_path / "a.tif", 6)
    with FaultTolerantSlide(open_slide(path, mpp=0.5)) as forgiving:
        forgiving.read(Box(0, 0, 50, 50), 0)
        if change == "cut short":
            os.truncate(path, path.stat().st_size // 2)
        elif change == "gone":
            path.unlink()
        else:
            os.utime(path, (1, 1))
        with pytest.raises(SlideError, match=r"has (changed|been removed)"):
            forgiving.read(Box.from_size(SIZE), 0)
        assert forgiving.unreadable_regions == ()


def test_a_vendor_slide_that_is_gone_is_an_error_after_any_other(cmu_slide: Path, tmp_path: Path) -> None:
    """OpenSlide's handle is dead after its first error: it is opened anew, which must not look like damage."""
    content = bytearray(cmu_slide.read_bytes())
    content[400_000:500_000] = bytes(100_000)
    path = tmp_path / "a.svs"
    path.write_bytes(content)
    with FaultTolerantSlide(open_slide(path)) as forgiving:
        path.unlink()
        with pytest.raises(SlideError) as error:
            forgiving.read(Box(0, 1000, 2220, 2000), 0)
    assert not isinstance(error.value, UndecodableError)
    assert forgiving.unreadable_regions == ()


@given(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 6))))
def test_holes_in_one_piece_cover_the_same_pixels_once(cells: set[tuple[int, int, int]]) -> None:
    holes = [UnreadableRegion(level, 2 * x, 2 * y, 2 * x + 2, 2 * y + 2) for level, x, y in cells]
    counts = np.zeros((2, 14, 14), int)
    for hole in merge_regions(holes):
        counts[hole.level, hole.top : hole.bottom, hole.left : hole.right] += 1
    expected = np.zeros((2, 14, 14), int)
    for hole in holes:
        expected[hole.level, hole.top : hole.bottom, hole.left : hole.right] = 1
    np.testing.assert_array_equal(counts, expected)
