"""Checks a DICOM slide with pydicom and OpenSlide, and that its levels are whole, of one series and in one place."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom import config, dcmread
from pydicom.encaps import get_frame, parse_basic_offsets
from pydicom.errors import BytesLengthException, InvalidDicomError
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
    *(ArithmeticError, RuntimeError, BytesLengthException, struct.error, MemoryError),
)
"""Errors that pydicom has been seen to raise for damaged files, and imagecodecs for damaged frames."""

_PIXEL_DATA_HEAD_BYTES = 12
"""Tag, value representation and length of the element of the pixels."""

_PIXEL_DATA_END = b"\xfe\xff\xdd\xe0\0\0\0\0"

_PLACE_TOLERANCE_MM = 1e-6


def check_dicom(path: Path, expected: Expectation, *, every_tile: bool = False) -> Iterator[Finding]:
    """Yield the findings of all checks of a slide, a folder or one of its files.

    Raises `SlideError` if it is too damaged to check it further.
    """
    try:
        file = find_dicom_file(path) if path.is_dir() else path
        levels = _open_levels(file)
        yield _check_frames(levels)
        yield _check_placement(levels)
        tile_sizes = tuple(level.frame_size for level in levels)
        openslide_info = read_openslide_info(file)
        if openslide_info is None:
            raise SlideError(f"{path}: OpenSlide does not know it")
        padded = None if expected.icc is None else expected.icc + bytes(len(expected.icc) % 2)
        with PydicomSlide(file, levels) as by_pydicom, OpenSlideSlide(openslide_info) as by_openslide:
            comparison = ReaderComparison(by_pydicom, by_openslide, tile_sizes, every_tile)
            yield from comparison.iterate_findings(replace(expected, icc=padded))
    except _DICOM_ERRORS as error:
        raise SlideError(f"{path}: a damaged DICOM slide ({describe_error(error)})") from error


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """A level as its file states it."""

    path: Path
    grid: LevelGrid
    frame_size: Size
    frame_count: int
    spacing_mm: tuple[float, float]
    """Distance of rows, then of columns."""
    origin_mm: tuple[float, float]
    image_type: tuple[str, ...]
    is_jpeg: bool
    """Whether the frames are JPEG; otherwise they are JPEG 2000."""
    objective: float | None
    icc: bytes | None
    extended_offsets: tuple[bytes, bytes] | None
    """Offsets and lengths in the Extended Offset Table; None where the Basic one holds them."""
    pixels_at: int
    """Byte at which the pixel data begin, with the item of the Basic Offset Table."""

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
        pixels: Rgb = imagecodecs.jpeg8_decode(frame) if self.is_jpeg else imagecodecs.jpeg2k_decode(frame)
        size = self.grid.tile_box(tile).size
        return pixels[: size.height, : size.width]


def read_stored_level(path: Path) -> StoredLevel:
    """Read what a file states of its level. Raises what pydicom raises for damaged files."""
    # pydicom warns of values of a wrong form, and shows them; here they are found by comparison.
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"), config.disable_value_validation():
        header = dcmread(file, stop_before_pixels=True)
        optical_path, origin = header.OpticalPathSequence[0], header.TotalPixelMatrixOriginSequence[0]
        rows, columns = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        power, offsets = optical_path.get("ObjectiveLensPower"), header.get("ExtendedOffsetTable")
        size = Size(int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows))
        return StoredLevel(
            path=path,
            grid=LevelGrid(size, int(header.Columns)),
            frame_size=Size(int(header.Columns), int(header.Rows)),
            frame_count=int(header.NumberOfFrames),
            spacing_mm=(float(rows), float(columns)),
            origin_mm=(float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem)),
            image_type=tuple(header.ImageType),
            is_jpeg=header.file_meta.TransferSyntaxUID == JPEGBaseline8Bit,
            objective=None if power is None else float(power),
            icc=optical_path.get("ICCProfile"),
            extended_offsets=(offsets, header.ExtendedOffsetTableLengths) if offsets else None,
            pixels_at=file.tell() + _PIXEL_DATA_HEAD_BYTES,
        )


class PydicomSlide(Slide):
    """A slide whose frames pydicom finds."""

    def __init__(self, path: Path, levels: Sequence[StoredLevel]) -> None:
        self._levels = levels
        self._closed = False
        sizes = [level.grid.size for level in levels]
        self._info = SlideInfo(
            path=path,
            reader="pydicom",
            vendor="dicom",
            levels=tuple(Level(*each) for each in zip(sizes, compute_downsamples(sizes), strict=True)),
            mpp=levels[0].spacing_mm[1] * 1000,
            objective=levels[0].objective,
            icc=levels[0].icc,
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
    levels = [read_stored_level(path) for path in list_level_files(file.parent, header.series)]
    return sorted(levels, key=lambda level: -level.grid.size.pixel_count)


def _check_frames(levels: Sequence[StoredLevel]) -> Finding:
    """Check that every level has a frame for each tile, in its file and one after the other."""
    missing, misplaced, cut = 0, 0, 0
    for level in levels:
        offsets, file_size = level.list_frame_offsets(), level.path.stat().st_size
        missing += abs(level.grid.tile_count - len(offsets)) + abs(level.grid.tile_count - level.frame_count)
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
        kind = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if number else "NONE")
        good &= all(abs(ratio - 1) < RELATIVE_TOLERANCE for ratio in ratios)
        good &= max(shifts) < _PLACE_TOLERANCE_MM and level.image_type == kind
    words = "levels are each half as fine, of one corner on the glass, and marked as derived and resampled"
    return Finding("places", good, f"{words}: {good}")
