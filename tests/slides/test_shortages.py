"""A machine that is short of threads or of open files: what is said is true, and no slide is called damaged for it."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.support.dicom import write_dicom_level
from tests.support.samples import make_noise, write_generic_pyramid, write_ome_zarr, write_tiff
from wsisr.dataset.captures import open_capture
from wsisr.errors import AnnotationError, ShortageError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.parallel.pipeline import parallel_map, prefetch
from wsisr.slides import open_slide
from wsisr.tissue.annotation import Canvas, read_mask_picture
from wsisr.writing import read_metadata

PICTURE = make_noise(Size(200, 150))
SLIDES = {
    "tifffile": lambda folder: write_generic_pyramid(folder / "a.tif", [PICTURE], compression="jpeg"),
    "openslide": lambda folder: write_dicom_level(folder / "dicom" / "a.dcm", PICTURE),
    "a DICOM folder": lambda folder: write_dicom_level(folder / "dicom" / "a.dcm", PICTURE).parent,
    "zarr": lambda folder: write_ome_zarr(folder / "a.zarr", [PICTURE], "0.4"),
}


@contextmanager
def leave_descriptors(count: int) -> Iterator[None]:
    """Context: only so many files can be opened."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[1]), limits[1]))
    try:
        with suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(opened.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in opened:
            os.close(descriptor)


@contextmanager
def start_no_threads() -> Iterator[None]:
    """Context: threads need a stack larger than any machine's memory, so none starts."""
    former = threading.stack_size(2**46)
    try:
        yield
    finally:
        threading.stack_size(former)


@pytest.mark.parametrize("reader", SLIDES)
def test_a_slide_is_not_damaged_where_no_more_files_can_be_opened(tmp_path: Path, reader: str) -> None:
    path = SLIDES[reader](tmp_path)
    open_slide(path).close()  # what is imported now needs no file below
    lines = []
    for count in range(8):
        with leave_descriptors(count):
            try:
                with open_slide(path) as slide:
                    slide.read(Box(0, 0, 200, 150), 0)
                break
            except SlideError as error:
                lines.append(str(error))
    else:
        pytest.fail(f"it needs more than seven files: {lines}")
    assert lines
    assert [line for line in lines if "too many files are open in this process; raise the limit" not in line] == []


def test_a_slide_is_read_without_a_thread_to_be_had(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", PICTURE, tile=(16, 16), compression="zlib")
    with open_slide(path) as slide, start_no_threads():
        np.testing.assert_array_equal(slide.read(Box(0, 0, 200, 150), 0), PICTURE)


def test_stages_say_what_is_missing_where_no_thread_can_be_had() -> None:
    for stage in (prefetch(range(3)), parallel_map(str, range(3))):
        with start_no_threads(), pytest.raises(ShortageError, match="no more threads can be started; raise the limit"):
            list(stage)


@pytest.mark.parametrize("suffix", [".svs", ".tif", ".dcm", ""])
def test_a_pipe_is_no_slide(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    with pytest.raises(SlideError, match="is a pipe, and slides are read in any order; copy it into a file"):
        open_slide(path)
    with pytest.raises(SlideError, match="is a pipe"):
        read_metadata(path)


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(AnnotationError, match="is a pipe"):
        read_mask_picture(tmp_path / "pipe.png", Canvas(Size(10, 10)))
    with pytest.raises(SlideError, match="is a pipe"):
        open_capture(tmp_path / "pipe.png")


def test_a_device_is_no_slide() -> None:
    with pytest.raises(SlideError, match="is a device"):
        open_slide("/dev/zero")
