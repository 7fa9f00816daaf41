"""Olympus VSI: the pixels that were written, at every level, and what the VSI says of them."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from tests.slides.contract import DamagedSample, DamagedSlideContract, SlideContract, SlideSample
from tests.support.samples import SHARED_SLIDES, make_noise, make_noise_levels
from tests.support.vsi import BGR, JPEG, RAW, Scan, find_ets, write_vsi
from wsisr.bounds import MAX_ETS_TILE_PX, MAX_ETS_TILES, MAX_VSI_FIELDS
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.slides.files import list_slide_files
from wsisr.slides.listing import list_slides
from wsisr.slides.pixel_size import PixelSize
from wsisr.slides.readers.ets_container import read_ets_contents
from wsisr.slides.readers.vsi_volumes import VsiError, VsiScan, read_vsi_scans
from wsisr.slides.scanner import identify_scanner
from wsisr.slides.slide import UndecodableError

LEVELS = make_noise_levels(Size(221, 180), Size(111, 90), Size(56, 45))
SMALL = LEVELS[2:]
OLYMPUS_VSI = SHARED_SLIDES / "vendor" / "olympus-vsi" / "vsi-ets-test-jpg2k.vsi"


def change(path: Path, at: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)


def refusal(path: Path, series: int | None = None) -> str:
    with pytest.raises(SlideError) as caught:
        open_slide(path, series=series)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


class TestVsi(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        finest = LEVELS[0].copy()
        finest[64:128, 64:128] = (240, 241, 242)  # this tile is not stored
        scan = Scan(LEVELS, left_out=[(0, 1, 1)], background=bytes([240, 241, 242]))
        path = write_vsi(tmp_path_factory.mktemp("vsi") / "a.vsi", scan)
        return SlideSample(lambda: open_slide(path), [finest, *LEVELS[1:]])


class TestDamagedVsi(DamagedSlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        path = write_vsi(tmp_path_factory.mktemp("vsi") / "a.vsi", Scan(LEVELS[:1]))
        start, count = read_ets_contents(find_ets(path)).grids[0].tiles[1, 1]
        change(find_ets(path), start, b"x" * count)
        intact = [Box(x, 130, x + 40, 180) for x in range(0, 180, 30)]
        return DamagedSample(
            lambda: open_slide(path), path, Box(70, 70, 120, 120), intact, "level 0, x 70, y 70, 50 x 50 px"
        )


def test_jpeg_tiles_are_shown_as_their_markers_say(tmp_path: Path) -> None:
    image = make_noise(Size(64, 64))
    stored = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(image, level=95, subsampling="444"))
    with open_slide(write_vsi(tmp_path / "a.vsi", Scan([image], JPEG))) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 64, 64), 0), stored)


def test_facts_are_those_of_the_vsi(tmp_path: Path) -> None:
    with open_slide(write_vsi(tmp_path / "a.vsi", Scan(SMALL))) as slide:
        info = slide.info
        assert (info.vendor, info.mpp, info.objective, info.warnings) == ("olympus", 0.25, 20, ())
        assert identify_scanner(info.vendor, info.properties) == {"scanner maker": "Olympus"}
        assert list_slide_files(info) == (find_ets(info.path), info.path)


@pytest.mark.parametrize(
    ("scan", "pixel_size", "objective"),
    [
        (Scan(SMALL, mpp=(250, 250), unit="10^-9m^1"), PixelSize(0.25), 20),
        (Scan(SMALL, unit=""), PixelSize(0.25), 20),
        (Scan(SMALL, unit="10^-3s^1"), PixelSize(), 20),
        (Scan(SMALL, mpp=None, objectives=()), PixelSize(), None),
        (Scan(SMALL, mpp=(0.25, 0.3), objectives=(20, 40)), PixelSize(0.3, (1.2, 1.0)), None),
        (Scan(SMALL, objectives=(40, 40)), PixelSize(0.25), 40),
        (Scan(SMALL, mpp=(float("nan"), 0.25)), PixelSize(), 20),
    ],
)
def test_pixel_size_and_objective(tmp_path: Path, scan: Scan, pixel_size: PixelSize, objective: float | None) -> None:
    (found,) = read_vsi_scans(write_vsi(tmp_path / "a.vsi", scan))
    assert found == VsiScan(Size(56, 45), found.pixel_size, objective, "20x_BF_01")
    assert found.pixel_size.mpp == (pixel_size.mpp and pytest.approx(pixel_size.mpp))
    assert found.pixel_size.pixel_aspect == pytest.approx(pixel_size.pixel_aspect)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_each_scan_has_the_facts_of_its_own(tmp_path: Path, order: tuple[int, ...]) -> None:
    """The VSI does not name the files; the order counts, else which sizes fit the tiles."""
    large, small = Scan(LEVELS, name="40x"), Scan(LEVELS[1:], mpp=(0.5, 0.5), name="overview", kind=1)
    mask = Scan(LEVELS[2:], mpp=(1, 1), name="mask", kind=2)
    path = write_vsi(tmp_path / "a.vsi", large, small, described=[(large, small, mask)[number] for number in order])
    for number, scan in enumerate((large, small)):
        with open_slide(path, series=number) as slide:
            assert slide.info.mpp == (scan.mpp and scan.mpp[0])
            assert [each.name for each in slide.info.all_series] == ["40x", "overview"]
            np.testing.assert_array_equal(slide.read(Box(0, 0, 50, 40), 0), scan.levels[0][:40, :50])
    with open_slide(path) as slide:
        assert slide.info.series_number == 0


def test_a_scan_that_may_be_either_of_two_is_refused(tmp_path: Path) -> None:
    first, second = Scan(SMALL, mpp=(0.25, 0.25)), Scan(SMALL, mpp=(0.5, 0.5))
    path = write_vsi(tmp_path / "a.vsi", first, described=[first, second])
    assert "fits none of the images that it describes, or several; convert it to OME-TIFF" in refusal(path)
    elsewhere = write_vsi(tmp_path / "b.vsi", first, described=[Scan(LEVELS[:1])])
    assert "fits none of the images" in refusal(elsewhere)


def test_of_several_focal_planes_the_middle_one_is_read(tmp_path: Path) -> None:
    with open_slide(write_vsi(tmp_path / "a.vsi", Scan(LEVELS[1:], planes=3))) as slide:
        assert slide.info.warnings == ("the slide holds 3 planes (focus or time); the middle one is read",)
        np.testing.assert_array_equal(slide.read(Box.from_size(Size(56, 45)), 1), LEVELS[2])


def test_missing_tiles_are_counted_and_a_level_that_lacks_more_is_not_used(tmp_path: Path) -> None:
    scan = Scan(LEVELS, left_out=[(0, 3, 2), (1, 0, 0)], background=b"\0\0\0")
    with open_slide(write_vsi(tmp_path / "a.vsi", scan)) as slide:
        assert slide.info.warnings == (
            "level 1 and coarser ones do not cover the slide; they are not used",
            "1 of 12 tiles of this VSI are not stored; its background colour is shown there",
        )
        assert slide.read(Box(192, 128, 221, 180), 0).min() == 255, "black would be tissue"


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (Scan(SMALL, RAW), "ETS codec 0, which is not read; convert it to OME-TIFF .*a.vsi a.ome.tif"),
        (Scan(SMALL, colour_space=BGR), "uncertain order of colours; convert it"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, scan: Scan, words: str) -> None:
    with pytest.raises(SlideError, match=words):
        open_slide(write_vsi(tmp_path / "a.vsi", scan))


@pytest.mark.parametrize(
    ("at", "number", "words"),
    [
        (0, 7, "has no header"),
        (12, 99, "tiles have 99 coordinates"),
        (16, 2**31, "ends too early"),
        (40, 0, "lists 0 tiles"),
        (40, MAX_ETS_TILES + 1, f"lists {MAX_ETS_TILES + 1} tiles"),
        (40, 9999, "ends too early"),
        (64 + 8, 4, "holds 16-bit samples of an RGB image; give"),
        (64 + 12, 1, "holds 8-bit samples of a grayscale image, as in fluorescence; give"),
        (64 + 28, MAX_ETS_TILE_PX, "larger than any camera's"),
        (64 + 28, 0, "larger than any camera's"),
    ],
)
def test_a_damaged_container_is_one_line_that_says_what_is_wrong(
    tmp_path: Path, at: int, number: int, words: str
) -> None:
    path = write_vsi(tmp_path / "a.vsi", Scan(SMALL))
    change(find_ets(path), at, struct.pack("<I", number))
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("coordinate", "value", "words"), [(0, -1, "impossible"), (1, 2**20, "impossible"), (3, 64, "impossible")]
)
def test_tiles_at_impossible_places_are_refused(tmp_path: Path, coordinate: int, value: int, words: str) -> None:
    path = write_vsi(tmp_path / "a.vsi", Scan(LEVELS[1:]))
    table_at = find_ets(path).stat().st_size - 36
    change(find_ets(path), table_at + 4 + 4 * coordinate, struct.pack("<i", value))
    assert words in refusal(path)


@pytest.mark.parametrize("length", [9, 40, 120])
def test_damaged_volumes_say_nothing(tmp_path: Path, length: int) -> None:
    path = write_vsi(tmp_path / "a.vsi", Scan(SMALL))
    path.write_bytes(path.read_bytes()[:length])
    assert read_vsi_scans(path) == []


def test_more_fields_than_any_slide_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_vsi(tmp_path / "a.vsi", Scan(SMALL))
    monkeypatch.setattr("wsisr.slides.readers.vsi_volumes.MAX_VSI_FIELDS", 3)
    with pytest.raises(VsiError, match="more than 3 fields"):
        read_vsi_scans(path)
    assert "more than 3 fields; copy it again" in refusal(path)
    assert MAX_VSI_FIELDS > 1000


def test_a_slide_that_changes_beside_its_vsi_is_an_error(tmp_path: Path) -> None:
    path = write_vsi(tmp_path / "a.vsi", Scan(SMALL))
    with open_slide(path) as slide:
        slide.read(Box(0, 0, 10, 10), 0)
        find_ets(path).write_bytes(find_ets(path).read_bytes())
        with pytest.raises(SlideError, match=r"has changed since it was opened \(frame_t.ets\)"):
            slide.read(Box(0, 0, 10, 10), 0)


def test_in_a_folder_the_vsi_is_the_slide(tmp_path: Path) -> None:
    path = write_vsi(tmp_path / "a.vsi", Scan(SMALL))
    assert list_slides([tmp_path]).paths == [path]


@pytest.mark.skipif(not OLYMPUS_VSI.exists(), reason="no shared slides")
def test_a_real_file_of_two_channels_has_the_facts_that_its_makers_software_shows() -> None:
    (scan,) = read_vsi_scans(OLYMPUS_VSI)
    assert scan == VsiScan(Size(1645, 1682), PixelSize(0.10833333333333334), 60, "001 C405, C488")
    contents = read_ets_contents(OLYMPUS_VSI.parent / f"_{OLYMPUS_VSI.stem}_" / "stack1" / "frame_t_0.ets")
    assert (contents.tile, contents.samples, contents.plane_count) == (scan.size, 1, 22)
    # slideio 2.10.0 shows this tile as slice 5 of 11 of the first channel.
    assert dict(contents.grids[0].tiles) == {(0, 0): (744, 10544)}
    assert "holds 16-bit samples of a grayscale image, as in fluorescence; give a brightfield" in refusal(OLYMPUS_VSI)


@pytest.mark.parametrize("damage", ["zeroed", "cut"])
def test_a_jpeg_tile_that_is_cut_off_is_refused(tmp_path: Path, damage: str) -> None:
    path = write_vsi(tmp_path / "slide.vsi", Scan(SMALL[:1], codec=JPEG))
    ets = find_ets(path)
    table_at = struct.unpack_from("<Q", ets.read_bytes(), 32)[0]
    start, length = struct.unpack_from("<QI", ets.read_bytes(), table_at + 20)
    if damage == "zeroed":
        change(ets, start + length // 2, bytes(length - length // 2))
    else:
        change(ets, table_at + 28, struct.pack("<I", length // 2))
    with open_slide(path) as slide, pytest.raises(UndecodableError):
        slide.read(Box(0, 0, 56, 45), 0)
