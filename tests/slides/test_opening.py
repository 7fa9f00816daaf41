"""What is opened and what is refused: each refusal one line that names the file and says what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.support.formats import make_blobs, write_philips
from tests.support.mirax import write_mirax
from tests.support.samples import (
    make_noise,
    make_noise_levels,
    write_generic_pyramid,
    write_ome_pyramid,
    write_tiff,
)
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.slides.opening import OTHER_COLOURS_WARNING

SMALL = Size(100, 80)
GREY = make_noise(SMALL)[..., 0]
COLOURS = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256)


def refusal(path: Path | str) -> str:
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    line = str(caught.value)
    assert line.startswith(str(path)), "names the file"
    assert "\n" not in line
    assert len(line) < 300 + len(str(path))
    assert ";" in line, "says what now"
    return line


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing.svs")


def test_a_missing_file_is_answered_by_the_slides_of_similar_names(tmp_path: Path) -> None:
    for name in ("tumour-1.svs", "tumour-1.txt", "notes.md", "Tumour-10.svs"):
        (tmp_path / "scans" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "scans" / name).touch()
    folder = tmp_path / "scans"
    assert refusal(folder / "tumor-1.svs").endswith(f"mean {folder / 'tumour-1.svs'} or {folder / 'Tumour-10.svs'}?")
    assert refusal(tmp_path / "scan").endswith(f"did you mean {folder}?")
    assert refusal(tmp_path / "scams" / "a.svs").endswith(f"no folder {tmp_path / 'scams'}; did you mean {folder}?")
    assert refusal(folder / "note.md").endswith("give the path of a slide")


@pytest.mark.parametrize(("name", "first"), [("list.txt", "gone.svs"), ("list.md", "a slide.svs")])
def test_a_list_that_is_given_as_a_slide_is_answered_by_its_mark(tmp_path: Path, name: str, first: str) -> None:
    (tmp_path / "a slide.svs").touch()
    (tmp_path / name).write_text(f"# slides\n\n{first}\n")
    assert refusal(tmp_path / name).endswith(f"if its lines name slides, give @{tmp_path / name}")


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    assert "No such file" in refusal(str(tmp_path / "missing.svs"))


def test_a_path_below_a_file(cmu_slide: Path) -> None:
    assert "Not a directory" in refusal(cmu_slide / "inside.svs")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "locked.tif", make_noise(SMALL))
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_a_folder_without_dicom_files(tmp_path: Path) -> None:
    assert "folder without DICOM files and no OME-Zarr" in refusal(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").touch()
    assert "empty" in refusal(tmp_path / "empty.svs")


@pytest.mark.parametrize("name", ["text.svs", "text.tif", "text.dcm", "text.ndpi", "text.mrxs", "text.vms"])
def test_a_text_file_under_the_name_of_a_slide(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not a slide\n" * 100)
    assert "not a slide" in refusal(tmp_path / name)


@pytest.mark.parametrize("length", [4, 8, 10, 100, 5_000, 1_000_000])
def test_a_slide_cut_before_its_directory(tmp_path: Path, cmu_slide: Path, length: int) -> None:
    (tmp_path / "cut.svs").write_bytes(cmu_slide.read_bytes()[:length])
    assert "damaged TIFF" in refusal(tmp_path / "cut.svs")


Writer = Callable[[Path], Path]
NOT_BRIGHTFIELD: dict[str, tuple[Writer, str]] = {
    "16-bit colour": (lambda path: write_tiff(path, make_noise(SMALL).astype(np.uint16)), "16-bit"),
    "16-bit grey": (lambda path: write_tiff(path, GREY.astype(np.uint16), photometric="minisblack"), "16-bit"),
    "float": (lambda path: write_tiff(path, GREY.astype(np.float32), photometric="minisblack"), "32-bit"),
    "bilevel": (lambda path: write_tiff(path, GREY > 100, photometric="minisblack"), "1-bit"),
    "grey": (lambda path: write_tiff(path, GREY, photometric="minisblack"), "grayscale"),
    "tiled grey": (lambda path: write_tiff(path, GREY, photometric="minisblack", tile=(32, 32)), "grayscale"),
    "palette": (lambda path: write_tiff(path, GREY, photometric="palette", colormap=COLOURS), "palette"),
    "tiled palette": (
        lambda path: write_tiff(path, GREY, photometric="palette", colormap=COLOURS, tile=(32, 32)),
        "palette",
    ),
    "channels": (
        lambda path: write_tiff(
            path, np.stack([GREY] * 3), photometric="minisblack", ome=True, metadata={"axes": "CYX"}
        ),
        "grayscale",
    ),
    "CMYK": (lambda path: write_tiff(path, np.dstack([make_noise(SMALL), GREY]), photometric="separated"), "not RGB"),
    "focal planes": (
        lambda path: write_tiff(path, np.stack([make_noise(SMALL)] * 3), ome=True, metadata={"axes": "ZYXS"}),
        "stack of 3",
    ),
}


@pytest.mark.parametrize("kind", NOT_BRIGHTFIELD)
def test_what_is_not_8_bit_rgb_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    write, word = NOT_BRIGHTFIELD[kind]
    assert word in refusal(write(tmp_path / "image.tif"))


@pytest.mark.parametrize(("compression", "number"), [("lerc", 34887), ("lzma", 34925)])
@pytest.mark.parametrize("is_tiled", [False, True])
def test_rgb_that_no_reader_decodes_is_refused_with_a_way_out(
    tmp_path: Path, compression: str, number: int, is_tiled: bool
) -> None:
    tile = (64, 64) if is_tiled else None
    line = refusal(write_tiff(tmp_path / "image.tif", make_noise(SMALL), compression=compression, tile=tile))
    assert f"codec {number}" in line
    assert "vips" in line


def write_tampered(path: Path, tag: str, value: int, **options: Any) -> Path:
    write_tiff(path, make_noise(SMALL), **options)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags[tag].overwrite(value)
    return path


@pytest.mark.parametrize("compression", [None, "jpeg", "zlib"])
@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 16}])
@pytest.mark.parametrize("tag", ["ImageLength", "ImageWidth"])
def test_a_header_that_needs_more_tiles_than_are_listed_is_refused(
    tmp_path: Path, compression: str | None, layout: dict[str, Any], tag: str
) -> None:
    if tag == "ImageWidth" and "rowsperstrip" in layout:
        pytest.skip("a wider image has as many strips")
    line = refusal(write_tampered(tmp_path / "a.tif", tag, 400, compression=compression, **layout))
    assert "its tables list" in line


@pytest.mark.parametrize(("tag", "value"), [("ImageLength", 30), ("ImageWidth", 30)])
def test_more_tiles_than_the_header_needs_are_a_warning(tmp_path: Path, tag: str, value: int) -> None:
    path = write_tampered(tmp_path / "a.tif", tag, value, compression="jpeg", tile=(32, 32))
    with open_slide(path) as slide:
        assert "its tables list" in slide.info.warnings[0]


@pytest.mark.parametrize("tag", ["ImageLength", "ImageWidth"])
def test_a_philips_header_that_needs_more_tiles_than_are_listed_is_refused(tmp_path: Path, tag: str) -> None:
    path = write_philips(tmp_path / "a.tiff", [make_blobs(Size(side, side)) for side in (128, 64)])
    change_tag(path, tag, 256)
    assert "its tables list" in refusal(path)


def change_tag(path: Path, name: str, *values: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags[name].overwrite(values[0] if len(values) == 1 else values)


@pytest.mark.parametrize("compression", [None, "lzw", "jpeg", "zlib"])
@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 16}])
def test_tiles_that_begin_in_the_header_are_refused(
    tmp_path: Path, compression: str | None, layout: dict[str, Any]
) -> None:
    path = write_tiff(tmp_path / "a.tif", make_noise(SMALL), compression=compression, **layout)
    name = "TileOffsets" if "tile" in layout else "StripOffsets"
    with tifffile.TiffFile(path) as tiff:
        offsets = tiff.pages.first.dataoffsets
    change_tag(path, name, *offsets[:2], 4, *offsets[3:])
    assert "1 of its" in refusal(path)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "jpeg"])
@pytest.mark.parametrize(
    ("layout", "tag"), [({"tile": (64, 64)}, "TileLength"), ({"rowsperstrip": 64}, "RowsPerStrip")]
)
def test_segments_that_are_longer_than_the_header_says_are_not_shown_in_part(
    tmp_path: Path, compression: str | None, layout: dict[str, Any], tag: str
) -> None:
    """The number of segments fits, so half of the rows of each would be left out."""
    path = write_tiff(tmp_path / "a.tif", make_noise(Size(64, 128)), compression=compression, **layout)
    change_tag(path, tag, 32)
    change_tag(path, "ImageLength", 64)
    with pytest.raises(SlideError), open_slide(path) as slide:
        slide.read(Box(0, 0, 64, 64), 0)


@pytest.mark.parametrize("compression", [None, "jpeg", "zlib"])
def test_tiles_beyond_the_end_of_the_file_are_no_black_part(tmp_path: Path, compression: str | None) -> None:
    path = write_tiff(tmp_path / "a.tif", make_noise(SMALL), compression=compression, tile=(32, 32))
    with tifffile.TiffFile(path) as tiff:
        offsets = tiff.pages.first.dataoffsets
    change_tag(path, "TileOffsets", *offsets[:-1], 10**8)
    with pytest.raises(SlideError, match=r"too early|Short read"), open_slide(path) as slide:
        slide.read(Box(0, 0, 100, 80), 0)


@pytest.mark.parametrize("compression", ["jpeg", "webp", "jpeg2000", "jpegxl", "zlib"])
@pytest.mark.parametrize("tag", ["TileWidth", "TileLength"])
def test_a_tile_smaller_than_its_header_says_is_no_black_part(tmp_path: Path, compression: str, tag: str) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, make_noise(Size(64, 64)), compression=compression, tile=(64, 64))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for side in ("ImageWidth", "ImageLength", tag):
            tiff.pages.first.tags[side].overwrite(128)
        for side in ("TileWidth", "TileLength"):
            tiff.pages.first.tags[side].overwrite(128)
    with pytest.raises(SlideError), open_slide(path) as slide:
        slide.read(Box(0, 0, 128, 128), 0)


@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 16}])
def test_a_picture_without_any_bytes_is_refused(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = write_tiff(tmp_path / "a.tif", make_noise(SMALL), compression="zlib", **layout)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["TileByteCounts" if "tile" in layout else "StripByteCounts"]
        tag.overwrite([0] * tag.count)
    assert "none of its picture is stored" in refusal(path)


@pytest.mark.parametrize("vendor", ["generic", "aperio"])
@pytest.mark.parametrize("tags", [(324, 325), (325,)])
def test_tiles_without_bytes_are_white_and_counted(tmp_path: Path, vendor: str, tags: tuple[int, ...]) -> None:
    path, image = tmp_path / "sparse.tif", make_noise(Size(128, 96))
    description = "Aperio Image Library|AppMag = 20|MPP = 0.5" if vendor == "aperio" else None
    write_tiff(path, image, tile=(32, 32), compression="zlib", description=description)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for code in tags:
            tag = tiff.pages.first.tags[code]
            tag.overwrite([0 if number in (0, 5) else value for number, value in enumerate(tag.value)])
    with open_slide(path) as slide:
        assert "2 of 12 tiles of this TIFF have no bytes, and are shown white" in slide.info.warnings
        pixels = slide.read(Box(0, 0, 128, 96), 0)
    assert pixels[:32, :32].min() == pixels[32:64, 32:64].min() == 255
    np.testing.assert_array_equal(pixels[:32, 32:], image[:32, 32:])


def test_a_compressed_strip_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([b"\0" * 100]),
            shape=(20_000, 20_000, 3),
            dtype="uint8",
            photometric="rgb",
            rowsperstrip=20_000,
            compression="zlib",
        )
    assert "20000 x 20000 px" in refusal(path)


def test_tiles_too_large_for_any_reader_are_refused_before_openslide_ends_the_process(
    tmp_path: Path, cmu_slide: Path
) -> None:
    path = tmp_path / "monstrous.svs"
    path.write_bytes(cmu_slide.read_bytes())
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for side in ("TileWidth", "TileLength"):
            tiff.pages.first.tags[side].overwrite(65520)
    assert "larger than any scanner's" in refusal(path)


def test_xml_that_declares_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ome.tif"
    xml = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><OME>&a;</OME>'
    tifffile.imwrite(path, make_noise(SMALL), photometric="rgb", description=xml, metadata=None)
    assert "declares XML entities" in refusal(path)


def test_an_ome_tiff_that_names_another_file_reads_nothing_of_it(tmp_path: Path) -> None:
    write_tiff(tmp_path / "other.tif", make_noise(Size(500, 400)))
    uuid = "urn:uuid:11111111-2222-3333-4444-555555555555"
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYCZT" Type="uint8" SizeX="500" SizeY="400" SizeC="3" SizeZ="1" SizeT="1">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"><UUID FileName="other.tif">'
        f"{uuid}</UUID></TiffData></Pixels></Image></OME>"
    )
    path = tmp_path / "points.ome.tif"
    tifffile.imwrite(path, make_noise(SMALL), photometric="rgb", description=xml, metadata=None)
    with open_slide(path) as slide:
        assert slide.info.size == SMALL


@pytest.mark.parametrize("compression", [None, "lzw", "jpeg"])
def test_a_slide_that_ends_early_opens_and_names_the_box_that_is_lost(tmp_path: Path, compression: str | None) -> None:
    path = write_tiff(tmp_path / "cut.tif", make_noise(Size(256, 256)), compression=compression, rowsperstrip=64)
    path.write_bytes(path.read_bytes()[:-2000])
    with open_slide(path) as slide:
        assert slide.read(Box(0, 0, 60, 60), 0).shape == (60, 60, 3)
        with pytest.raises(SlideError, match=r"level 0, x 200, y 200, 50 x 56 px cannot be decoded \(.+\); ") as caught:
            slide.read(Box(200, 200, 250, 256), 0)
        assert str(path) in str(caught.value)


def test_a_pyramid_whose_smallest_level_is_cut_is_refused(tmp_path: Path) -> None:
    path = write_generic_pyramid(tmp_path / "cut.tif", make_noise_levels(Size(256, 256), Size(128, 128)))
    path.write_bytes(path.read_bytes()[:-2000])
    assert "Short read of file: " in refusal(path)


@pytest.mark.parametrize("write", [write_generic_pyramid, write_ome_pyramid])
def test_damage_never_raises_anything_but_a_slide_error(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "image.tif", make_noise_levels(SMALL, Size(50, 40)), compression="jpeg", tile=(32, 32))
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in random.integers(4, 1500, 3):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        with suppress(SlideError), open_slide(path) as slide:
            assert slide.read(Box(0, 0, 50, 40), len(slide.info.levels) - 1).shape == (40, 50, 3)


def test_a_codec_that_only_openslide_decodes_is_read_by_it(tmp_path: Path) -> None:
    path = tmp_path / "j2k.svs"
    image = make_noise(Size(300, 200))
    tiles = [image[y : y + 64, x : x + 64] for y in range(0, 200, 64) for x in range(0, 300, 64)]
    whole = [np.pad(t, ((0, 64 - t.shape[0]), (0, 64 - t.shape[1]), (0, 0))) for t in tiles]
    stored = [bytes(imagecodecs.jpeg2k_encode(t, codecformat="J2K", mct=False, level=0)) for t in whole]
    tifffile.imwrite(
        path,
        iter(stored),
        shape=image.shape,
        dtype="uint8",
        photometric="rgb",
        tile=(64, 64),
        compression=33005,
        description="Aperio Image Library|AppMag = 20|MPP = 0.5",
        metadata=None,
    )
    with open_slide(path) as slide:
        assert (slide.info.reader, slide.info.vendor) == ("openslide", "aperio")
        np.testing.assert_array_equal(slide.read(Box(10, 20, 150, 120), 0), image[20:120, 10:150])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.ozx", b"PK\x03\x04", "is a zipped OME-Zarr; unzip it and give the folder"),
        ("a.ome.zarr.zip", b"PK\x03\x04" + bytes(26) + b"a.ome.zarr/.zattrs", "is a zipped OME-Zarr; unzip it"),
        ("slides.zip", b"PK\x03\x04" + bytes(26) + b"a.svs", "is a zip archive; unpack it and give the slide in it"),
        ("a.svs.gz", b"\x1f\x8b\x08", "is packed by gzip; unpack it"),
        ("a.tar", bytes(257) + b"ustar", "is a tar archive; unpack it"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it"),
    ],
)
def test_an_archive_is_named_with_what_to_do(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)


BIO_FORMATS = (
    r"convert it to OME-TIFF with QuPath, or by Bio-Formats \(bfconvert -noflat .* -compression JPEG {0} {1}.ome.tif\)"
)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.kfb", b"KFB\0\1", "is a KFBIO slide by its name, .*export it as OME-TIFF, DICOM or SVS"),
        ("a.tmap", b"TMAP\5", "is a Unic TMAP slide by its name, .*export it"),
        ("a.SDPC", b"SQ\0", "is an SQRay slide by its name, .*export it"),
        (
            "a.isyntax",
            b'<DataObject ObjectType="DPUfsImport">',
            "Philips iSyntax slide .*isyntax-to-tiff a.isyntax",
        ),
        ("a.lif", b"\x70\0\0\0", "is a Leica LIF image by its name, .*" + BIO_FORMATS.format("a.lif", "a")),
        (
            "a.ndpis",
            b"[NanoZoomer Digital Pathology Image Set]",
            "a Hamamatsu fluorescence scan .*brightfield",
        ),
        ("a.webp", b"RIFF\0\0\0\0WEBP", "is a WebP picture by its name, .*save it as PNG"),
        ("frame_t.ets", b"SIS\0@\0\0\0", "holds the scan of an Olympus VSI; give the .vsi"),
        ("_a_/stack1/frame_t.ets", b"SIS\0", "scan of an Olympus VSI; give a.vsi beside it, which is missing"),
    ],
)
def test_a_format_without_a_reader_is_named_with_what_to_do(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content * 50)
    assert re.search(words, refusal(tmp_path / name))


@pytest.mark.parametrize("name", ["a.vsi", "renamed.tif"])
def test_the_preview_in_an_olympus_vsi_is_not_taken_for_the_slide(tmp_path: Path, name: str) -> None:
    path = write_tiff(tmp_path / name, make_noise(SMALL))
    folder = tmp_path / f"_{path.stem}_"
    if name == "a.vsi":
        assert "is an Olympus VSI without its scan, the folder _a_; copy that beside it" in refusal(path)
    (folder / "stack1").mkdir(parents=True)
    (folder / "stack1" / "frame_t.ets").touch()
    words = {"a.vsi": "has a damaged file stack1/frame_t.ets", "renamed.tif": "name it renamed.vsi"}
    assert words[name] in refusal(path)
    assert f"holds the scan of an Olympus VSI; give {path.stem}.vsi beside it" in refusal(folder)


def test_the_picture_in_a_mirax_file_is_not_taken_for_the_slide(tmp_path: Path) -> None:
    path = write_mirax(tmp_path / "a.mrxs", [make_blobs(Size(128, 128))])
    assert "holds the scan of a MIRAX slide; give a.mrxs beside it" in refusal(tmp_path / "a")
    large = path.rename(tmp_path / "a.MRXS")
    assert "which OpenSlide knows by the suffix .mrxs only; rename it" in refusal(large)
    (tmp_path / "a" / "Slidedat.ini").unlink()
    assert "a MIRAX slide without its scan, as Slidedat.ini in the folder a is missing" in refusal(large)
    lonely = large.rename(tmp_path / "b.mrxs")
    assert "is a MIRAX slide without its scan, as the folder b is missing; copy all of that" in refusal(lonely)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DIGITIZER_WIDTH", "20000"),
        ("DIGITIZER_HEIGHT", "0"),
        ("OVERLAP_X", "64"),
        ("OVERLAP_Y", "-1e9"),
        ("OVERLAP_Y", "none"),
        ("IMAGENUMBER_X", "200000"),
    ],
)
def test_a_number_of_a_mirax_slide_that_no_scanner_writes_is_refused(tmp_path: Path, key: str, value: str) -> None:
    path = write_mirax(tmp_path / "a.mrxs", [make_blobs(Size(128, 128))])
    index = tmp_path / "a" / "Slidedat.ini"
    index.write_text(re.sub(rf"{key}=.*", f"{key}={value}", index.read_text("utf-8-sig"), count=1), "utf-8-sig")
    assert f"{key} in its Slidedat.ini is '{value}', where" in refusal(path)


@pytest.mark.parametrize(("stored", "photometric"), [("ycbcr", 2), ("rgb", 6), ("rgb", 2), ("ycbcr", 6)])
@pytest.mark.parametrize("kind", ["ome", "aperio", "generic", "sparse"])
def test_jpeg_tiles_have_their_own_colours_whatever_the_header_says(
    tmp_path: Path, stored: str, photometric: int, kind: str
) -> None:
    image, path = make_blobs(Size(128, 64)), tmp_path / "a.tif"
    colours: Any = {"colorspace": "rgb", "outcolorspace": stored, "subsampling": "444"}
    parts = [np.ascontiguousarray(part) for part in (image[:, :64], image[:, 64:])]
    tiles = [bytes(imagecodecs.jpeg8_encode(part, level=95, **colours)) for part in parts]
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="128" SizeY="64" SizeC="3" SizeZ="1" '
        'SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="3"/></Pixels></Image></OME>'
    )
    words = {"ome": xml, "aperio": "Aperio Image Library|AppMag = 20|MPP = 0.5"}.get(kind)
    with tifffile.TiffWriter(path) as writer:
        layout: Any = {"shape": image.shape, "dtype": "uint8", "tile": (64, 64), "compression": "jpeg"}
        layout |= {"photometric": "rgb", "subsampling": (1, 1), "metadata": None, "description": words}
        writer.write(iter([b"" if kind == "sparse" else tiles[0], tiles[1]]), **layout)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(photometric)
    with open_slide(path) as slide:
        shown = slide.read(Box(64, 0, 128, 64), 0).astype(int)
        is_told = OTHER_COLOURS_WARNING in slide.info.warnings
    assert np.abs(shown - image[:, 64:]).mean() < 3
    assert is_told == (kind in ("ome", "sparse") and (stored == "rgb") == (photometric == 6))
