"""The contract of every layout: what pixels, metadata, publishing and resuming owe to whoever writes a pyramid."""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from itertools import islice
from pathlib import Path
from random import Random

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from wsidicom import WsiDicom

from tests.support.forks import run_in_forks
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing import Codec, PyramidSpec, PyramidWriter, WorkFolder, read_metadata
from wsisr.writing.encoding.grid import LevelGrid, build_level_grids
from wsisr.writing.layouts.catalog import LAYOUTS
from wsisr.writing.layouts.ome_zarr import PROFILE_ARRAY

COMMON_CODECS = [Codec(), Codec(subsampling="420"), Codec("deflate"), Codec("lzw")]

codecs = {
    "ome-tiff": st.sampled_from(COMMON_CODECS),
    "aperio": st.sampled_from(COMMON_CODECS),
    "ome-zarr": st.just(LAYOUTS["ome-zarr"].select_codec()),
    "dicom": st.sampled_from([Codec(), Codec(subsampling="420"), LAYOUTS["dicom"].select_codec("jpeg2000")]),
    "png": st.just(LAYOUTS["png"].select_codec()),
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def draw_spec(data: st.DataObject, layout: str) -> PyramidSpec:
    """Draw a specification of at most 300 x 90 px, which is several shards wide in an OME-Zarr."""
    strategy = st.builds(
        PyramidSpec,
        size=st.builds(Size, st.integers(1, 300), st.integers(1, 90)),
        mpp=st.floats(0.05, 20) if LAYOUTS[layout].requires_mpp else st.one_of(st.none(), st.floats(0.05, 20)),
        tile_px=st.sampled_from([16, 32, 48]),
        codec=codecs[layout],
        magnification=st.sampled_from([None, 5.0, 40.0]),
        layout=st.just(layout),
        bigtiff=st.booleans(),
    )
    spec: PyramidSpec = data.draw(strategy)
    return spec


def build_spec(layout: str) -> PyramidSpec:
    return PyramidSpec(Size(160, 160), 0.25, 16, codec=LAYOUTS[layout].select_codec(quality=95), layout=layout)


def make_image(size: Size) -> Rgb:
    """Make noise with a white band that is wider than a tile."""
    image = np.random.default_rng(size.width).integers(0, 256, (size.height, size.width, 3)).astype(np.uint8)
    image[:, 50:150] = 255
    return image


def write(path: Path, spec: PyramidSpec, *, overwrite: bool = False, work: WorkFolder | None = None) -> None:
    with PyramidWriter(path, spec, work, overwrite=overwrite) as writer:
        writer.write(Box.from_size(spec.size), make_image(spec.size))
        deque(writer.finish(), 0)


def read_files(output: Path) -> dict[str, bytes]:
    files = [output] if output.is_file() else sorted(file for file in output.rglob("*") if file.is_file())
    return {str(file.relative_to(output)): file.read_bytes() for file in files}


def encode_and_decode(image: Rgb, spec: PyramidSpec) -> Rgb:
    """Return the image after encoding and decoding each tile."""
    decoded, grid = image.copy(), LevelGrid(Size(image.shape[1], image.shape[0]), spec.tile_px)
    for box in map(grid.tile_box, range(grid.tile_count)):
        tile = spec.codec.encode(image[box.rows, box.columns], spec.tile_px)
        decoded[box.rows, box.columns] = spec.codec.decode(tile, spec.tile_px)[: box.height, : box.width]
    return decoded


def read_tiff_levels(path: Path) -> list[Rgb]:
    with tifffile.TiffFile(path) as tiff:
        return [level.asarray() for level in tiff.series[0].levels]


def read_zarr_levels(path: Path) -> list[Rgb]:
    datasets = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]["datasets"]
    arrays = [zarr.open_array(path / dataset["path"], mode="r", zarr_format=3) for dataset in datasets]
    return [np.moveaxis(np.asarray(array[...]), 0, -1) for array in arrays]


def read_dicom_levels(path: Path) -> list[Rgb]:
    with WsiDicom.open(path) as slide:
        return [np.asarray(slide.read_region((0, 0), level.level, astuple(level.size))) for level in slide.levels]


def read_tiff_profile(path: Path) -> bytes:
    with tifffile.TiffFile(path) as tiff:
        profile = tiff.pages.first.aspage().iccprofile
    assert profile is not None
    return profile


def read_zarr_profile(path: Path) -> bytes:
    return bytes(np.asarray(zarr.open_array(path / PROFILE_ARRAY, mode="r", zarr_format=3)[...]))


def read_dicom_profile(path: Path) -> bytes:
    return bytes(dcmread(path / "level-0.dcm").OpticalPathSequence[0].ICCProfile)


def read_png_pixels(path: Path) -> list[Rgb]:
    return [np.asarray(imagecodecs.png_decode(path.read_bytes()))]


def read_png_profile(path: Path) -> bytes:
    with Image.open(path) as picture:
        return bytes(picture.info["icc_profile"])


LEVEL_READERS = {
    "ome-tiff": read_tiff_levels,
    "aperio": read_tiff_levels,
    "ome-zarr": read_zarr_levels,
    "dicom": read_dicom_levels,
    "png": read_png_pixels,
}
"""Layouts to functions that read all levels with a library that shares no code with wsisr."""

PROFILE_READERS = {
    "ome-tiff": read_tiff_profile,
    "aperio": read_tiff_profile,
    "ome-zarr": read_zarr_profile,
    "dicom": read_dicom_profile,
    "png": read_png_profile,
}


@pytest.fixture
def output(tmp_path: Path, layout: str) -> Path:
    return tmp_path / f"image{LAYOUTS[layout].default_suffix}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


def name_output(folder: Path, layout: str, name: str = "image") -> Path:
    return folder / f"{name}{LAYOUTS[layout].default_suffix}"


@every_layout
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_each_level_is_the_mean_of_the_finer_level_before_it_was_encoded(
    folder: Path, layout: str, data: st.DataObject
) -> None:
    path, spec = name_output(folder, layout), draw_spec(data, layout)
    write(path, spec, overwrite=True)
    levels, image = LEVEL_READERS[layout](path), make_image(spec.size)
    assert len(levels) == (1 if layout == "png" else len(build_level_grids(spec.size, spec.tile_px)))
    for level in levels:
        np.testing.assert_array_equal(level, encode_and_decode(image, spec))
        image = halve_image(image)


@every_layout
@settings(max_examples=8, deadline=None)
@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_the_output_does_not_depend_on_the_order_of_writing(
    folder: Path, layout: str, data: st.DataObject, random: Random
) -> None:
    path, shuffled, spec = name_output(folder, layout), name_output(folder, layout, "other"), draw_spec(data, layout)
    write(path, spec, overwrite=True)
    grid, image = LevelGrid(spec.size, spec.tile_px), make_image(spec.size)
    boxes = [grid.tile_box(tile) for tile in range(grid.tile_count)]
    random.shuffle(boxes)
    with PyramidWriter(shuffled, spec, overwrite=True) as writer, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda box: writer.write(box, image[box.rows, box.columns]), boxes))
        deque(writer.finish(), 0)
    assert read_files(shuffled) == read_files(path)


@every_layout
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_progress_ends_at_its_total_and_the_size_is_known(folder: Path, layout: str, data: st.DataObject) -> None:
    path, spec = name_output(folder, layout), draw_spec(data, layout)
    with PyramidWriter(path, spec, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), make_image(spec.size))
        reports = list(writer.finish())
        assert writer.bytes_written == sum(map(len, read_files(path).values()))
    grids = build_level_grids(spec.size, spec.tile_px)
    for stage, counted in (("pyramid", grids[1:]), ("assemble", grids)):
        total = sum(grid.tile_count for grid in counted)
        done = [report.done for report in reports if report.stage == stage]
        assert done == sorted(done)
        assert done[-1:] == ([total] if total else [])


@every_layout
@settings(max_examples=12, deadline=None)
@given(steps=st.integers(0, 12))
def test_a_run_that_was_stopped_while_finishing_ends_with_the_same_bytes(folder: Path, layout: str, steps: int) -> None:
    spec, work = replace(build_spec(layout), size=Size(300, 90)), WorkFolder({"run": "this"})
    whole, stopped = name_output(folder, layout, "whole"), name_output(folder, layout, f"stopped-{steps}")
    if not whole.exists():
        write(whole, spec)
    with PyramidWriter(stopped, spec, work, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), make_image(spec.size))
        deque(islice(writer.finish(), steps), 0)
    with PyramidWriter(stopped, spec, work, overwrite=True) as writer:
        assert writer.has_tiles(Box.from_size(spec.size)) or stopped.exists()
        writer.write(Box.from_size(spec.size), make_image(spec.size))
        deque(writer.finish(), 0)
    assert read_files(stopped) == read_files(whole)
    assert not stopped.with_name(f"{stopped.name}.wsisr-part").exists()


entries = st.dictionaries(
    st.text("abc ", min_size=1, max_size=8).map(str.strip).filter(bool),
    st.text("xyz 0é;,", max_size=20).map(str.strip),
    max_size=4,
)


@every_layout
@settings(max_examples=10, deadline=None)
@given(metadata=entries)
def test_metadata_comes_back(folder: Path, layout: str, metadata: dict[str, str]) -> None:
    path, spec = name_output(folder, layout), replace(build_spec(layout), size=Size(20, 20), metadata=metadata)
    write(path, spec, overwrite=True)
    assert read_metadata(path) == metadata


@every_layout
def test_the_profile_comes_back(output: Path, layout: str) -> None:
    profile = bytes(range(256)) * 9
    write(output, replace(build_spec(layout), icc=profile))
    assert PROFILE_READERS[layout](output) == profile


@every_layout
def test_only_the_result_remains(output: Path, layout: str) -> None:
    write(output, build_spec(layout))
    assert list(output.parent.iterdir()) == [output]


@every_layout
def test_leaving_early_leaves_nothing(output: Path, layout: str) -> None:
    spec = build_spec(layout)
    with PyramidWriter(output, spec) as writer:
        writer.write(Box.from_size(spec.size), make_image(spec.size))
        assert list(output.parent.iterdir()) != []
    assert list(output.parent.iterdir()) == []


def interrupt_while_finishing(path: Path, spec: PyramidSpec) -> None:
    with PyramidWriter(path, spec) as writer:
        writer.write(Box.from_size(spec.size), make_image(spec.size))
        next(writer.finish())
        raise KeyboardInterrupt


@every_layout
def test_a_failure_of_the_caller_leaves_nothing_and_is_passed_on(output: Path, layout: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt_while_finishing(output, build_spec(layout))
    assert list(output.parent.iterdir()) == []


def check_one_line(error: pytest.ExceptionInfo[OutputError], path: Path) -> str:
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


@every_layout
def test_an_existing_output_is_refused_before_any_work(output: Path, layout: str) -> None:
    output.write_text("mine")
    with pytest.raises(OutputError) as error, PyramidWriter(output, build_spec(layout)):
        pass
    assert "--overwrite" in check_one_line(error, output)
    assert [output.read_text(), *output.parent.iterdir()] == ["mine", output]


def write_foreign_file(path: Path) -> None:
    path.write_text("mine")


def write_foreign_folder(path: Path) -> None:
    path.mkdir()
    write_foreign_file(path / "file")


@every_layout
@pytest.mark.parametrize("appear", [Path.mkdir, write_foreign_folder, write_foreign_file])
def test_an_output_that_appears_meanwhile_is_not_replaced(
    output: Path, layout: str, appear: Callable[[Path], None]
) -> None:
    spec = build_spec(layout)
    with PyramidWriter(output, spec) as writer:
        writer.write(Box.from_size(spec.size), make_image(spec.size))
        finishing = writer.finish()
        next(finishing)
        appear(output)
        appeared = read_files(output)
        with pytest.raises(OutputError) as error:
            deque(finishing, 0)
    assert "exists" in check_one_line(error, output)
    assert list(output.parent.iterdir()) == [output]
    assert read_files(output) == appeared


@every_layout
def test_an_output_is_replaced_where_that_is_asked_for(output: Path, layout: str) -> None:
    write(output, build_spec(layout))
    expected = read_files(output)
    write(output, replace(build_spec(layout), size=Size(20, 20)), overwrite=True)
    assert read_files(output) != expected
    write(output, build_spec(layout), overwrite=True)
    assert read_files(output) == expected
    assert list(output.parent.iterdir()) == [output]


@every_layout
def test_the_second_of_two_writers_is_refused_and_the_first_goes_on(output: Path, layout: str) -> None:
    spec = build_spec(layout)
    with PyramidWriter(output, spec) as first:
        with pytest.raises(OutputError) as error, PyramidWriter(output, spec):
            pass
        assert "this process is writing it already" in check_one_line(error, output)
        first.write(Box.from_size(spec.size), make_image(spec.size))
        deque(first.finish(), 0)
    assert list(output.parent.iterdir()) == [output]


KILLED = """
import os, signal
from pathlib import Path
import numpy as np
from wsisr.imaging.geometry import Box, Size
from wsisr.writing import PyramidSpec, PyramidWriter
from wsisr.writing.layouts.catalog import LAYOUTS

def write_until(path, layout, stage):
    spec = PyramidSpec(Size(160, 160), 0.25, 16, codec=LAYOUTS[layout].select_codec(), layout=layout)
    with PyramidWriter(Path(path), spec) as writer:
        writer.write(Box.from_size(spec.size), np.zeros((160, 160, 3), np.uint8))
        for progress in writer.finish():
            if progress.stage == stage:
                os.kill(os.getpid(), signal.SIGKILL)
"""
STAGES = ["pyramid", "assemble"]


@pytest.fixture(scope="module")
def killed_outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Layout and stage to the output of a process that was killed there."""
    folder = tmp_path_factory.mktemp("killed")
    cases = [(layout, stage) for layout in LAYOUTS for stage in STAGES]
    outputs = {case: name_output(folder / ".".join(case), case[0]) for case in cases}
    for output in outputs.values():
        output.parent.mkdir()
    calls = [f"write_until({str(output)!r}, *{case})" for case, output in outputs.items()]
    assert run_in_forks(KILLED, calls) == [-signal.SIGKILL] * len(cases)
    return outputs


@every_layout
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_leaves_no_output_and_does_not_stand_in_the_way(
    killed_outputs: dict[tuple[str, str], Path], layout: str, stage: str
) -> None:
    output = killed_outputs[layout, stage]
    assert [entry.name for entry in output.parent.iterdir()] == [f"{output.name}.wsisr-part"]
    write(output, build_spec(layout))
    assert list(output.parent.iterdir()) == [output]
