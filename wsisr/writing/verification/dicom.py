"""Checks a DICOM slide with pydicom and OpenSlide, and that its levels are whole, of one series and in one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import imagecodecs
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame, parse_basic_offsets
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEGBaseline8Bit

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.progress import format_count
from wsisr.slides.readers.dicom import find_dicom_file, list_level_files
from wsisr.slides.readers.dicom_header import read_dicom_header
from wsisr.slides.readers.openslide import OpenSlideSlide, read_openslide_info
from wsisr.slides.slide import Level, Slide, SlideInfo, compute_downsamples, read_on_white
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.readers_agree import RELATIVE_TOLERANCE, ReaderComparison

_DICOM_ERRORS = (
    *(OSError, InvalidDicomError, EOFError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, NotImplementedError),
)
"""Errors that pydicom has been seen to raise for damaged files, and imagecodecs for damaged frames."""

_PIXEL_DATA_HEAD_BYTES = 12
"""Tag, value representation and length of the element of the pixels."""

_PIXEL_DATA_END = b"\xfe\xff\xdd\xe0\0\0\0\0"

_PLACE_TOLERANCE_MM = 1e-6


def check_dicom(path: Path, expected: Expectation) -> Iterator[Finding]:
    """Yield the findings of all checks of a slide, a folder or one of its files.

    Raises `SlideError` if it is too damaged to check it further.
    """
    try:
        file = find_dicom_file(path) if path.is_dir() else path
        levels = _open_levels(file)
        yield _check_frames(levels)
        yield _check_placement(levels)
        tile_sizes = tuple(Size(level.grid.tile_px, level.header.Rows) for level in levels)
        openslide_info = read_openslide_info(file)
        if openslide_info is None:
            raise SlideError(f"{path}: OpenSlide does not know it")
        padded = None if expected.icc is None else expected.icc + bytes(len(expected.icc) % 2)
        with PydicomSlide(file, levels) as by_pydicom, OpenSlideSlide(openslide_info) as by_openslide:
            comparison = ReaderComparison(by_pydicom, by_openslide, tile_sizes)
            yield from comparison.iterate_findings(replace(expected, icc=padded))
    except _DICOM_ERRORS as error:
        raise SlideError(f"{path}: a damaged DICOM slide ({describe_error(error)})") from error


@dataclass(frozen=True)
class StoredLevel:
    """A level as its file states it."""

    path: Path
    header: Dataset
    pixels_at: int
    """Byte at which the pixel data begin, with the item of the Basic Offset Table."""

    @classmethod
    def read(cls, path: Path) -> Self:
        with path.open("rb") as file:
            header = dcmread(file, stop_before_pixels=True)
            return cls(path, header, file.tell() + _PIXEL_DATA_HEAD_BYTES)

    @cached_property
    def grid(self) -> LevelGrid:
        header = self.header
        return LevelGrid(Size(header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows), header.Columns)

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Distance of rows, then of columns."""
        down, across = self.header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        return float(down), float(across)

    @property
    def origin_mm(self) -> tuple[float, float]:
        origin = self.header.TotalPixelMatrixOriginSequence[0]
        return float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem)

    @property
    def extended_offsets(self) -> tuple[bytes, bytes] | None:
        if "ExtendedOffsetTable" not in self.header:
            return None
        return self.header.ExtendedOffsetTable, self.header.ExtendedOffsetTableLengths

    def list_frame_offsets(self) -> list[int]:
        """Return where each frame begins, in bytes after the Basic Offset Table."""
        if self.extended_offsets:
            return [int(offset) for offset in np.frombuffer(self.extended_offsets[0], "<u8")]
        with self.path.open("rb") as file:
            file.seek(self.pixels_at)
            return parse_basic_offsets(file)

    def read_tile(self, tile: int) -> Rgb:
        """Decode the part of a tile that lies inside the level."""
        with self.path.open("rb") as file:
            file.seek(self.pixels_at)
            frame = get_frame(file, tile, extended_offsets=self.extended_offsets)
        is_jpeg = self.header.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        pixels: Rgb = imagecodecs.jpeg8_decode(frame) if is_jpeg else imagecodecs.jpeg2k_decode(frame)
        size = self.grid.tile_box(tile).size
        return pixels[: size.height, : size.width]


class PydicomSlide(Slide):
    """A slide whose frames pydicom finds."""

    def __init__(self, path: Path, levels: Sequence[StoredLevel]) -> None:
        self._levels = levels
        self._closed = False
        header = levels[0].header
        optical_path = header.OpticalPathSequence[0]
        sizes = [level.grid.size for level in levels]
        power = optical_path.get("ObjectiveLensPower")
        self._info = SlideInfo(
            path=path,
            reader="pydicom",
            vendor="dicom",
            levels=tuple(Level(*each) for each in zip(sizes, compute_downsamples(sizes), strict=True)),
            mpp=levels[0].spacing_mm[1] * 1000,
            objective=None if power is None else float(power),
            icc=optical_path.get("ICCProfile"),
            associated={},
            properties={},
        )

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        if self._closed:
            raise ValueError(f"{self.info.path}: read after close")
        self.info.get_level(level)
        stored = self._levels[level]
        return read_on_white(box, stored.grid.size, lambda inside: stored.grid.read_box(inside, stored.read_tile))

    def close(self) -> None:
        self._closed = True


def _open_levels(file: Path) -> list[StoredLevel]:
    """Read the headers of all levels of a file's series, from fine to coarse."""
    header = read_dicom_header(file)
    if header is None:
        raise SlideError(f"{file}: its header is damaged; copy it again")
    levels = [StoredLevel.read(path) for path in list_level_files(file.parent, header.series)]
    return sorted(levels, key=lambda level: -level.grid.size.pixel_count)


def _check_frames(levels: Sequence[StoredLevel]) -> Finding:
    """Check that every level has a frame for each tile, in its file and one after the other."""
    missing, misplaced, cut = 0, 0, 0
    for level in levels:
        offsets, file_size = level.list_frame_offsets(), level.path.stat().st_size
        missing += abs(level.grid.tile_count - len(offsets)) + abs(level.grid.tile_count - level.header.NumberOfFrames)
        steps = np.diff([*offsets, file_size - level.pixels_at])
        misplaced += int(np.count_nonzero(steps <= 0))
        cut += _read_end(level.path) != _PIXEL_DATA_END
    tiles = format_count(sum(level.grid.tile_count for level in levels), "tile")
    words = f"{tiles} in {format_count(len(levels), 'level')}; {missing} missing, {misplaced} out of place"
    return Finding("tiles", not (missing or misplaced or cut), f"{words}, {format_count(cut, 'file')} cut off")


def _read_end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-len(_PIXEL_DATA_END), 2)
        return file.read()


def _check_placement(levels: Sequence[StoredLevel]) -> Finding:
    """Check that each level is twice as coarse as the finer one, begins at the same corner, and says what it is."""
    base, good = levels[0], True
    for number, level in enumerate(levels):
        ratios = (own / first / 2**number for own, first in zip(level.spacing_mm, base.spacing_mm, strict=True))
        shifts = (abs(own - first) for own, first in zip(level.origin_mm, base.origin_mm, strict=True))
        kind = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if number else "NONE"]
        good &= all(abs(ratio - 1) < RELATIVE_TOLERANCE for ratio in ratios)
        good &= max(shifts) < _PLACE_TOLERANCE_MM and list(level.header.ImageType) == kind
    words = "levels are each half as fine, of one corner on the glass, and marked as derived and resampled"
    return Finding("places", good, f"{words}: {good}")
