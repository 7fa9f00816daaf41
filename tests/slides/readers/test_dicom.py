"""DICOM slides: files known by their content, one slide a folder, and pixel sizes by each level's own header."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support.dicom import ANNOTATIONS, DicomLevel, write_dicom, write_dicom_level
from tests.support.formats import make_blobs
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, shrink_image
from wsisr.slides import open_slide
from wsisr.slides.readers.dicom_header import read_dicom_header
from wsisr.slides.slide import compute_downsamples
from wsisr.tissue import find_tissue

PICTURE = make_blobs(Size(256, 192))


def refusal(path: Path) -> str:
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line


def pad(pixels: Rgb, side: int) -> Rgb:
    height, width = (-(-length // side) * side for length in pixels.shape[:2])
    padded = np.full((height, width, 3), 255, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded


@pytest.mark.parametrize("name", ["1.2.840.3", "A.DCM", "a.dcm", "IM000001", "a.ima"])
@pytest.mark.parametrize("undefined_lengths", [False, True])
def test_a_slide_is_known_by_its_content_under_any_name(tmp_path: Path, name: str, undefined_lengths: bool) -> None:
    write_dicom_level(tmp_path / name, PICTURE, DicomLevel(undefined_lengths=undefined_lengths))
    (tmp_path / "0.txt").write_text("notes")
    (tmp_path / "empty").touch()
    for path in (tmp_path, tmp_path / name):
        with open_slide(path) as slide:
            assert (slide.info.size, slide.info.mpp, slide.info.vendor) == (Size(256, 192), 0.5, "dicom")
            assert np.abs(slide.read(Box(0, 0, 256, 192), 0).astype(int) - PICTURE).max() <= 2


def write_annotations(path: Path, series: str = "1.2.9") -> None:
    facts = {
        (0x00080016, "UI"): ANNOTATIONS,
        (0x00080018, "UI"): "1.2.9.1",
        (0x00080060, "CS"): "ANN",
        (0x0020000E, "UI"): series,
    }
    write_dicom(path, facts, [])


def test_other_objects_beside_a_slide_do_not_disturb(tmp_path: Path) -> None:
    write_dicom_level(tmp_path / "m", PICTURE)
    write_dicom_level(tmp_path / "a", PICTURE[:96, :128], DicomLevel(series="1.2.8", kind="LABEL"))
    write_annotations(tmp_path / "b.dcm")
    (tmp_path / "c.dcm").write_bytes(bytes(128) + b"DICM" + b"damaged")
    with open_slide(tmp_path) as slide:
        assert slide.info.size == Size(256, 192)
    write_annotations(tmp_path / "alone" / "b.dcm")
    assert "no whole-slide images (modality ANN)" in refusal(tmp_path / "alone")
    assert "is DICOM, but no whole-slide image (modality ANN)" in refusal(tmp_path / "alone" / "b.dcm")


def test_of_two_slides_in_a_folder_none_is_read_and_each_is_by_its_file(tmp_path: Path) -> None:
    write_dicom_level(tmp_path / "a", PICTURE)
    write_dicom_level(tmp_path / "b0", make_blobs(Size(512, 384)), DicomLevel(series="1.2.5"))
    write_dicom_level(tmp_path / "b1", PICTURE, DicomLevel(mpp=1.0, series="1.2.5"))
    assert "holds 2 DICOM slides; give a file of the one to read: a (256 x 192 px), b0 (512 x 384 px)" in refusal(
        tmp_path
    )
    for name, sizes in (("a", [Size(256, 192)]), ("b1", [Size(512, 384), Size(256, 192)])):
        with open_slide(tmp_path / name) as slide:
            assert [level.size for level in slide.info.levels] == sizes


@pytest.mark.parametrize("undefined_lengths", [False, True])
def test_levels_padded_to_whole_tiles_have_their_own_pixel_size_and_place(
    tmp_path: Path, undefined_lengths: bool
) -> None:
    picture = np.full((1000, 1800, 3), 243, np.uint8)
    tissue = Box(960, 608, 1696, 960)
    picture[tissue.rows, tissue.columns] = make_blobs(tissue.size)
    for number in range(4):
        level = DicomLevel(0.5 * 2**number, 0.5 * 2**number, tile=256, undefined_lengths=undefined_lengths)
        write_dicom_level(tmp_path / str(number), pad(shrink_image(picture, 2**number, "area"), 256), level)
    with open_slide(tmp_path) as slide:
        assert [slide.info.level_mpp(number) for number in range(4)] == [0.5, 1.0, 2.0, 4.0]
        assert [level.size for level in slide.info.levels] == [Size(2048 // 2**n, 1024 // 2**n) for n in range(4)]
        for number in range(4):
            pixels = slide.read(Box.from_size(slide.info.levels[number].size), number)
            stored = pad(shrink_image(picture, 2**number, "area"), 256)
            assert np.abs(pixels - stored[: pixels.shape[0], : pixels.shape[1]].astype(int)).max() <= 20
        mask = find_tissue(slide).mask_cells(slide.info.size, Box.from_size(slide.info.size), 32)
        rows, columns = np.nonzero(mask)
        margin = 4 * 32
        assert tissue.left - margin <= columns.min() * 32 <= tissue.left
        assert tissue.top - margin <= rows.min() * 32 <= tissue.top
        assert tissue.bottom <= (rows.max() + 1) * 32 <= tissue.bottom + margin
        assert (columns.max() + 1) * 32 >= tissue.right


@pytest.mark.parametrize("mpp", [None, 0.0, 1000.0])
def test_without_a_usable_pixel_spacing_the_imaged_area_gives_the_pixel_size(tmp_path: Path, mpp: float | None) -> None:
    write_dicom_level(tmp_path / "0", PICTURE, DicomLevel(mpp, volume_mpp=0.25))
    with open_slide(tmp_path, estimate=True) as slide:
        assert slide.info.mpp == pytest.approx(0.25)
        assert slide.info.mpp_origin == "recorded"


def test_pixels_of_unequal_sides_by_the_imaged_area_are_made_square(tmp_path: Path) -> None:
    more = {(0x00480001, "FL"): 256 * 0.25 / 1000, (0x00480002, "FL"): 192 * 0.5 / 1000}
    write_dicom_level(tmp_path / "0", PICTURE, DicomLevel(None, more=more))
    with open_slide(tmp_path) as slide:
        assert slide.info.mpp == pytest.approx(0.5)
        assert slide.info.size == Size(128, 192)


def test_padding_that_the_imaged_area_leaves_out_does_not_stretch_the_pixels(tmp_path: Path) -> None:
    picture = make_blobs(Size(1024, 512))
    more = {(0x00480001, "FL"): 900 * 0.5 / 1000, (0x00480002, "FL"): 512 * 0.5 / 1000}
    write_dicom_level(tmp_path / "0", picture, DicomLevel(None, more=more))
    with open_slide(tmp_path) as slide:
        assert slide.info.mpp == pytest.approx(0.5)
        assert slide.info.size == Size(1024, 512)


def test_the_folders_below_that_hold_the_files_are_named(tmp_path: Path) -> None:
    for name in ("S1", "S2"):
        write_dicom_level(tmp_path / "DICOM" / name / "I1", PICTURE)
    write_annotations(tmp_path / "DICOMDIR")
    assert "its DICOM files lie in DICOM/S1, DICOM/S2; give the folder of one slide" in refusal(tmp_path)
    assert "its DICOM files lie in S1, S2" in refusal(tmp_path / "DICOM")


def test_a_level_of_another_place_on_the_glass_is_not_used(tmp_path: Path) -> None:
    write_dicom_level(tmp_path / "0", make_blobs(Size(512, 384)), DicomLevel(origin=(10.0, 20.0)))
    write_dicom_level(tmp_path / "1", PICTURE, DicomLevel(1.0, 1.0, origin=(10.5, 20.0)))
    write_dicom_level(tmp_path / "2", shrink_image(PICTURE, 2, "area"), DicomLevel(2.0, 2.0, origin=(10.0005, 20.0)))
    with open_slide(tmp_path) as slide:
        assert [level.size for level in slide.info.levels] == [Size(512, 384), Size(128, 96)]
        assert "level 1 (256 x 192 px) is not used" in slide.info.warnings[0]


@pytest.mark.parametrize("bytes_left", [0, 100, 132, 140, 200, 400, 600])
def test_a_header_that_is_cut_off_is_no_header(tmp_path: Path, bytes_left: int) -> None:
    path = write_dicom_level(tmp_path / "0", PICTURE)
    path.write_bytes(path.read_bytes()[:bytes_left])
    assert read_dicom_header(path) is None
    refusal(tmp_path)


@pytest.mark.parametrize("depth", [1, 10, 10_000])
def test_nested_sequences_are_bounded(tmp_path: Path, depth: int) -> None:
    open_sequence = struct.pack("<HH", 0x0008, 0x1115) + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    (tmp_path / "0").write_bytes(bytes(128) + b"DICM" + open_sequence * depth)
    assert read_dicom_header(tmp_path / "0") is None


def test_a_real_slide_keeps_its_levels(shared_slides: Path) -> None:
    with open_slide(shared_slides / "vendor" / "dicom-cmu-1") as slide:
        sizes = [level.size for level in slide.info.levels]
        assert [level.downsample for level in slide.info.levels] == compute_downsamples(sizes)
        assert len(sizes) == 12
