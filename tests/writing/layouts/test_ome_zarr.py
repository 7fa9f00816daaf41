"""OME-Zarr as it is written: read back by the zarr library, which knows nothing of ours."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing import Codec, PyramidSpec, PyramidWriter, read_metadata
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.layouts import ome_zarr

CODEC = Codec(ome_zarr.CHUNK_METHOD)

specs = st.builds(
    PyramidSpec,
    size=st.builds(Size, st.integers(1, 300), st.integers(1, 90)),
    mpp=st.one_of(st.none(), st.floats(0.05, 20)),
    tile_px=st.sampled_from([16, 32, 48]),
    codec=st.just(CODEC),
    origin_um=st.tuples(st.floats(-5, 1e4), st.floats(-5, 1e4)),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written") / "image.ome.zarr"


def picture(size: Size) -> Rgb:
    """Noise with a white band, wider than a tile."""
    image = np.random.default_rng(size.width).integers(0, 256, (size.height, size.width, 3)).astype(np.uint8)
    image[:, 50:150] = 255
    return image


def write(path: Path, spec: PyramidSpec) -> Rgb:
    image = picture(spec.size)
    with PyramidWriter(path, spec, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), image)
        deque(writer.finish(), 0)
    return image


def read_level(path: Path, number: int) -> npt.NDArray[np.uint8]:
    array = zarr.open_array(path / str(number), mode="r", zarr_format=3)
    return np.moveaxis(np.asarray(array[...]), 0, -1)


def read_ome(path: Path) -> Any:
    return json.loads((path / "zarr.json").read_text())["attributes"]["ome"]


@settings(max_examples=30, deadline=None)
@given(specs, st.data())
def test_a_pixel_lies_at_the_mean_of_the_places_of_those_it_was_made_from(
    path: Path, spec: PyramidSpec, data: st.DataObject
) -> None:
    write(path, spec)
    datasets = read_ome(path)["multiscales"][0]["datasets"]

    def place(level: int, pixel: int) -> npt.NDArray[np.float64]:
        scale, translation = datasets[level]["coordinateTransformations"]
        return np.asarray(np.array(scale["scale"][1:]) * pixel + translation["translation"][1:])

    pixel = data.draw(st.integers(0, 50))
    np.testing.assert_allclose(place(0, pixel), np.array(spec.origin_um[::-1]) + pixel * (spec.mpp or 1))
    for level in range(1, len(datasets)):
        np.testing.assert_allclose(
            place(level, pixel), (place(level - 1, 2 * pixel) + place(level - 1, 2 * pixel + 1)) / 2
        )


@settings(max_examples=20, deadline=None)
@given(specs)
def test_every_shard_is_there_and_its_table_says_which_chunks_are_white(path: Path, spec: PyramidSpec) -> None:
    image = write(path, spec)
    array = zarr.open_array(path / "0", mode="r", zarr_format=3)
    assert array.shards is not None
    for index in np.ndindex(*(-(-side // shard) for side, shard in zip(array.shape, array.shards, strict=True))):
        assert (path / "0" / "c" / "/".join(map(str, index))).is_file()
    grid = LevelGrid(spec.size, spec.tile_px)
    whites = sum(
        bool((image[box.rows, box.columns] == 255).all()) for box in map(grid.tile_box, range(grid.tile_count))
    )
    stored = 0
    for shard in (path / "0" / "c").rglob("*"):
        if shard.is_file():
            data, count = shard.read_bytes(), int(np.prod(array.shards) / np.prod(array.chunks))
            table, crc = data[-16 * count - 4 : -4], data[-4:]
            assert google_crc32c.value(table) == int.from_bytes(crc, "little")
            entries = np.frombuffer(table, "<u8").reshape(-1, 2)
            present = entries[entries[:, 0] != 2**64 - 1]
            assert present[:, 1].sum() == len(data) - len(table) - 4
            stored += len(present)
    assert stored == grid.tile_count - whites


def test_profile_metadata_and_magnification_come_back(path: Path) -> None:
    metadata = {"model": "masrgan x4 <é>", "warning": "research use only", "empty": ""}
    profile = bytes(range(256)) * 9
    write(path, PyramidSpec(Size(100, 60), 0.5, 16, codec=CODEC, icc=profile, metadata=metadata, magnification=40))
    assert read_metadata(path) == metadata
    stored = zarr.open_array(path / ome_zarr.PROFILE_ARRAY, mode="r", zarr_format=3)
    assert bytes(np.asarray(stored[...])) == profile
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    assert attributes["wsisr"] == {"software": "wsisr", "note": metadata, "magnification": 40}


def test_the_name_keeps_its_words_in_viewers_that_cut_it_at_a_slash(path: Path) -> None:
    title = "super-resolved x2 from 0.50 um/px, research use only"
    write(path, PyramidSpec(Size(10, 10), 0.5, 16, codec=CODEC, title=title))
    name = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]["name"]
    assert name == "super-resolved x2 from 0.50 um per px, research use only"


def test_viewers_see_rgb_channels_and_the_title(path: Path) -> None:
    write(path, PyramidSpec(Size(10, 10), 0.5, 16, codec=CODEC, title="super-resolved x4, research use only"))
    ome = read_ome(path)
    assert [channel["color"] for channel in ome["omero"]["channels"]] == ["FF0000", "00FF00", "0000FF"]
    assert ome["multiscales"][0]["name"] == "super-resolved x4, research use only"
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["c", "y", "x"]


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"attributes": 3}', '{"attributes": {"wsisr": {"note": 4}}}', "[" * 10**5]
)
def test_a_folder_that_is_no_zarr_has_no_metadata(tmp_path: Path, content: str) -> None:
    (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(SlideError, match="zarr of version 3"):
        read_metadata(tmp_path)


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_only_a_zarr_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.ome.zarr", PyramidSpec(Size(20, 20), 0.5, 16, codec=CODEC)
    write(path, PyramidSpec(Size(90, 20), 0.5, 16, codec=CODEC))
    with pytest.raises(OutputError, match="exists already"), PyramidWriter(path, spec):
        pass
    write(path, spec)
    assert read_level(path, 0).shape == (20, 20, 3)
    assert list(tmp_path.iterdir()) == [path]
    mine = tmp_path / "mine.zarr"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not replaced"):
        write(mine, spec)
    assert read_files(mine) == {"notes.txt": b"mine"}


def test_tiles_that_lose_detail_are_no_zarr(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot hold tiles encoded by jpeg"):
        PyramidWriter(tmp_path / "a.ome.zarr", PyramidSpec(Size(20, 20), 0.5, 16))
