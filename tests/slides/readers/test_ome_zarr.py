"""OME-Zarr of both versions: every chunking, order and codec of the list gives the pixels that zarr wrote."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from zarr import codecs

from tests.slides.contract import DamagedSample, DamagedSlideContract, SlideContract, SlideSample, make_damaged_sample
from tests.support.samples import make_noise, make_noise_levels, write_ome_zarr
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide

LEVELS = make_noise_levels(Size(221, 183), Size(110, 91), Size(55, 45))
TCZYX = (1, 1, 1, 64, 48)
LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "0.4": ("0.4", {}),
    "0.4 plain": ("0.4", {"compressors": None}),
    "0.4 zlib, Fortran order": ("0.4", {"compressors": numcodecs.Zlib(), "order": "F", "chunks": (2, 40, 64)}),
    "0.4 gzip": ("0.4", {"compressors": numcodecs.GZip()}),
    "0.4 bz2": ("0.4", {"compressors": numcodecs.BZ2()}),
    "0.4 lz4": ("0.4", {"compressors": numcodecs.LZ4()}),
    "0.4 zstd": ("0.4", {"compressors": numcodecs.Zstd()}),
    "0.4 as bioformats2raw": (
        "0.4",
        {
            "axes": "tczyx",
            "chunks": TCZYX,
            "compressors": numcodecs.Blosc("lz4"),
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        },
    ),
    "0.4 chunks beyond the image": ("0.4", {"chunks": (5, 300, 300)}),
    "0.5": ("0.5", {}),
    "0.5 plain": ("0.5", {"compressors": None}),
    "0.5 blosc": ("0.5", {"axes": "tczyx", "chunks": TCZYX, "compressors": codecs.BloscCodec(cname="zstd")}),
    "0.5 gzip and checksum": ("0.5", {"compressors": [codecs.GzipCodec(), codecs.Crc32cCodec()]}),
    "0.5 checksum and zstd": ("0.5", {"compressors": [codecs.Crc32cCodec(), codecs.ZstdCodec()]}),
    "0.5 transposed": ("0.5", {"filters": [codecs.TransposeCodec(order=(1, 2, 0))], "chunks": (3, 40, 64)}),
    "0.5 sharded": ("0.5", {"shards": (3, 128, 192)}),
    "0.5 sharded by channel": ("0.5", {"axes": "tczyx", "chunks": TCZYX, "shards": (1, 3, 1, 128, 96)}),
    "0.5 names with points": ("0.5", {"chunk_key_encoding": {"name": "default", "separator": "."}}),
    "0.5 names as in 0.4": ("0.5", {"chunk_key_encoding": {"name": "v2", "separator": "."}}),
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("zarrs")

    def written(name: str) -> Path:
        version, options = LAYOUTS[name]
        path = folder / f"{name}.ome.zarr"
        return path if path.exists() else write_ome_zarr(path, LEVELS, version, **options)

    return written


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_level_is_what_zarr_reads(layouts: Callable[[str], Path], name: str) -> None:
    group = zarr.open_group(layouts(name), mode="r")
    with open_slide(layouts(name)) as slide:
        assert (slide.info.vendor, slide.info.reader, slide.info.mpp) == ("ome-zarr", "imagecodecs", 0.25)
        assert [level.size for level in slide.info.levels] == [Size(221, 183), Size(110, 91), Size(55, 45)]
        for number, level in enumerate(slide.info.levels):
            array = group[str(number)]
            assert isinstance(array, zarr.Array)
            stored = np.moveaxis(np.asarray(array[...]).reshape(3, level.size.height, level.size.width), 0, -1)
            np.testing.assert_array_equal(slide.read(Box.from_size(level.size), number), stored)


class TestZarrSlide(SlideContract, DamagedSlideContract):
    @pytest.fixture(scope="class", params=["0.4 as bioformats2raw", "0.4 zlib, Fortran order", "0.5", "0.5 sharded"])
    @classmethod
    def sample(cls, request: pytest.FixtureRequest, layouts: Callable[[str], Path]) -> SlideSample:
        path = layouts(request.param)
        return SlideSample(lambda: open_slide(path), LEVELS)

    @pytest.fixture(scope="class", params=["0.4", "0.5"])
    @classmethod
    def damaged_sample(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        folder = tmp_path_factory.mktemp("zarr") / "a"
        path = write_ome_zarr(folder, [make_noise(Size(512, 512))], request.param)
        (path / "0" / ("0.1.1" if request.param == "0.4" else "c/0/1/1")).write_bytes(b"x" * 5000)
        return make_damaged_sample(path, open_slide)


@pytest.mark.parametrize("options", [{}, {"shards": (3, 128, 128)}])
def test_what_is_not_stored_has_the_value_that_the_array_names(tmp_path: Path, options: dict[str, Any]) -> None:
    levels = [np.full((200, 200, 3), 240, np.uint8)]
    levels[0][:64, :64] = 7
    path = write_ome_zarr(tmp_path / "sparse", levels, "0.5", fill_value=240, **options)
    assert sum(file.is_file() for file in (path / "0" / "c").rglob("*")) == 1
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 200, 200), 0), levels[0])


def test_a_scale_of_all_levels_and_a_unit_count(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS, "0.4", scale=250.0)
    attributes = json.loads((path / ".zattrs").read_text())
    for axis in attributes["multiscales"][0]["axes"][1:]:
        axis["unit"] = "nanometer"
    attributes["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [1, 2, 2]}]
    (path / ".zattrs").write_text(json.dumps(attributes))
    with open_slide(path) as slide:
        assert slide.info.mpp == pytest.approx(0.5)


def with_unit(path: Path, unit: str, scale: float) -> Path:
    """Give both axes of an OME-Zarr 0.4 a unit, and its level 0 a scale in it."""
    attributes = json.loads((path / ".zattrs").read_text())
    (multiscale,) = attributes["multiscales"]
    for axis in multiscale["axes"][1:]:
        axis["unit"] = unit
    multiscale["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [1, scale, scale]}]
    (path / ".zattrs").write_text(json.dumps(attributes))
    return path


@pytest.mark.parametrize(
    ("unit", "scale"), [("\xb5m", 0.5), ("micron", 0.5), ("angstrom", 5000.0), ("inch", 0.5 / 25_400), ("mm", 0.0005)]
)
def test_units_count_by_whatever_name(tmp_path: Path, unit: str, scale: float) -> None:
    with open_slide(with_unit(write_ome_zarr(tmp_path / "a", LEVELS[:1], "0.4"), unit, scale)) as slide:
        assert slide.info.mpp == pytest.approx(0.5)
        assert slide.info.warnings == ()


def test_an_unknown_unit_is_said(tmp_path: Path) -> None:
    path = with_unit(write_ome_zarr(tmp_path / "a", LEVELS[:1], "0.4"), "furlong", 0.5)
    with open_slide(path) as slide:
        assert slide.info.mpp is None
        assert "its pixel size is in 'furlong', a unit that is not understood" in slide.info.warnings[0]
    with open_slide(with_unit(path, "pixel", 1.0)) as slide:
        assert slide.info.warnings == ()


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_old_versions_are_read_and_record_no_pixel_size(tmp_path: Path, version: str) -> None:
    names = "cyx" if version == "0.3" else "tczyx"
    path = write_ome_zarr(tmp_path / "a", LEVELS, "0.4", axes=names)
    attributes = json.loads((path / ".zattrs").read_text())
    datasets = [{"path": dataset["path"]} for dataset in attributes["multiscales"][0]["datasets"]]
    axes = {"axes": list(names)} if version == "0.3" else {}
    attributes["multiscales"] = [{"version": version, "datasets": datasets} | axes]
    (path / ".zattrs").write_text(json.dumps(attributes))
    with open_slide(path) as slide:
        assert (slide.info.mpp, slide.info.warnings) == (None, ())
        assert [level.downsample for level in slide.info.levels] == pytest.approx([1, 2, 4], rel=0.02)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 55, 45), 2), LEVELS[2])


@pytest.mark.parametrize("has_scale", [False, True])
def test_a_pixel_size_that_only_the_ome_xml_records_counts(tmp_path: Path, has_scale: bool) -> None:
    path = tmp_path / "a"
    zarr.create_group(path, zarr_format=2).attrs["bioformats2raw.layout"] = 3
    write_ome_zarr(path / "0", LEVELS, "0.4", scale=0.25 if has_scale else None)
    sizes = 'PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="500" PhysicalSizeYUnit="nm"'
    (path / "OME").mkdir()
    (path / "OME" / "METADATA.ome.xml").write_text(
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels SizeX="221" SizeY="183" {sizes}/></Image></OME>'
    )
    with open_slide(path) as slide:
        assert slide.info.mpp == (0.25 if has_scale else 0.5)


def test_a_version_that_is_too_new_is_named(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS, "0.5")
    metadata = json.loads((path / "zarr.json").read_text())
    multiscale = metadata["attributes"]["ome"]["multiscales"][0]
    multiscale["coordinateSystems"] = [{"name": "physical", "axes": multiscale.pop("axes")}]
    metadata["attributes"]["ome"]["version"] = "0.6"
    (path / "zarr.json").write_text(json.dumps(metadata))
    assert "holds an image in OME-Zarr 0.6; give an OME-Zarr 0.1 to 0.5" in refusal(path)


def write_spatialdata(folder: Path, version: str) -> Path:
    """Write a store of SpatialData with two images, one of them of four channels."""
    attributes = {"spatialdata_attrs": {"version": "0.2"}}
    store = zarr.create_group(folder, zarr_format=2 if version == "0.4" else 3, attributes=attributes)
    store.create_group("images")
    store.create_group("tables")
    write_ome_zarr(folder / "images" / "he", LEVELS, version)
    changed(write_ome_zarr(folder / "images" / "dapi", LEVELS[1:], version), shape=[4, 91, 110])
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_of_a_spatialdata_store_the_largest_image_is_read(tmp_path: Path, version: str) -> None:
    path = write_spatialdata(tmp_path / "a", version)
    (path / "images" / "elsewhere").symlink_to(write_ome_zarr(tmp_path / "b", LEVELS, version))
    with open_slide(path) as slide:
        assert [series.name for series in slide.info.all_series] == ["dapi", "he"]
        assert (slide.info.series_number, slide.info.mpp) == (1, 0.25)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 221, 183), 0), LEVELS[0])
    assert "4 channels" in "".join(series.refusal for series in slide.info.all_series)


def test_the_images_that_lie_further_down_are_named(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a", zarr_format=3).create_group("inner")
    write_ome_zarr(tmp_path / "a" / "inner" / "scan", LEVELS[:1], "0.5")
    assert "its images lie in inner/scan" in refusal(tmp_path / "a")
    zarr.create_group(tmp_path / "b", zarr_format=3).create_group("inner")
    assert "neither it nor a group in it has `multiscales`" in refusal(tmp_path / "b")


def test_without_a_unit_the_pitch_is_not_recorded(tmp_path: Path) -> None:
    with open_slide(write_ome_zarr(tmp_path / "a", LEVELS, "0.5", scale=None)) as slide:
        assert slide.info.mpp is None


def several_images(folder: Path, version: str) -> Path:
    """As bioformats2raw lays them out: the second is the largest, the third is no picture."""
    group = zarr.create_group(folder, zarr_format=2 if version == "0.4" else 3)
    group.attrs["bioformats2raw.layout"] = 3
    write_ome_zarr(folder / "0", LEVELS[1:], version)
    write_ome_zarr(folder / "1", LEVELS, version)
    changed(write_ome_zarr(folder / "2", LEVELS, version), shape=[4, 183, 221])
    write_ome_zarr(folder / "3", [LEVELS[2][:5, :5]], version)
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_of_several_images_the_largest_is_read_unless_another_is_asked_for(tmp_path: Path, version: str) -> None:
    path = several_images(tmp_path / "all", version)
    with open_slide(path) as slide:
        assert (slide.info.size, slide.info.series_number) == (Size(221, 183), 1)
        assert [scene.size for scene in slide.info.all_series] == [
            Size(110, 91),
            Size(221, 183),
            Size(221, 183),
            Size(5, 5),
        ]
        assert [bool(scene.refusal) for scene in slide.info.all_series] == [False, False, True, False]
        assert slide.info.warnings == ("the file holds 3 images; series 1, the largest, is read (others by --series)",)
    with open_slide(path, series=0) as slide:
        assert (slide.info.size, slide.info.series_number, slide.info.warnings) == (Size(110, 91), 0, ())
        np.testing.assert_array_equal(slide.read(Box(0, 0, 110, 91), 0), LEVELS[1])
    for series, words in ((2, "4 channels"), (4, "series are 0 to 3")):
        with pytest.raises(SlideError, match=words):
            open_slide(path, series=series)


def test_several_multiscales_of_one_group_are_images_too(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS, "0.4")
    attributes = json.loads((path / ".zattrs").read_text())
    (scale,) = attributes["multiscales"]
    attributes["multiscales"] = [scale | {"name": "small", "datasets": scale["datasets"][1:]}, scale]
    (path / ".zattrs").write_text(json.dumps(attributes))
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.info.all_series] == ["small", ""]
        assert slide.info.series_number == 1


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_chunk_that_is_not_stored_is_white_not_black_and_that_is_said(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS[:1], version, fill_value=0)
    with open_slide(path) as slide:
        assert slide.info.warnings == ()
    (path / "0" / ("0.1.2" if version == "0.4" else "c/0/1/2")).unlink()
    with open_slide(path) as slide:
        assert "1 of 12 files" in slide.info.warnings[0]
        expected = LEVELS[0].copy()
        expected[64:128, 128:192] = 255
        np.testing.assert_array_equal(slide.read(Box(0, 0, 221, 183), 0), expected)


@pytest.mark.parametrize(("fill", "said"), [(0, True), (255, False), (240, False)])
def test_a_chunk_that_a_shard_leaves_out_is_what_the_array_names(tmp_path: Path, fill: int, said: bool) -> None:
    levels = [LEVELS[0].copy()]
    levels[0][:64, :64] = fill
    path = write_ome_zarr(tmp_path / "a", levels, "0.5", fill_value=fill, shards=(3, 128, 128))
    with open_slide(path) as slide:
        assert ("1 chunks in shards" in "".join(slide.info.warnings)) == said
        assert (slide.read(Box(0, 0, 64, 64), 0) == (fill or 255)).all()


def rename_chunks(array: Path, separator: str, prefix: str = "") -> None:
    """Move the chunk files of an array to other names; the metadata stay as they are."""
    files = [
        file for file in array.rglob("*") if file.is_file() and file.name not in (".zarray", ".zattrs", "zarr.json")
    ]
    moved = {file: file.relative_to(array).as_posix().removeprefix("c/").removeprefix("c.") for file in files}
    for file, name in moved.items():
        target = array / (prefix + separator.join(re.split("[./]", name)))
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)


SHARDS = {"shards": (3, 128, 128)}
FLAT, NESTED = ({"chunk_key_encoding": {"name": "v2", "separator": separator}} for separator in "./")


@pytest.mark.parametrize(
    ("version", "recorded", "prefix", "separator"),
    [
        ("0.4", FLAT, "", "/"),
        ("0.4", NESTED, "", "."),
        ("0.5", FLAT, "c/", "/"),
        ("0.5", {}, "c.", "."),
        ("0.5", {}, "", "/"),
        ("0.5", SHARDS, "", "."),
    ],
)
def test_chunks_under_other_names_than_recorded_are_read_as_they_lie(
    tmp_path: Path, version: str, recorded: dict[str, Any], prefix: str, separator: str
) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS, version, **recorded)
    for number in range(3):
        rename_chunks(path / str(number), separator, prefix)
    with open_slide(path) as slide:
        assert slide.info.warnings == ()
        for number, level in enumerate(LEVELS):
            box = Box(0, 0, level.shape[1], level.shape[0])
            np.testing.assert_array_equal(slide.read(box, number), level)


@pytest.mark.parametrize("is_null", [False, True])
def test_a_separator_that_the_metadata_do_not_name_is_found(tmp_path: Path, is_null: bool) -> None:
    nested = {"name": "v2", "separator": "/"}
    path = write_ome_zarr(tmp_path / "a", LEVELS[:1], "0.4", chunk_key_encoding=nested)
    file = path / "0" / ".zarray"
    metadata = json.loads(file.read_text())
    assert metadata.pop("dimension_separator") == "/"
    file.write_text(json.dumps(metadata | ({"dimension_separator": None} if is_null else {})))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 221, 183), 0), LEVELS[0])


def test_of_two_namings_the_one_with_more_files_counts_and_the_rest_is_said(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS[:1], "0.4")
    kept = (path / "0" / "0.0.0").read_bytes()
    rename_chunks(path / "0", "/")
    (path / "0" / "0.0.0").write_bytes(kept)
    (path / "0" / "0" / "1" / "1").unlink()
    with open_slide(path) as slide:
        assert "1 of 12 files" in slide.info.warnings[0]
        np.testing.assert_array_equal(slide.read(Box(0, 0, 64, 64), 0), LEVELS[0][:64, :64])


@pytest.mark.parametrize("fill", [0, 255])
@pytest.mark.parametrize("options", [{}, {"shards": (3, 128, 128)}], ids=["files", "shards"])
def test_a_level_of_which_nothing_is_stored_is_never_white(tmp_path: Path, options: dict[str, Any], fill: int) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS, "0.5", fill_value=fill, **options)
    shutil.rmtree(path / "1" / "c")
    with open_slide(path) as slide:
        assert [level.size for level in slide.info.levels] == [Size(221, 183), Size(55, 45)]
        assert "level 1 (110 x 91 px) is not used" in slide.info.warnings[0]
        np.testing.assert_array_equal(slide.read(Box(0, 0, 55, 45), 1), LEVELS[2])
    shutil.rmtree(path / "0" / "c")
    assert "level 0 (221 x 183 px) is not used" in refusal(path)


def test_shards_that_store_no_chunk_are_no_white_slide(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS[:1], "0.5", shards=(3, 192, 256))
    (shard,) = (file for file in (path / "0" / "c").rglob("*") if file.is_file())
    index = b"\xff" * 16 * 12
    shard.write_bytes(index + google_crc32c.value(index).to_bytes(4, "little"))
    assert "level 0 (221 x 183 px) is not used" in refusal(path)


def refusal(path: Path | str) -> str:
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert ";" in line
    return line


def changed(path: Path, **values: Any) -> Path:
    """The metadata of level 0 with other values."""
    file = next(path / "0" / name for name in (".zarray", "zarr.json") if (path / "0" / name).exists())
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return path


@pytest.mark.parametrize(
    ("version", "values", "word"),
    [
        ("0.4", {"filters": [{"id": "pickle"}]}, "filters"),
        ("0.4", {"compressor": {"id": "pickle"}}, "codec pickle"),
        ("0.4", {"dtype": "|O"}, r"type |O"),
        ("0.4", {"dtype": "<u2"}, "type <u2"),
        ("0.4", {"chunks": [3, 20_000, 20_000]}, "chunks of 3 x 20000 x 20000"),
        ("0.4", {"chunks": [3, 0, 64]}, "chunks of"),
        ("0.4", {"chunks": [3, 64]}, "chunks of"),
        ("0.4", {"shape": [4, 183, 221]}, "4 channels"),
        ("0.4", {"shape": [3, -1, 221]}, "sizes"),
        ("0.4", {"dimension_separator": "/../"}, "naming"),
        ("0.5", {"codecs": [{"name": "numcodecs.pickle"}]}, "codec numcodecs.pickle"),
        ("0.5", {"data_type": "uint16"}, "type uint16"),
        ("0.5", {"shape": [3, float("inf"), 221]}, "sizes"),
        ("0.5", {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 0, 64]}}}, "chunks of"),
        ("0.5", {"codecs": []}, "damaged"),
        ("0.5", {"fill_value": 300}, "fill value 300"),
    ],
)
def test_an_array_that_is_no_picture_or_names_other_codecs_is_refused(
    tmp_path: Path, version: str, values: dict[str, Any], word: str
) -> None:
    assert word in refusal(changed(write_ome_zarr(tmp_path / "a", LEVELS, version), **values))


def test_what_is_not_one_image_of_three_channels_is_refused(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS, "0.4")
    whole = json.loads((path / ".zattrs").read_text())
    scale = whole["multiscales"][0]
    coloured = [{"color": colour} for colour in ("0000FF", "00FF00", "FF0000")]
    outside = [scale | {"datasets": [{"path": "../a/0"}]}]
    upside_down = [scale | {"datasets": scale["datasets"][::-1]}]
    axes = [scale | {"axes": [{"name": name} for name in "zyx"]}]
    for attributes, word in (
        (whole | {"omero": {"channels": coloured}}, "fluorescence"),
        ({"plate": {}}, "plate"),
        ({"multiscales": outside}, "outside its folder"),
        ({"multiscales": upside_down}, "fine to coarse"),
        ({"multiscales": axes}, "axes zyx"),
        ({"multiscales": []}, "damaged"),
        ({}, "not an OME-Zarr image"),
    ):
        (path / ".zattrs").write_text(json.dumps(attributes))
        assert word in refusal(path)
    (path / ".zattrs").write_text("[" * 100_000)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("name", ["0.4 zlib, Fortran order", "0.5 gzip and checksum", "0.5 sharded", "0.5 plain"])
def test_a_damaged_chunk_is_a_line_that_names_the_box(tmp_path: Path, name: str) -> None:
    version, options = LAYOUTS[name]
    path = write_ome_zarr(tmp_path / "a", LEVELS[:1], version, **options)
    for file in (path / "0").rglob("*"):
        if file.is_file() and file.name not in (".zarray", ".zattrs", "zarr.json"):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    line = r"level 0, x 5, y 6, 20 x 20 px cannot be decoded \(chunk 0/0/0: "
    with open_slide(path) as slide, pytest.raises(SlideError, match=line):
        slide.read(Box(5, 6, 25, 26), 0)


@pytest.mark.parametrize("codec", [codecs.ZstdCodec(), codecs.BloscCodec(), codecs.GzipCodec(), codecs.Crc32cCodec()])
def test_a_damaged_colour_profile_is_one_line(tmp_path: Path, codec: Any) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS[:1], "0.5")
    group = zarr.open_group(path)
    profile = group.create_array("icc", shape=(500,), dtype="uint8", chunks=(500,), compressors=codec)
    profile[...] = np.arange(500) % 256
    group.attrs["wsisr"] = {"version": "1"}
    with open_slide(path) as slide:
        assert slide.info.icc == bytes(n % 256 for n in range(500))
    (path / "icc" / "c" / "0").write_bytes(b"x" * 40)
    assert "damaged one (chunk 0: " in refusal(path)


@pytest.mark.parametrize("codec", ["zlib", "gzip", "zstd", "blosc", "lz4"])
def test_a_chunk_that_swells_beyond_its_size_is_refused(tmp_path: Path, codec: str) -> None:
    path = write_ome_zarr(tmp_path / "a", LEVELS[:1], "0.4", compressors=numcodecs.get_codec({"id": codec}))
    swollen = numcodecs.get_codec({"id": codec}).encode(np.zeros(3 * 64 * 64 * 50, np.uint8))
    (path / "0" / "0.0.0").write_bytes(bytes(swollen))
    assert len(swollen) < math.prod((3, 64, 64))
    with open_slide(path) as slide, pytest.raises(SlideError, match="cannot be decoded"):
        slide.read(Box(0, 0, 10, 10), 0)
