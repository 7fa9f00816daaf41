"""Bounds on what a file may claim: what is at a bound is read, what is beyond it is refused in a line that says so.

The files are small: the bound is set to what each of them claims, then to one less. `BOMBS` go beyond the real ones.
"""

from __future__ import annotations

import importlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tifffile
from PIL import Image

from tests.support.dicom import DicomLevel, write_dicom_level
from tests.support.fuzz_targets import write_onnx_files
from tests.support.mirax import write_mirax
from tests.support.pairs import make_record
from tests.support.samples import REPOSITORY, make_noise, write_ome_zarr, write_tiff
from wsisr import bounds
from wsisr.config import read_toml
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import parse_manifest
from wsisr.dataset.slides_and_splits import read_case_table
from wsisr.errors import WsisrError
from wsisr.imaging.geometry import Box, Size
from wsisr.models.spec import ModelSpec
from wsisr.slides import open_slide
from wsisr.slides.associated import read_associated_image
from wsisr.slides.readers.dicom_header import read_dicom_header
from wsisr.slides.readers.ome_xml import describe_excess
from wsisr.slides.readers.tiff_description import parse_description
from wsisr.slides.readers.tiff_structure import refuse_excessive_structure
from wsisr.tissue.annotation import Canvas, read_geojson, read_mask_picture

SMALL = make_noise(Size(64, 48))
CANVAS = Canvas(Size(400, 400))
SQUARE = [[0, 0], [199, 0], [199, 199], [0, 199], [0, 0]]
GEOJSON = json.dumps({"type": "Polygon", "coordinates": [SQUARE]})
SPEC = ModelSpec("masrgan", 2, 8, 1, 5, (0.5, 1)).to_json()


def write_chain(path: Path, pages: int, *, is_circle: bool = False) -> Path:
    """Write a TIFF of grey directories that share one strip of 4 x 4 px."""
    tags = ((256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (278, 4), (279, 16))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    size = 2 + len(entries) + 4
    data = struct.pack("<2sHI", b"II", 42, 8)
    for number in range(1, pages + 1):
        following = 8 + size * number if number < pages else 8 * is_circle
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    path.write_bytes(data)
    return path


def write_shared_value(path: Path, directories: int, value_bytes: int) -> Path:
    """Write a TIFF whose directories have one tag each, all with the same value."""
    data = struct.pack("<2sHI", b"II", 42, 8 + value_bytes) + bytes(value_bytes)
    for number in range(1, directories + 1):
        following = len(data) + 18 if number < directories else 0
        data += struct.pack("<HHHII", 1, 65000, 7, value_bytes, 8) + struct.pack("<I", following)
    path.write_bytes(data)
    return path


def write_ome(path: Path, old: str = "", new: str = "") -> Path:
    """Write an OME-TIFF in whose XML a text is replaced."""
    tifffile.imwrite(path, SMALL, photometric="rgb", ome=True, metadata={"axes": "YXS"})
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.pages.first.description
    assert old in xml
    return write_tiff(path, SMALL, description=xml.replace(old, new).encode())


def write_pages(path: Path, sizes: list[Size]) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for size in sizes:
            writer.write(make_noise(size), photometric="rgb", metadata=None)
    return path


def write_zarr(folder: Path, *, series: int = 1, levels: int = 1) -> Path:
    write_ome_zarr(folder, [SMALL], "0.4")
    attributes = json.loads((folder / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"] *= levels
    attributes["multiscales"] *= series
    (folder / ".zattrs").write_text(json.dumps(attributes))
    return folder


def write_thumbnail(path: Path) -> Path:
    """Write an Aperio slide with a thumbnail of 10 x 10 px."""
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            SMALL, photometric="rgb", metadata=None, tile=(64, 64), description="Aperio Image Library\n|MPP = 0.5"
        )
        writer.write(make_noise(Size(10, 10)), photometric="rgb", metadata=None, description="Aperio\nlabel 10x10")
    return path


def write_padded(folder: Path, name: str, size: int) -> Path:
    """Make a file of JSON in a folder so many bytes long."""
    text = (folder / name).read_text()
    (folder / name).write_text(text + " " * (size - len(text)))
    return folder


def write_small_mirax(folder: Path) -> Path:
    """Two pictures of 64 px along each side, with an index of 2,000 bytes."""
    path = write_mirax(folder / "a.mrxs", [make_noise(Size(128, 128))])
    index = folder / "a" / "Slidedat.ini"
    index.write_bytes(index.read_bytes().ljust(2000, b"\n"))
    return path


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def write_bits(path: Path) -> Path:
    Image.new("1", (40, 40), 1).save(path, "PNG")
    return path


def write_field(path: Path) -> Path:
    Image.fromarray(SMALL).save(path)
    return path


def open_and_close(path: Path) -> object:
    with open_slide(path) as slide:
        slide.read(Box(0, 0, 8, 8), 0)
        return slide.info


def read_thumbnail(path: Path) -> object:
    with open_slide(path) as slide:
        return read_associated_image(slide.info, "thumbnail").shape


def walk_structure(path: Path) -> object:
    refuse_excessive_structure(path)
    return path


def measure_text(path: Path) -> object:
    excess = describe_excess(path.read_text())
    if excess:
        raise WsisrError(excess)
    return path


class Case(NamedTuple):
    """A file, what it claims, and who reads it."""

    module: str
    """Where the bound is looked up."""
    claim: int
    words: str
    """A regular expression in the refusal."""
    read: Callable[[Path], object]
    write: Callable[[Path], Path]
    """Writes it into an empty folder."""


def case_of_slide(module: str, claim: int, words: str, write: Callable[[Path], Path]) -> Case:
    return Case(f"slides.{module}", claim, words, open_and_close, write)


def case_of_marks(claim: int, words: str, text: str = GEOJSON) -> Case:
    return Case(
        "tissue.annotation",
        claim,
        words,
        lambda path: read_geojson(path, CANVAS),
        lambda folder: write_text(folder / "a.geojson", text),
    )


def case_of_onnx(module: str, claim: int, words: str) -> Case:
    def read(path: Path) -> object:
        from wsisr.models.backends.onnx_file import read_onnx

        return read_onnx(path)

    return Case(f"models.backends.{module}", claim, words, read, lambda folder: write_onnx_files(folder)[1])


CASES = {
    "MAX_SLIDE_PX": case_of_slide(
        "opening", 64 * 48, "claims 64 x 48 px", lambda folder: write_tiff(folder / "a.tif", SMALL)
    ),
    "MAX_LEVELS": case_of_slide(
        "readers.ngff", 3, "3 levels, more than 2", lambda folder: write_zarr(folder / "a", levels=3)
    ),
    "MAX_SERIES": case_of_slide(
        "readers.tiff_series",
        2,
        "2 images, more than 1",
        lambda folder: write_pages(folder / "a.tif", [Size(64, 48), Size(30, 40)]),
    ),
    "MAX_ASSOCIATED_PX": Case(
        "slides.associated",
        100,
        "which no scanner takes",
        read_thumbnail,
        lambda folder: write_thumbnail(folder / "a.svs"),
    ),
    "MAX_TIFF_PAGES": case_of_slide(
        "readers.tiff_structure",
        3,
        "more than 2 directories",
        lambda folder: write_pages(folder / "a.tif", [Size(64, 48), Size(30, 40), Size(8, 9)]),
    ),
    "MAX_TIFF_TAG_BYTES": Case(
        "slides.readers.tiff_structure",
        3 * 100,
        "its tags have more than",
        walk_structure,
        lambda folder: write_shared_value(folder / "a.tif", 3, 100),
    ),
    "MAX_TIFF_SEGMENT_BYTES": case_of_slide(
        "readers.tiff_segments",
        64 * 48 * 3,
        "segments of 64 x 48 px",
        lambda folder: write_tiff(folder / "a.tif", SMALL, compression="zlib", rowsperstrip=48),
    ),
    "MAX_CACHED_ROW_BYTES": case_of_slide(
        "readers.tiff_segments",
        64 * 48 * 3,
        "strips that are 64 px wide",
        lambda folder: write_tiff(folder / "a.tif", SMALL, compression="zlib", rowsperstrip=16),
    ),
    "MAX_MIRAX_INDEX_BYTES": case_of_slide("readers.mirax_index", 2000, "so it is no index", write_small_mirax),
    "MAX_MIRAX_PICTURE_PX": case_of_slide("readers.mirax_index", 64, "DIGITIZER_WIDTH in its", write_small_mirax),
    "MAX_MIRAX_PICTURES": case_of_slide("readers.mirax_index", 2, "IMAGENUMBER_X in its", write_small_mirax),
    "MAX_DICOM_FRAMES": case_of_slide(
        "readers.dicom", 1, "counts 1 frames", lambda folder: write_dicom_level(folder / "a.dcm", SMALL)
    ),
    "MAX_XML_CHARACTERS": Case(
        "slides.readers.ome_xml",
        8,
        "more than 7 char",
        measure_text,
        lambda folder: write_text(folder / "a", "<a> </a>"),
    ),
    "MAX_XML_TAGS": Case(
        "slides.readers.ome_xml",
        2,
        "more than 1 XML",
        measure_text,
        lambda folder: write_text(folder / "a", "<a> </a>"),
    ),
    "MAX_OME_PLANES": case_of_slide(
        "readers.ome_xml",
        7,
        "counts 7 planes",
        lambda folder: write_ome(folder / "a.ome.tif", 'PlaneCount="1"', 'PlaneCount="7"'),
    ),
    "MAX_ZARR_CHUNK_BYTES": case_of_slide(
        "readers.zarr_array", 3 * 64 * 64, "chunks of 3 x 64 x 64", lambda folder: write_zarr(folder / "a")
    ),
    "MAX_ZARR_FILES": case_of_slide(
        "readers.zarr_integrity", 1, "an array of 1 files", lambda folder: write_zarr(folder / "a")
    ),
    "MAX_ZARR_METADATA_BYTES": case_of_slide(
        "readers.ngff",
        1000,
        "metadata of 1000 bytes",
        lambda folder: write_padded(write_zarr(folder / "a"), ".zattrs", 1000),
    ),
    "MAX_ZARR_ARRAY_METADATA_BYTES": case_of_slide(
        "readers.ngff",
        1000,
        "metadata of 1000 bytes",
        lambda folder: write_padded(write_zarr(folder / "a"), "0/.zarray", 1000),
    ),
    "MAX_MASK_PX": Case(
        "tissue.annotation",
        1600,
        "too large",
        lambda path: read_mask_picture(path, CANVAS),
        lambda folder: write_bits(folder / "a.png"),
    ),
    "MAX_FIELD_PX": case_of_slide(
        "readers.picture", 64 * 48, "too many pixels", lambda folder: write_field(folder / "a.png")
    ),
    "MAX_GEOJSON_BYTES": case_of_marks(len(GEOJSON), "is larger than"),
    "MAX_GEOJSON_VALUES": case_of_marks(GEOJSON.count(","), "more than 9 values"),
    "MAX_DRAWN_PX": case_of_marks(50 * 50, "overlap too often"),
    "MAX_OUTLINE_PX": case_of_marks(4 * 49, "overlap too often"),
    "MAX_ONNX_TENSOR_BYTES": case_of_onnx("onnx_checks", 12 * 64 * 64 * 4, "needs an array of"),
    "MAX_RECEPTIVE_FIELD_PX": case_of_onnx("onnx_file", 1, "receptive field is not a number of px up to 0"),
    "MAX_SPEC_CHARACTERS": Case(
        "models.spec",
        len(SPEC),
        "not readable",
        lambda path: ModelSpec.from_json(path.read_text()),
        lambda folder: write_text(folder / "a.json", SPEC),
    ),
    "MAX_TOML_BYTES": Case(
        "config",
        9,
        "larger than",
        lambda path: read_toml(path) or True,
        lambda folder: write_text(folder / "a", "# comment"),
    ),
    "MAX_TABLE_BYTES": Case(
        "slides.csv_table",
        17,
        "larger than",
        read_case_table,
        lambda folder: write_text(folder / "a.csv", "slide,case\na.b,c\n"),
    ),
}

ELSEWHERE = {
    *("MAX_ICC_BYTES", "MAX_DESCRIPTION_CHARACTERS", "MAX_PATCH_PX"),  # the tests below
    *("MAX_DICOM_ELEMENTS", "MAX_DICOM_DEPTH", "MAX_DICOM_VALUE_BYTES", "MAX_DICOM_FILES"),
    "MAX_DICOM_NOTE_BYTES",  # tests/writing/layouts
    *("MAX_CZI_BLOCKS", "MAX_CZI_BLOCK_PX"),  # tests/slides/readers/test_czi.py
    *("MAX_ETS_TILES", "MAX_ETS_TILE_PX", "MAX_VSI_FIELDS"),  # tests/slides/readers/test_vsi.py
    "MAX_ONNX_BYTES",  # tests/models/backends/test_onnx.py
}


def list_bounds() -> dict[str, int]:
    return {name: value for name, value in vars(bounds).items() if name.startswith("MAX_")}


@pytest.mark.parametrize("name", CASES)
def test_what_is_at_a_bound_is_read_and_what_is_beyond_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if "ONNX" in name or "RECEPTIVE" in name:
        pytest.importorskip("onnx")
    case = CASES[name]
    path, module = case.write(tmp_path), importlib.import_module(f"wsisr.{case.module}")
    assert case.claim <= list_bounds()[name]
    monkeypatch.setattr(module, name, case.claim)
    assert case.read(path)
    monkeypatch.setattr(module, name, case.claim - 1)
    with pytest.raises(WsisrError, match=case.words) as refused:
        case.read(path)
    assert "\n" not in str(refused.value)


def test_every_bound_is_tested_and_stands_in_the_docs() -> None:
    assert set(CASES) | ELSEWHERE == set(list_bounds())
    table = (REPOSITORY / "docs" / "inputs.md").read_text()
    assert [name for name, value in list_bounds().items() if f"| `{name}` | {value:,} |" not in table] == []


LARGE_TILES = DicomLevel(more={(0x00280010, "US"): 65535, (0x00280011, "US"): 65535})
BOMBS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "a circle of directories": ("back to itself", lambda path: write_chain(path, 150, is_circle=True)),
    "one value for many tags": ("MiB", lambda path: write_shared_value(path, 100, 2**20)),
    "large tiles of DICOM": ("larger than any scanner's", lambda path: write_dicom_level(path, SMALL, LARGE_TILES)),
    "many planes": ("planes", lambda path: write_ome(path, 'PlaneCount="1"', 'PlaneCount="1000000000"')),
    "many sizes": ("planes", lambda path: write_ome(path, 'SizeT="1"', 'SizeT="1000000000"')),
    "many labels": (
        "planes",
        lambda path: write_ome(path, "</OME>", f"<StructuredAnnotations>{MODULO}</StructuredAnnotations></OME>"),
    ),
    "entities": ("entities", lambda path: write_ome(path, "<OME", '<!DOCTYPE a [<!ENTITY b "c">]><OME')),
    "many tags": ("XML tags", lambda path: write_ome(path, "</OME>", "<a/>" * (bounds.MAX_XML_TAGS + 1) + "</OME>")),
}
MODULO = (
    '<XMLAnnotation ID="Annotation:0" Namespace="openmicroscopy.org/omero/dimension/modulo"><Value><Modulo>'
    '<ModuloAlongT Type="lifetime" Start="0" Step="1e-9" End="1"/></Modulo></Value></XMLAnnotation>'
)


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_claims_much_is_refused_before_it_takes_memory(tmp_path: Path, name: str) -> None:
    words, write = BOMBS[name]
    path = write(tmp_path / "a.ome.tif")
    tracemalloc.start()
    with pytest.raises(WsisrError, match=words):
        open_slide(path)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


def test_a_large_colour_profile_is_left_out_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", SMALL, iccprofile=bytes(200))
    for limit, is_kept in ((200, True), (199, False)):
        monkeypatch.setattr("wsisr.slides.opening.MAX_ICC_BYTES", limit)
        with open_slide(path) as slide:
            assert (slide.info.icc is not None) == is_kept
            assert any("is left out" in warning for warning in slide.info.warnings) != is_kept


def test_a_long_description_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Aperio|MPP = 0.5"
    for limit, mpp in ((len(text), 0.5), (len(text) - 1, None)):
        monkeypatch.setattr("wsisr.slides.readers.tiff_description.MAX_DESCRIPTION_CHARACTERS", limit)
        assert parse_description(text).mpp == mpp


def test_patches_have_a_largest_side() -> None:
    assert Recipe(patch_px=bounds.MAX_PATCH_PX)
    with pytest.raises(WsisrError, match="4096"):
        Recipe(patch_px=bounds.MAX_PATCH_PX + 8)
    assert parse_manifest(make_record("a", side=bounds.MAX_PATCH_PX).to_json().encode())
    with pytest.raises(ValueError, match="side"):
        parse_manifest(make_record("a", side=bounds.MAX_PATCH_PX + 1).to_json().encode())


def nest(depth: int) -> dict[tuple[int, str], Any]:
    return {(0x00081111, "SQ"): [nest(depth - 1)]} if depth else {(0x00081150, "UI"): "1.2"}


def test_dicom_headers_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "wsisr.slides.readers.dicom_header"
    level = DicomLevel(series="1" * 50, undefined_lengths=True, more=nest(5))
    path = write_dicom_level(tmp_path / "a.dcm", SMALL, level)
    header = read_dicom_header(path)
    assert header is not None
    assert header.series == "1" * 50
    for name in ("MAX_DICOM_ELEMENTS", "MAX_DICOM_DEPTH"):
        with monkeypatch.context() as patch:
            least = next(n for n in range(1000) if not patch.setattr(f"{module}.{name}", n) and read_dicom_header(path))
        assert 5 < least < list_bounds()[name]
    monkeypatch.setattr(f"{module}.MAX_DICOM_VALUE_BYTES", 40)
    header = read_dicom_header(path)
    assert header is not None
    assert header.series == "1" * 40


def test_only_so_many_files_of_a_folder_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dicom_level(tmp_path / "a.dcm", SMALL)
    monkeypatch.setattr("wsisr.slides.readers.dicom.MAX_DICOM_FILES", 1)
    open_slide(tmp_path).close()
    monkeypatch.setattr("wsisr.slides.readers.dicom.MAX_DICOM_FILES", 0)
    with pytest.raises(WsisrError, match="without DICOM files"):
        open_slide(tmp_path)
