"""What is not as it was meant is a finding or one line, whatever a file has gone through; never a traceback."""

from __future__ import annotations

import json
import struct
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.support.samples import InMemorySlide, make_noise
from wsisr.cli.app import app
from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.models.upscaler import Resampling
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions
from wsisr.upscaling.provenance import read_derived_metadata
from wsisr.writing import Codec, PyramidSpec, PyramidWriter, WorkFolder
from wsisr.writing.encoding.codec import TIFF_METHODS
from wsisr.writing.layouts.catalog import select_layout
from wsisr.writing.verification import Expectation, describe_faults, verify_pyramid

SIZE = Size(300, 200)
METADATA = {"derived": "yes", "size": f"{SIZE} px", "mpp": "0.25", "source mpp": "0.5"}
SPEC = PyramidSpec(SIZE, 0.25, 16, magnification=40, icc=b"profile", metadata=METADATA)
TIFFS = ["a.ome.tif", "a.svs"]
ZARR = "a.ome.zarr"


def select_codec(path: Path, spec: PyramidSpec) -> PyramidSpec:
    return replace(spec, codec=select_layout(path).select_codec()) if path.suffix == ".zarr" else spec


def write(path: Path, spec: PyramidSpec = SPEC) -> Path:
    spec = select_codec(path, spec)
    y, x = np.mgrid[:200, :300]
    image = np.stack([x % 256, y, (x + y) // 2], axis=-1).astype(np.uint8)
    with PyramidWriter(path, spec, overwrite=True) as writer:
        writer.write(Box.from_size(SIZE), image)
        deque(writer.finish())
    return path


def find_faults(path: Path, expected: Expectation | None = None) -> set[str]:
    return {finding.check for finding in verify_pyramid(path, expected) if not finding.good}


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize("method", TIFF_METHODS)
def test_what_wsisr_writes_passes(tmp_path: Path, name: str, method: str) -> None:
    spec = replace(SPEC, codec=Codec(method), metadata=METADATA | {"codec": Codec(method).description})
    path = write(tmp_path / name, spec)
    assert find_faults(path) == set()
    assert describe_faults(path, spec) is None


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize(
    "method", [method for method in TIFF_METHODS if Codec(method).compression_method.unsupported_readers]
)
def test_a_file_that_some_viewers_lack_the_codec_for_is_read_and_checked(
    tmp_path: Path, name: str, method: str
) -> None:
    spec = replace(SPEC, codec=Codec(method), metadata=METADATA | {"codec": Codec(method).description})
    path = write(tmp_path / name, spec)
    with open_slide(path) as slide:
        assert (slide.info.mpp, slide.info.size, slide.info.objective) == (0.25, SIZE, 40)
        assert slide.info.vendor == ("aperio" if name.endswith(".svs") else "ome")
    assert read_derived_metadata(path) == spec.metadata
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"x" * count)
    assert find_faults(path) == {"readable"}


def test_an_ome_zarr_passes(tmp_path: Path) -> None:
    path = write(tmp_path / ZARR)
    assert describe_faults(path, select_codec(path, SPEC)) is None
    assert find_faults(path) == set()


@pytest.mark.parametrize("name", [*TIFFS, ZARR])
def test_every_difference_from_the_specification_is_found(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    spec = select_codec(path, SPEC)
    for other, found in [
        (replace(spec, mpp=0.5), "pixel pitch"),
        (replace(spec, size=Size(300, 201)), "size"),
        (replace(spec, magnification=20), "magnification"),
        (replace(spec, icc=b"another"), "colour profile"),
        (replace(spec, metadata=METADATA | {"warning": "lost"}), "note"),
    ]:
        assert find_faults(path, Expectation.from_spec(other)) == {found}
        assert found in (describe_faults(path, other) or "")


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({}, {"note"}),
        (METADATA | {"mpp": "a quarter"}, {"note"}),
        (METADATA | {"mpp": "-1"}, {"note"}),
        (METADATA | {"mpp": "1e999"}, {"note"}),
        (METADATA | {"mpp": "0.5"}, {"pixel pitch"}),
        (METADATA | {"size": "300 px"}, {"note", "size"}),
        (METADATA | {"source sha256": "0f"}, {"note"}),
    ],
)
def test_metadata_that_is_damaged_or_wrong_is_found(tmp_path: Path, metadata: dict[str, str], found: set[str]) -> None:
    assert find_faults(write(tmp_path / "a.ome.tif", replace(SPEC, metadata=metadata))) == found


def test_xml_that_cannot_be_parsed_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif")
    path.write_bytes(path.read_bytes().replace(b"</OME>", b"<OOPS>"))
    assert "note" in find_faults(path)


def test_a_tile_beyond_the_end_of_the_file_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["TileOffsets"]
        tag.overwrite([10**9, *tag.value[1:]])
    assert "tiles" in find_faults(path)


def test_a_level_that_shows_something_else_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages[1].aspage().tags[name]
            tag.overwrite(tag.value[::-1])
    assert "level 1" in find_faults(path)


@pytest.mark.parametrize("big", [False, True])
def test_directories_that_run_in_a_circle_end(tmp_path: Path, big: bool) -> None:
    path = write(tmp_path / "a.ome.tif", replace(SPEC, bigtiff=big))
    with tifffile.TiffFile(path) as tiff:
        places = [page.aspage().offset for page in tiff.pages]
    data, form = bytearray(path.read_bytes()), "<Q" if big else "<I"
    (entries,) = struct.unpack_from("<Q" if big else "<H", data, places[-1])
    following = places[-1] + (8 + 20 * entries if big else 2 + 12 * entries)
    struct.pack_into(form, data, following, places[1])
    path.write_bytes(data)
    assert find_faults(path) == {"readable"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: write(folder / name).read_bytes() for name in TIFFS}


@pytest.mark.parametrize("name", TIFFS)
@settings(max_examples=25)
@given(st.data())
def test_damage_of_any_kind_is_a_finding_or_one_line(
    whole: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    damaged = bytearray(whole[name])
    # Tiles come first in the file, then a few thousand bytes of directories and words.
    places = st.one_of(st.integers(0, 15), st.integers(len(damaged) - 5000, len(damaged) - 1))
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        damaged[place] = byte
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(damaged)] * 3 + [0, 7, 100, len(damaged) - 900]))])
    with suppress(SlideError):
        assert all(isinstance(finding.words, str) for finding in verify_pyramid(path))


@example(b"")
@example(b"II*\0\x08\0\0\0\0\0")
@given(st.binary(max_size=200))
def test_what_is_no_slide_is_not_good(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "no.tif"
    path.write_bytes(content)
    with suppress(SlideError):
        assert find_faults(path)


@pytest.mark.parametrize("file", ["1/c/0/0/0", "0/c/0/0/1"])
@pytest.mark.parametrize("damage", [None, b"", b"xx"])
def test_a_shard_that_is_lost_cut_off_or_damaged_is_found(tmp_path: Path, file: str, damage: bytes | None) -> None:
    shard = write(tmp_path / ZARR) / file
    whole = shard.read_bytes()
    shard.unlink()
    if damage is not None:
        shard.write_bytes(whole[:-8] + damage + whole[-6:] if damage else whole[:-1])
    assert "tiles" in find_faults(tmp_path / ZARR)


@settings(max_examples=15)
@given(st.data())
def test_damage_to_a_zarr_is_a_finding_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / ZARR
    if not path.exists():
        write(path)
    file = data.draw(st.sampled_from(sorted(file for file in path.rglob("*") if file.is_file())))
    whole = file.read_bytes()
    damaged = bytearray(whole)
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)):
        damaged[place] = byte
    file.write_bytes(damaged[: data.draw(st.sampled_from([len(damaged)] * 3 + [0, len(damaged) // 2]))])
    try:
        with suppress(SlideError):
            deque(verify_pyramid(path))
    finally:
        file.write_bytes(whole)


PICTURE = SlideRegion(InMemorySlide(make_noise(SIZE)), 0)
BICUBIC = Resampling("bicubic", 2)


def check_cut_off(path: Path, spec: PyramidSpec) -> str | None:
    """Check the file after cutting off half of it, as a failing disk may."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    return describe_faults(path, spec)


def test_a_file_that_does_not_read_back_gets_no_name_and_its_work_goes_on(tmp_path: Path) -> None:
    output, folder = tmp_path / "a.ome.tif", WorkFolder({"run": "1"})
    with PyramidWriter(output, SPEC, folder) as writer:
        writer.write(Box.from_size(SIZE), make_noise(SIZE))
        with pytest.raises(OutputError, match=r"a\.ome\.tif: does not read back"):
            deque(writer.finish(check_cut_off))
    assert not output.exists()
    with PyramidWriter(output, SPEC, folder) as writer:
        assert writer.has_tiles(Box.from_size(SIZE))
        deque(writer.finish(describe_faults))
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("quality", [1, 50, 100])
def test_no_coding_however_coarse_is_taken_for_damage(tmp_path: Path, quality: int) -> None:
    output = tmp_path / "a.ome.tif"
    deque(upscale_region(PICTURE, BICUBIC, output, options=UpscaleOptions(codec=Codec(quality=quality))), 0)
    assert find_faults(output) == set()


def test_the_command_tells_good_from_bad_by_its_exit_code(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good.svs"), write(tmp_path / "bad.svs", replace(SPEC, mpp=0.5))
    for path, code in ((good, 0), (bad, 1)):
        for option in ([], ["--json"]):
            done = CliRunner().invoke(app, ["verify", str(path), *option])
            assert done.exit_code == code
        findings = json.loads(done.stdout)["findings"]
        assert {finding["check"] for finding in findings if not finding["good"]} == ({"pixel pitch"} if code else set())


def test_what_cannot_be_checked_stops_no_other_and_says_why(tmp_path: Path, cmu_slide: Path) -> None:
    good, cut = write(tmp_path / "good.svs"), tmp_path / "cut.ome.tif"
    cut.write_bytes(write(tmp_path / "a.ome.tif").read_bytes()[:1000])
    done = CliRunner().invoke(app, ["verify", *map(str, [tmp_path / "none.tif", cut, cmu_slide, good])])
    assert done.exit_code == 1
    assert f"{tmp_path}/none.tif: no such file" in done.stderr
    assert f"{cut}: is cut off" in done.stderr
    assert [line for line in done.stdout.splitlines() if "WRONG" in line] == [
        "  WRONG  note: not written by wsisr, or lost; there is nothing to check the file against"
    ]
    assert f"{good}:" in done.stdout


@pytest.mark.parametrize("place", [0, 1000, 5000])
def test_any_byte_of_a_shard_that_is_not_as_it_was_is_found(tmp_path: Path, place: int) -> None:
    shard = write(tmp_path / ZARR) / "0/c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[place] ^= 1
    shard.write_bytes(data)
    assert "tiles" in find_faults(tmp_path / ZARR)


def test_a_level_that_is_said_to_lie_elsewhere_is_found(tmp_path: Path) -> None:
    file = write(tmp_path / ZARR) / "zarr.json"
    metadata = json.loads(file.read_text())
    for step in metadata["attributes"]["ome"]["multiscales"][0]["datasets"][2]["coordinateTransformations"]:
        if step["type"] == "translation":
            step["translation"][1] = 0.0
    file.write_text(json.dumps(metadata))
    assert find_faults(tmp_path / ZARR) == {"places"}


def test_two_tiles_that_changed_places_are_found_where_every_tile_is_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages.first.tags[name]
            values = list(tag.value)
            values[6], values[204] = values[204], values[6]
            tag.overwrite(values)
    assert not find_faults(path), "a sample of nine tiles does not hold these"
    assert {finding.check for finding in verify_pyramid(path, every_tile=True) if not finding.good} == {"level 1"}


@pytest.mark.parametrize("name", [*TIFFS, ZARR])
def test_every_tile_of_a_sound_file_is_right(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert all(finding.good for finding in verify_pyramid(path, every_tile=True))
